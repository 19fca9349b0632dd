"""Pyramids to outputs."""
