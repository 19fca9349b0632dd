"""What is in a dataset, and what is wrong with it, before hours are spent on training."""

from coatseg.data.inspect.findings import Finding
from coatseg.data.inspect.inspection import Inspection, inspect_dataset

__all__ = ["Finding", "Inspection", "inspect_dataset"]
