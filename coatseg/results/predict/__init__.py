"""Images to predictions, and predictions to files."""
