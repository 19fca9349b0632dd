"""Write feature maps of images to files, and read them back."""
