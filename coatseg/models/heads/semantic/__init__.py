"""Semantic heads, from a pyramid of feature maps to logits; one file a paper."""
