"""From files to batches: images, annotations, one file per dataset, augmentations, loading, inspection."""
