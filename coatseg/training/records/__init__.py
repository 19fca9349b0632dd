"""What a run writes for people to read: loggers, metrics.csv, curves, report."""
