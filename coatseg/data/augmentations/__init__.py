"""Augmentation: its steps, one file for each idea, and their application. Only this package uses albumentations."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version otherwise
