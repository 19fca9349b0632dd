"""CoaT's factorized attention for the query at one point of an image: the weight of the value at each place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor

from coatseg.models.backbones.attention import HEADS, QueriesKeysValues
from coatseg.models.backbones.blocks import CO_SCALES
from coatseg.models.backbones.coat import STRIDES, CoaT
from coatseg.models.backbones.kernels.matmul import at_least_float
from coatseg.results.features.maps import watched
from coatseg.structures import Size

Point = tuple[float, float]
"""x and y as shares of the image's width and height."""


def response(queries: Tensor, keys: Tensor, cls_key: Tensor, place: tuple[int, int]) -> Tensor:
    """Return the weights of the values at all places for the query at one place, averaged over heads: (h, w) float32.

    Factorized attention is Q / sqrt(d) (softmax(K)^T V) (Xu et al., ICCV 2021, section 3), the softmax over all N
    tokens for each channel by itself. For one query q this is the sum over n of w_n v_n, with the weights w_n = sum
    over a head's channels c of q_c softmax(K)_nc / sqrt(d), which are returned. They can be negative, and do not add up
    to one. The convolutional relative position encoding, which CoaT adds to this, is left out.

    `queries` and `keys` (C, h, w) are those of one image, without padding; `cls_key` (C,) is that of the class token,
    which takes its share of the softmax and has no place. `place` is the query's (row, column).
    """
    channels, height, width = keys.shape
    row, column = place
    tokens = torch.cat([cls_key[:, None], keys.flatten(1)], dim=1)
    weights = at_least_float(tokens).softmax(dim=1)[:, 1:]
    query = at_least_float(queries[:, row, column])
    summed: Tensor = (query[:, None] * weights).sum(0) / (HEADS * (channels // HEADS) ** 0.5)
    return summed.view(height, width)


class Responses:
    """Computes responses from the inputs of the last block at each stride, recorded while the backbone ran."""

    def __init__(self, backbone: CoaT) -> None:
        self.backbone = backbone
        self._calls: dict[int, list[tuple[Any, ...]]] = {}
        self._known: dict[int, QueriesKeysValues] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Record the inputs of the blocks, for one call of the backbone."""
        self._known = {}
        with ExitStack() as stack:
            self._calls = {
                stride: stack.enter_context(watched(self._block(stride)))
                for stride in STRIDES[: len(self.backbone.stages)]
            }
            yield

    def at(self, stride: int, point: Point, number: int, size: Size) -> Tensor:
        """Return the response (h, w) at a point of image `number` in the batch, whose (height, width) is `size`."""
        if stride not in self._known:
            self._known[stride] = self._projected(stride)
        projected = self._known[stride]
        height, width = size[0] // stride, size[1] // stride
        queries, keys = (tokens.image[number, :, :height, :width] for tokens in projected[:2])
        row, column = (
            min(int(share * length) // stride, last - 1)  # a map's size is floored: points beyond it go to its edge
            for share, length, last in zip(reversed(point), size, (height, width), strict=True)
        )
        return response(queries, keys, projected.keys.cls[number, 0], (row, column))

    def _projected(self, stride: int) -> QueriesKeysValues:
        """Return the queries, keys and values of the last block at a stride, computed as the block does."""
        (given,) = self._calls[stride]
        block: Any = self._block(stride)
        scale = STRIDES.index(stride) + 1
        if self._is_parallel(stride):
            place = CO_SCALES.index(scale)
            tokens, cpe = given[0][place], given[1][place]
            attention, norm = getattr(block, f"factoratt_crpe{scale}"), getattr(block, f"norm1{scale}")
        else:
            tokens, cpe = given[0], given[1]
            attention, norm = block.factoratt_crpe, block.norm1
        projected: QueriesKeysValues = attention.project(norm, tokens if cpe is None else cpe(tokens))
        return projected

    def _block(self, stride: int) -> Any:
        if self._is_parallel(stride):
            return self.backbone.parallel_blocks[-1]
        return getattr(self.backbone, f"serial_blocks{STRIDES.index(stride) + 1}")[-1]

    def _is_parallel(self, stride: int) -> bool:
        return not self.backbone.variant.lite and STRIDES.index(stride) + 1 in CO_SCALES


def as_point(query: Sequence[float], size: Size) -> Point:
    """Return a query [x, y], in pixels if both are whole numbers and else in shares, as shares of an image's size.

    A pixel beyond the image counts as the nearest one in it.
    """
    if not all(isinstance(value, int) for value in query):
        return query[0], query[1]
    height, width = size
    x, y = (min(max(value, 0), length - 1) for value, length in zip(query, (width, height), strict=True))
    return (x + 0.5) / width, (y + 0.5) / height
