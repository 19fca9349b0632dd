"""Weights: where they are published, how their files are read, and how they are loaded into a model."""
