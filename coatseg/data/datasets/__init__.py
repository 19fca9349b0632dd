"""The readers of datasets: one file a dataset, with its facts and its archives."""
