"""Images to files of feature maps, and back from these."""
