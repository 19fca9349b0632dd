"""The steps of augmentation, each a file for an idea. Only these and transforms.py know albumentations."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for its newest version otherwise
