"""Images to pyramids: CoaT, its weights, and any timm feature extractor to compare with."""
