"""Sliding windows: images larger than a model was trained on are predicted piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from coatseg.structures import Size


def slide(model: Callable[[Tensor], Tensor], images: Tensor, window: Size, overlap: float, batch: int) -> Tensor:
    """Return the logits (B, K, H, W) of images (B, C, H, W), at each pixel the mean over all windows that cover it.

    `window` is (height, width), cut to the images where they are smaller; neighbours share `overlap` of it
    (0 <= overlap < 1). At most `batch` windows go through the model at once. Every window counts the same, as in
    mmseg's slide inference.
    """
    size = images.shape[-2], images.shape[-1]
    height, width = min(window[0], size[0]), min(window[1], size[1])
    tops, lefts = starts(size[0], height, overlap), starts(size[1], width, overlap)
    places = list(product(tops, lefts, range(len(images))))
    totals: Tensor | None = None
    for begin in range(0, len(places), batch):
        chunk = places[begin : begin + batch]
        crops = [images[image, :, top : top + height, left : left + width] for top, left, image in chunk]
        logits = model(torch.stack(crops))
        if totals is None:
            totals = logits.new_zeros(len(images), logits.shape[1], *size)
        for (top, left, image), crop in zip(chunk, logits, strict=True):
            totals[image, :, top : top + height, left : left + width] += crop
    assert totals is not None
    return totals / (coverage(tops, height)[:, None] * coverage(lefts, width)).to(totals)


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Return where windows begin along a side of `length` pixels; the last is shifted inwards to end with it."""
    return [*range(0, length - window, stride_of(window, overlap)), length - window]


def stride_of(window: int, overlap: float) -> int:
    """Return the number of pixels from a window to the next."""
    return max(1, round(window * (1 - overlap)))


def coverage(begins: list[int], window: int) -> Tensor:
    """Return how many windows cover each position of a side (length,), float32."""
    counts = torch.zeros(begins[-1] + window)
    for begin in begins:
        counts[begin : begin + window] += 1
    return counts
