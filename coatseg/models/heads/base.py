"""The contract of heads that find objects or segments: a pyramid in, losses or what was found of each image out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

from coatseg.structures import InstanceTarget, Size


@dataclass(frozen=True)
class Objects:
    """The objects of one image at some size, N of them, the surest first.

    boxes (N, 4) in pixels of that size; labels (N,) int64, as the head counts its classes from 0; scores (N,) float32;
    masks (N, H, W) bool, or None from a head that finds boxes only.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    masks: Tensor | None = None


@dataclass(frozen=True)
class Segments:
    """The segments of one image at some size, N of them, each with at least one pixel.

    ids (H, W) int32, 0 where there is none, else 1 + the segment's place; labels (N,) int64, as the head counts its
    classes from 0; scores (N,) float32.
    """

    ids: Tensor
    labels: Tensor
    scores: Tensor


class FoundObjects(Protocol):
    """What a head that gives "boxes" or "masks" finds in one image: it can be decoded at any size."""

    def objects(self, size: Size, original: Size) -> Objects:
        """Return the objects at the `original` size (height, width) of an image that the model saw at `size`."""
        ...


class FoundSegments(Protocol):
    """What a head that gives "segments" finds in one image: it can be decoded at any size."""

    def segments(self, size: Size, original: Size) -> Segments:
        """Return the segments at the `original` size (height, width) of an image that the model saw at `size`."""
        ...


def without_crowds(target: InstanceTarget) -> InstanceTarget:
    """Return the objects to learn, which crowds are not."""
    kept = ~target.crowd
    return target.apply(lambda tensor: tensor[kept])


class ObjectHead(nn.Module):
    """A head with losses of its own, which finds objects or segments on a backbone's pyramid.

    `gives` says what it learns and finds: "boxes", "masks" with their boxes, "segments", "logits"; a head that gives
    several is told which one is wanted by the argument `output` of its constructor. `divisor` is what height and width
    of images are padded to a multiple of; `levels_used` how many levels it looks at, from fine to coarse. Labels are
    numbered from 0, without a background. `strides` are those of its `maps`.
    """

    gives: frozenset[str]
    divisor: int
    levels_used: int
    strides: tuple[int, ...]
    not_exported: str = "coatseg has no graph of what it finds"
    """Why coatseg export cannot write the head, in words; empty for heads that a graph is known for."""

    @abstractmethod
    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[Any] | None = None,
    ) -> Any:
        """Return the losses against `targets` by name, or without them a list of what was found, an item an image.

        `images` (B, C, H, W) are what the pyramid was made of, `sizes` the part of each that is not padding. `targets`
        are InstanceTarget for boxes and masks, crowds among them, PanopticTarget for segments, and label maps (H, W)
        for logits, each at the size of its image without padding. Items are FoundObjects, or FoundSegments; of logits
        it is a tensor (B, classes, H, W) instead of a list.
        """

    @abstractmethod
    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps (B, C, h, w) of `strides` that its predictions are made of, from fine to coarse.

        They depend on every parameter of the backbone that the head has a use for.
        """

    def rate_shares(self) -> Mapping[str, float]:
        """Return the parameters, by name, that are trained at a share of the learning rate, and that share."""
        return {}

    def compilable(self) -> list[nn.Module]:
        """Return the parts that torch.compile can compile, whatever is found in an image."""
        return []
