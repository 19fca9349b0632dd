"""What the detectors share: the contract of a detector, the feature pyramid, anchors at exact strides, float32.

The detectors are torchvision's own modules. What is put in their place here, and why: its transform, since images come
resized and normalised; its anchors, which it rounds and places by strides that it guesses from sizes; and the precision
of what the predicting layers give, since boxes of 16 bit move in steps of 8 pixels beyond 1024.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, distributed, nn
from torch.utils._pytree import tree_map
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from coatseg.errors import ConfigError
from coatseg.models.heads.base import ObjectHead, without_crowds
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.semantic.base import group_count
from coatseg.registry.options import OptionGroup, PositiveInt, Rate
from coatseg.structures import InstanceTarget, Level, Size

DetectorNorm = Literal["none", "group"]
Maps = OrderedDict[str, Tensor]

DIVISOR = 32
"""What images are padded to a multiple of, as the usual detectors do."""


@dataclass(frozen=True, kw_only=True)
class DetectorOptions(OptionGroup):
    """The options of every detector.

    `width` channels in the pyramid; `norm` in it, "group" for training from scratch (He et al., "Rethinking ImageNet
    pre-training", 2019). Of the boxes scored above `score_threshold`, those that overlap a better one of their class
    beyond `nms_threshold` are dropped, and `detections` kept. Defaults, here and in what derives from it, are the
    usual ones (Detectron2, torchvision, MMDetection).
    """

    width: PositiveInt = 256
    norm: DetectorNorm = "none"
    score_threshold: Rate = 0.05
    nms_threshold: Rate = 0.5
    detections: PositiveInt = 100

    def decoding(self) -> dict[str, Any]:
        """Return what decides which boxes are kept, by torchvision's names."""
        return {
            "score_thresh": self.score_threshold,
            "nms_thresh": self.nms_threshold,
            "detections_per_img": self.detections,
        }


class DetectionHead(ObjectHead):
    """A detector of torchvision's parts on a backbone's pyramid."""

    gives = frozenset({"boxes"})
    divisor = DIVISOR
    fpn: FeaturePyramid

    @abstractmethod
    def losses(self, images: ImageList, maps: Maps, truth: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses by name; `truth` holds each image's boxes, labels and, if there are any, masks."""

    @abstractmethod
    def detect(self, images: ImageList, maps: Maps) -> list[Detections]:
        """Find the objects of each image."""

    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[InstanceTarget] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Return the losses against `targets`, or without them the detections.

        `images` (B, C, H, W) are what the pyramid was made of, `sizes` the part of each that is not padding.
        """
        maps, listed = self.fpn(pyramid), ImageList(images, list(sizes))
        if targets is None:
            return self.detect(listed, maps)
        return self.losses(listed, maps, [_as_torchvision(target) for target in targets])

    @property
    def strides(self) -> tuple[int, ...]:  # type: ignore[override]  # nn.Module has no slots to forbid it
        """The strides of the pyramid's maps."""
        return self.fpn.strides

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of the feature pyramid."""
        return list(self.fpn(pyramid).values())

    def compilable(self) -> list[nn.Module]:
        """Return the feature pyramid; what chooses among boxes has as many as it finds."""
        return [self.fpn]


class FeaturePyramid(nn.Module):
    """Feature Pyramid Network (Lin et al., 2017): every map gets `width` channels and sees the coarser ones.

    It starts at the level of stride `finest`; `extra` adds coarser maps, each of twice the stride of the one before.
    `strides` are those of its maps.

    Raises:
        ConfigError: no level of such a stride, or strides that do not double from level to level.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        width: int,
        head: str,
        *,
        extra: ExtraFPNBlock,
        extra_maps: int,
        finest: int = 4,
        norm: DetectorNorm = "none",
    ) -> None:
        super().__init__()
        strides = [level.stride for level in levels]
        if finest not in strides or any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise ConfigError(
                f"head={head} needs feature maps from stride {finest} on, each of twice the stride of the one before; "
                f"this backbone has {tuple(strides)}.",
                "Choose a backbone with the strides 4, 8, 16 and 32, such as any CoaT.",
            )
        self.first = strides.index(finest)
        used = levels[self.first :]
        self.strides = (
            *(level.stride for level in used),
            *(used[-1].stride * 2**step for step in range(1, extra_maps + 1)),
        )
        norm_layer = None if norm == "none" else group_norm
        self.network = FeaturePyramidNetwork([level.channels for level in used], width, extra, norm_layer)

    def forward(self, pyramid: Sequence[Tensor]) -> Maps:
        """Map the backbone's maps to those of `strides`, named "0", "1", ... from fine to coarse."""
        used = pyramid[self.first :]
        maps = self.network(OrderedDict((str(number), features) for number, features in enumerate(used)))
        return OrderedDict((str(number), features) for number, features in enumerate(maps.values()))


class Anchors(AnchorGenerator):  # type: ignore[misc]
    """Anchors in float32 at exact strides: boxes of `sizes` pixels and `ratios` (height / width) around each position.

    torchvision's are rounded to whole pixels, in the precision of the maps, and as far apart as the padded image's size
    divided by the map's gives, rounded down: 61 instead of 64 for a side of 800.
    """

    def __init__(self, strides: Sequence[int], sizes: Sequence[Sequence[float]], ratios: Sequence[float]) -> None:
        super().__init__(tuple(map(tuple, sizes)), (tuple(ratios),) * len(sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Return the boxes (N, 4) around the origin, the scales of the first ratio first."""
        scale = torch.tensor(scales, dtype=dtype, device=device)
        root = torch.tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        widths, heights = (scale / root[:, None]).flatten(), (scale * root[:, None]).flatten()
        return torch.stack([-widths, -heights, widths, heights], dim=1) / 2

    def forward(self, image_list: ImageList, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors (N, 4) of each image, from the finest map on."""
        self.set_cell_anchors(torch.float32, feature_maps[0].device)
        grids = [list(features.shape[-2:]) for features in feature_maps]
        anchors = torch.cat(self.grid_anchors(grids, [[stride, stride] for stride in self.strides]))
        return [anchors] * len(image_list.image_sizes)


def in_float32(module: nn.Module) -> nn.Module:
    """Have a module that predicts give its tensors in float32, in whatever precision it computes."""
    module.register_forward_hook(_cast)
    module.predicts = True  # type: ignore[assignment]  # by which tasks find what has to be finite
    return module


def group_norm(channels: int) -> nn.GroupNorm:
    """Make a group norm of so many channels."""
    return nn.GroupNorm(group_count(channels), channels)


def _cast(module: nn.Module, inputs: Any, outputs: Any) -> Any:
    return tree_map(lambda output: output.float() if isinstance(output, Tensor) else output, outputs)


def _as_torchvision(target: InstanceTarget) -> dict[str, Tensor]:
    objects = without_crowds(target)
    tensors = {"boxes": objects.boxes.float(), "labels": objects.labels}
    return tensors if objects.masks is None else {**tensors, "masks": objects.masks}


def share(count: Tensor) -> Tensor:
    """Return the factor that makes a mean over `count` things of this process its part of the mean over all processes.

    A distributed run averages the gradients of its processes, however few things one of them has. Every process has to
    call this at the same places. Outside of such a run the factor is 1. The parts of an accumulated step stay apart.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return torch.ones((), device=count.device)
    everyone = count.float().clone()
    distributed.all_reduce(everyone)
    return count.clamp(min=1) * distributed.get_world_size() / everyone.clamp(min=1)
