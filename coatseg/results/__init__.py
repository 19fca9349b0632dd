"""From a checkpoint to files: predictions, feature maps, and models for other runtimes."""
