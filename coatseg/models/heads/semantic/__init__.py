"""Pyramids to logits: one file a paper."""
