"""Pyramids to objects: boxes, masks, and their losses."""
