"""Segments taken out of a panoptic prediction, those that are left numbered anew."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from coatseg.structures import PanopticPrediction


def only(prediction: PanopticPrediction, kept: Tensor) -> PanopticPrediction:
    """Return the segments marked in `kept`, (N,) bool on the CPU, in their order; pixels of the others are in none."""
    numbers = torch.zeros(len(kept) + 1, dtype=torch.int32)
    numbers[1:][kept] = torch.arange(1, int(kept.sum()) + 1, dtype=torch.int32)
    ids = numbers.to(prediction.ids.device)[prediction.ids.long()]
    return replace(prediction, ids=ids, labels=prediction.labels[kept], scores=prediction.scores[kept])


def without(prediction: PanopticPrediction, nowhere: Tensor) -> PanopticPrediction:
    """Return a prediction with the pixels `nowhere`, (H, W) bool, in no segment; those that had no others are gone."""
    ids = prediction.ids.masked_fill(nowhere.to(prediction.ids.device), 0)
    counts = torch.bincount(ids.flatten(), minlength=len(prediction) + 1)
    return only(replace(prediction, ids=ids), counts[1:].cpu() > 0)
