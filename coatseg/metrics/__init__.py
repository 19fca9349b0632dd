"""Metrics, which compare predictions with the truth."""
