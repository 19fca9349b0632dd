"""Predict images, and write the predictions to files."""
