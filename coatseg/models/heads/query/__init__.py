"""Transformers that find objects and segments by queries: adapters of the transformers library to a pyramid."""
