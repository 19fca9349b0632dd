"""Detectors of one stage: RetinaNet (Lin et al., "Focal loss", 2017) and FCOS (Tian et al., 2019), strides 8 to 128."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSClassificationHead, FCOSHead, FCOSRegressionHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNet, RetinaNetHead
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from coatseg.models.heads.detection.base import (
    Anchors,
    DetectionHead,
    DetectorOptions,
    FeaturePyramid,
    Maps,
    group_norm,
    in_float32,
    share,
)
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.precision import full_precision
from coatseg.registry.names import register
from coatseg.registry.options import Rate
from coatseg.structures import Level

FINEST = 8
"""The stride of the finest map that they look at."""
OCTAVE = (1.0, 2 ** (1 / 3), 2 ** (2 / 3))
RATIOS = (0.5, 1.0, 2.0)
RETINA_SCALE = 4
"""RetinaNet's anchors have 4 times their map's stride a side, and two thirds of an octave more (section 4)."""


class CoarsestMaps(LastLevelP6P7):  # type: ignore[misc]
    """The maps of strides 64 and 128, by convolutions in float32.

    In bf16 on a CPU, oneDNN's gradient of their weights is not a number where a map has one pixel.
    """

    def forward(self, p: list[Tensor], c: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        """Add two maps to those of the pyramid."""
        with full_precision(p[-1].device):
            maps, names = super().forward([p[-1].float()], c, names)
        return [*p, *maps[1:]], names


class OneStage(DetectionHead):
    """A pyramid, and one of torchvision's detectors that predicts at every position of it."""

    def __init__(self, fpn: FeaturePyramid, detector: RetinaNet | FCOS, levels_used: int) -> None:
        super().__init__()
        self.fpn = fpn
        in_float32(detector.head)
        # torchvision's forward would resize and normalise, and call its backbone: its parts are called here instead.
        detector.backbone = detector.transform = nn.Identity()
        self.detector = detector
        self.levels_used = levels_used

    def losses(self, images: ImageList, maps: Maps, truth: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses at all positions."""
        outputs, anchors, counts = self._predict(images, maps)
        per_level = (counts,) if isinstance(self.detector, FCOS) else ()
        losses = self.detector.compute_loss(truth, outputs, anchors, *per_level)
        return {LOSSES.get(name, name): loss for name, loss in losses.items()}

    def detect(self, images: ImageList, maps: Maps) -> list[Detections]:
        """Find the objects of each image."""
        outputs, anchors, counts = self._predict(images, maps)
        found = self.detector.postprocess_detections(
            {name: list(torch.split(output, counts, dim=1)) for name, output in outputs.items()},
            [list(torch.split(rows, counts)) for rows in anchors],
            images.image_sizes,
        )
        return [Detections(row["boxes"], row["labels"], row["scores"]) for row in found]

    def _predict(self, images: ImageList, maps: Maps) -> tuple[dict[str, Tensor], list[Tensor], list[int]]:
        """Return the outputs (B, all anchors, K) by name, the anchors of each image, and how many each map has."""
        features = list(maps.values())
        generator = self.detector.anchor_generator
        each = generator.num_anchors_per_location()
        counts = [rows.shape[-2] * rows.shape[-1] * count for rows, count in zip(features, each, strict=True)]
        return self.detector.head(features), generator(images, features), counts


LOSSES = {"classification": "classes", "bbox_regression": "boxes", "bbox_ctrness": "centres"}
"""What torchvision's losses are called here."""


class CentreHead(FCOSHead):  # type: ignore[misc]
    """torchvision's layers at any width; the losses are divided by the positions on objects of all processes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(32, 1, classes)  # the least width that its 32 groups take; its parts are made anew
        self.classification_head = FCOSClassificationHead(width, 1, classes, norm_layer=group_norm)
        self.regression_head = FCOSRegressionHead(width, 1, norm_layer=group_norm)

    def compute_loss(
        self,
        targets: list[dict[str, Tensor]],
        head_outputs: dict[str, Tensor],
        anchors: list[Tensor],
        matched_idxs: list[Tensor],
    ) -> dict[str, Tensor]:
        """Return the losses of outputs by name, each position belonging to the object that `matched_idxs` says."""
        losses = super().compute_loss(targets, head_outputs, anchors, matched_idxs)
        part = share(torch.stack([(rows >= 0).sum() for rows in matched_idxs]).sum())
        return {name: part * loss for name, loss in losses.items()}


class _Channels(nn.Identity):
    """What torchvision asks of a backbone before it builds a detector: its number of channels."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.out_channels = count


@dataclass(frozen=True, kw_only=True)
class FCOSOptions(DetectorOptions):
    """Those of FCOS, with its usual threshold of NMS (torchvision)."""

    nms_threshold: Rate = 0.6


@register("head", "retinanet")
def retinanet(levels: Sequence[Level], classes: int, options: DetectorOptions = DetectorOptions()) -> OneStage:
    """Build RetinaNet, which has `norm` in its head, too.

    Raises:
        ConfigError: the backbone has no level of stride 8, or strides that do not double from level to level.
    """
    fpn = one_stage_pyramid(levels, "retinanet", options)
    sizes = [[RETINA_SCALE * stride * step for step in OCTAVE] for stride in fpn.strides]
    norm_layer = None if options.norm == "none" else group_norm
    detector = RetinaNet(
        _Channels(options.width),
        classes,
        anchor_generator=Anchors(fpn.strides, sizes, RATIOS),
        head=RetinaNetHead(options.width, len(OCTAVE) * len(RATIOS), classes, norm_layer),
        **options.decoding(),
    )
    return OneStage(fpn, detector, len(levels))


@register("head", "fcos")
def fcos(levels: Sequence[Level], classes: int, options: FCOSOptions = FCOSOptions()) -> OneStage:
    """Build FCOS with centre sampling; its head has group norms, `norm` is the pyramid's.

    Raises:
        ConfigError: the backbone has no level of stride 8, or strides that do not double from level to level.
    """
    fpn = one_stage_pyramid(levels, "fcos", options)
    detector = FCOS(
        _Channels(options.width),
        classes,
        anchor_generator=Anchors(fpn.strides, [(stride,) for stride in fpn.strides], (1.0,)),
        head=CentreHead(options.width, classes),
        **options.decoding(),
    )
    return OneStage(fpn, detector, len(levels))


def one_stage_pyramid(levels: Sequence[Level], head: str, options: DetectorOptions) -> FeaturePyramid:
    """Build the pyramid of one-stage detectors: the levels from stride 8, and two more by convolutions."""
    width = options.width
    extra = CoarsestMaps(width, width)
    return FeaturePyramid(levels, width, head, extra=extra, extra_maps=2, finest=FINEST, norm=options.norm)
