"""What a run leaves to be read: loggers, metrics.csv, curves, report."""
