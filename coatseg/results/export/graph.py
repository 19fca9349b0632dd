"""The graph that is exported: a trained model from images to named tensors, without other Python types."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar, cast

import torch
from segmentation_models_pytorch.decoders.pspnet.decoder import PSPBlock
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.roi_heads import RoIHeads

from coatseg.errors import ConfigError
from coatseg.models.detector import Detector
from coatseg.models.heads.detection.cascade_steps import MaskStep
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.query.masks.head import MaskHead
from coatseg.models.model import Model
from coatseg.structures import LOGITS, DatasetInfo, Outputs

Replaced = TypeVar("Replaced", bound=nn.Module)

PIXELS = 255.0
"""The largest pixel value in images that a graph normalises itself, whatever the bit depth of the files."""


OBJECTS = {0: "objects"}


class Graph(nn.Module):
    """Maps images (B, C, H, W) float32 to tensors named `outputs`.

    The images are normalised as in training; with `preprocess` they are pixels from 0 to 255, which the graph
    normalises itself. `any_batch` is whether B may be more than 1; `axes` name those axes of the outputs that can have
    any length; `meaning` says in words what the outputs are.
    """

    outputs: tuple[str, ...]
    axes: Mapping[str, dict[int, str]]
    any_batch: bool
    meaning: str
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, info: DatasetInfo, preprocess: bool) -> None:
        super().__init__()
        self.model = model
        self.channels = info.channels
        self.preprocess = preprocess
        if preprocess:
            self.register_buffer("mean", PIXELS * torch.tensor(info.mean).view(-1, 1, 1))
            self.register_buffer("std", PIXELS * torch.tensor(info.std).view(-1, 1, 1))

    def normalised(self, images: Tensor) -> Tensor:
        """Return images normalised, if the graph does so itself."""
        return (images - self.mean) / self.std if self.preprocess else images


class DenseGraph(Graph):
    """The graph of a segmentation model: logits (B, classes, H, W) float32."""

    outputs = ("logits",)
    axes = MappingProxyType({"logits": {0: "batch", 2: "height", 3: "width"}})
    any_batch = True
    meaning = "logits (B, classes, height, width) float32, at the size of the images"

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of images."""
        outputs: Outputs = self.model(self.normalised(images))
        return outputs.logits


class BoxGraph(Graph):
    """A detector's graph for one image: its boxes (N, 4) float32 in pixels, labels (N,) int64 and scores (N,) float32.

    Labels count the classes from 0.
    """

    outputs = ("boxes", "labels", "scores")
    axes = MappingProxyType({"boxes": OBJECTS, "labels": OBJECTS, "scores": OBJECTS})
    any_batch = False
    meaning = (
        "of N objects, the surest first: boxes (N, 4) float32, x1, y1, x2, y2 in pixels of the image; "
        "labels (N,) int64, places in the list of classes; scores (N,) float32"
    )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the objects, those of highest score first."""
        (found,) = cast(list[Detections], self.model(self.normalised(images)))
        return found.boxes, found.labels, found.scores


class MaskGraph(Graph):
    """The same with masks (N, 1, 28, 28) float32: the probability that a pixel of the box belongs to the object."""

    outputs = (*BoxGraph.outputs, "masks")
    axes = MappingProxyType({**BoxGraph.axes, "masks": OBJECTS})
    any_batch = False
    meaning = f"{BoxGraph.meaning}; masks (N, 1, 28, 28) float32, the probability of the object within its box"

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the objects, those of highest score first."""
        (found,) = cast(list[Detections], self.model(self.normalised(images)))
        assert found.masks is not None
        return found.boxes, found.labels, found.scores, found.masks


GRAPHS: Mapping[str, type[Graph]] = {LOGITS: DenseGraph, "masks": MaskGraph, "boxes": BoxGraph}
"""For each output of a head, the graph of a model with such a head; of a head with several, the first of these."""


class MatrixPool(nn.Module):
    """Adaptive average pooling to a fixed size, as two products with matrices made from the map's size.

    Graph formats have no adaptive pooling of maps of any size. The bins are those of nn.AdaptiveAvgPool2d: the i-th of
    n spans floor(i * length / n) to ceil((i + 1) * length / n).
    """

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.size = height, width

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, h, w) pooled to (B, C, height, width)."""
        down, across = (bins(count, length) for count, length in zip(self.size, maps.shape[-2:], strict=True))
        return down.to(maps) @ maps @ across.to(maps).transpose(0, 1)


def bins(count: int, length: int) -> Tensor:
    """Return the (count, length) weights that pool a side; `length` may be a number that a graph computes."""
    edges, places = torch.arange(count)[:, None], torch.arange(length)[None]
    first = torch.div(edges * length, count, rounding_mode="floor")
    end = torch.div((edges + 1) * length + count - 1, count, rounding_mode="floor")
    inside = ((places >= first) & (places < end)).float()
    return inside / inside.sum(1, keepdim=True)


class PyramidBlock(nn.Module):
    """smp's block of pyramid pooling, without its special case for ONNX, which uses an operator that ONNX lacks."""

    def __init__(self, block: PSPBlock) -> None:
        super().__init__()
        self.pool = block.pool

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps (B, C, h, w) pooled, convolved, and resized to their own size."""
        return functional.interpolate(self.pool(maps), maps.shape[-2:], mode="bilinear", align_corners=True)


class RegionNorm(nn.Module):
    """A group norm of pooled regions (N, C, M, M) that also works for N of 0, for which the formats' own norms fail."""

    def __init__(self, norm: nn.GroupNorm) -> None:
        super().__init__()
        self.norm = norm

    def forward(self, regions: Tensor) -> Tensor:
        """Return each region normalised by itself."""
        channels, height, width = (int(length) for length in regions.shape[1:])
        length = channels // self.norm.num_groups * height * width
        groups = regions.reshape(-1, self.norm.num_groups, length)
        normed = functional.layer_norm(groups, [length], eps=self.norm.eps)
        scale, shift = (part.view(-1, 1, 1) for part in (self.norm.weight, self.norm.bias))
        return normed.reshape(-1, channels, height, width) * scale + shift


def graph_of(model: nn.Module, info: DatasetInfo, *, preprocess: bool) -> Graph:
    """Return the graph of a task's model: a copy in float32 on the CPU, in evaluation mode.

    Raises:
        ConfigError: the model finds objects or segments by the masks of queries.
    """
    if isinstance(model, Detector) and isinstance(model.head, MaskHead):
        raise ConfigError(
            "What is made of queries and their masks, objects or segments, is in no format that files are written in.",
            "Predict with the checkpoint; the same head trained with task=seg is exported.",
        )
    given = model.head.gives if isinstance(model, Detector) else {LOGITS}
    kind = next((GRAPHS[output] for output in GRAPHS if output in given), BoxGraph)
    model = copy.deepcopy(model).cpu().float()
    if isinstance(model, Model):
        model.auxiliary = None  # which only training uses
    graph = kind(model, info, preprocess).eval().requires_grad_(False)
    _replace(graph, nn.AdaptiveAvgPool2d, lambda pool: MatrixPool(*_size(pool)) if _size(pool) != (1, 1) else pool)
    _replace(graph, PSPBlock, PyramidBlock)
    for part in [part for part in graph.modules() if isinstance(part, RoIHeads | MaskStep)]:
        _replace(part, nn.GroupNorm, RegionNorm)
    return graph


def _replace(graph: nn.Module, kind: type[Replaced], made: Callable[[Replaced], nn.Module]) -> None:
    """Replace every module of a kind."""
    for module in list(graph.modules()):
        for name, child in module.named_children():
            if isinstance(child, kind):
                setattr(module, name, made(child))


def _size(pool: nn.AdaptiveAvgPool2d) -> tuple[int, int]:
    """Return the (height, width) that a pool gives its maps."""
    height, width = pool.output_size if isinstance(pool.output_size, tuple) else (pool.output_size,) * 2
    assert height is not None
    assert width is not None
    return height, width


@contextmanager
def quietly() -> Iterator[None]:
    """Silence the exporters' warnings: the files are compared with the model at three sizes afterwards."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
