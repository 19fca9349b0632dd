"""The precision that autocast chooses, and a context in which autocast is off."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast; outside of autocast it does nothing, which keeps exported graphs plain."""
    if device.type != "meta" and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def working_dtype(rows: Tensor) -> torch.dtype:
    """Return the precision of matrix products: autocast's if it is on, else that of the rows."""
    device = rows.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else rows.dtype
