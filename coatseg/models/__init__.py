"""Images to outputs: a backbone, a head, and the two together."""
