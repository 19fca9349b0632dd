"""Samples to batches: the exact stream, its workers, the data module."""
