"""Backbones, which map images to pyramids of feature maps: CoaT, and any timm feature extractor to compare with."""
