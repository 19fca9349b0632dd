"""Inspect a dataset: what it holds and what is wrong with it, before hours are spent on training."""

from coatseg.data.inspection.checks.base import Finding
from coatseg.data.inspection.reading import Inspection, inspect_dataset

__all__ = ["Finding", "Inspection", "inspect_dataset"]
