"""From samples to batches: the exact sample stream, its worker processes, the data module."""
