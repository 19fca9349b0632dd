"""From a checkpoint to files: predictions, feature maps, models for other runtimes."""
