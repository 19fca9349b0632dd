"""The precision that autocast chooses, and how to compute without it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Give a context without autocast; outside of autocast it is empty, which keeps exported graphs plain."""
    if device.type != "meta" and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def working_dtype(rows: Tensor) -> torch.dtype:
    """Give the precision of matrix products: autocast's, or that of the rows."""
    device = rows.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype
