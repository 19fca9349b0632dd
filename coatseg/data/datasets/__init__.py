"""The readers: one file a dataset, with its facts and its archives."""
