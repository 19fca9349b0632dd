"""Files to batches: one file a dataset, augmentations, the exact sample stream, the data module."""
