"""Detectors of two stages: Faster R-CNN (Ren et al., 2015) and Mask R-CNN (He et al., 2017) on a feature pyramid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, MinLen
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNConvFCHead, FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import RoIHeads, fastrcnn_loss
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from coatseg.errors import ConfigError
from coatseg.models.heads.detection.base import (
    Anchors,
    DetectionHead,
    DetectorOptions,
    FeaturePyramid,
    Maps,
    group_norm,
    in_float32,
)
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.detection.regions import RegionPooler, mask_loss
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt, legal
from coatseg.structures import Level

BoxHead = Literal["mlp", "conv"]
BoxNorm = Literal["none", "group", "batch"]
Ratios = Annotated[
    tuple[Annotated[float, Gt(0)], ...], MinLen(1), legal("Give heights over widths, such as [0.5,1.0,2.0]")
]
CountPair = Annotated[tuple[PositiveInt, PositiveInt], legal("Give two numbers, in training and after it: [2000,1000]")]

BOX_SIZE, MASK_SIZE = 7, 14
"""Sides of the pooled regions of the box head and the mask head."""
HIDDEN = 1024


@dataclass(frozen=True, kw_only=True)
class RCNN(DetectorOptions):
    """The options of the detectors of two stages, which have `norm` in their heads, too.

    `box_head`: two linear layers, or four convolutions and one, which may have a `box_norm` of their own, "batch" for
    that of MMDetection's 4conv1fc (with trainer.sync_batchnorm=true it is taken over all processes). Anchors have
    `anchor_scale` times their map's stride a side, in the given `ratios` of height to width. `proposals` are kept per
    image, and per level before NMS, in training and after it; the losses see `regions` of them an image.
    """

    box_head: BoxHead = "mlp"
    box_norm: BoxNorm | None = None
    anchor_scale: Annotated[float, Gt(0)] = 8.0
    ratios: Ratios = (0.5, 1.0, 2.0)
    proposals: CountPair = (2000, 1000)
    regions: PositiveInt = 512


@dataclass(frozen=True, kw_only=True)
class MaskRCNN(RCNN):
    """Those of the detectors with masks: the convolutions of a mask head have `mask_width` channels."""

    mask_width: PositiveInt = 256


class RegionHeads(RoIHeads):  # type: ignore[misc]
    """torchvision's region heads, whose masks learn from targets that are not half a pixel off."""

    def losses(self, maps: Maps, boxes: list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of a sample of the proposed boxes (N, 4), a tensor an image; label 0 is background."""
        boxes, matched, labels, aims = self.select_training_samples(boxes, targets)
        logits, deltas = self.box_predictor(self.box_head(self.box_roi_pool(maps, boxes)))
        classes, distance = fastrcnn_loss(logits, deltas, labels, aims)
        losses = {"classes": classes, "boxes": distance}
        if self.has_mask():
            losses["masks"] = mask_loss(lambda rows: self.mask_logits(maps, rows), boxes, matched, labels, targets)
        return losses

    def mask_logits(self, maps: Maps, boxes: list[Tensor]) -> Tensor:
        """Return the logits (all N, 1 + classes, 28, 28) of the masks in boxes (N, 4), a tensor an image."""
        logits: Tensor = self.mask_predictor(self.mask_head(self.mask_roi_pool(maps, boxes)))
        return logits


class TwoStage(DetectionHead):
    """A pyramid, a network that proposes regions, and heads that look at each of them."""

    def __init__(
        self, fpn: FeaturePyramid, proposals: RegionProposalNetwork, regions: RegionHeads, levels_used: int
    ) -> None:
        super().__init__()
        self.fpn = fpn
        self.proposals = proposals
        self.regions = regions
        self.levels_used = levels_used

    def losses(self, images: ImageList, maps: Maps, truth: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the losses of the proposals and of the heads."""
        background_first = [{**target, "labels": target["labels"] + 1} for target in truth]
        boxes, first = self.proposals(images, maps, background_first)
        second = self.regions.losses(maps, boxes, background_first)
        losses: dict[str, Tensor] = {LOSSES.get(name, name): loss for name, loss in {**first, **second}.items()}
        return losses

    def detect(self, images: ImageList, maps: Maps) -> list[Detections]:
        """Find the objects of each image."""
        boxes, _ = self.proposals(images, maps)
        found, _ = self.regions(maps, boxes, images.image_sizes)
        return [Detections(row["boxes"], row["labels"] - 1, row["scores"], row.get("masks")) for row in found]


class MaskTwoStage(TwoStage):
    """The same, with a mask head."""

    gives = frozenset({"masks"})


LOSSES = {"loss_objectness": "objectness", "loss_rpn_box_reg": "proposals"}
"""What torchvision's losses of the proposals are called here."""


@register("head", "faster_rcnn")
def faster_rcnn(levels: Sequence[Level], classes: int, options: RCNN = RCNN()) -> TwoStage:
    """Build Faster R-CNN on a pyramid of strides 4 to 64.

    Raises:
        ConfigError: the backbone's strides do not begin at 4 and double from level to level; a box_norm without
            convolutions.
    """
    fpn = two_stage_pyramid(levels, "faster_rcnn", options)
    heads = region_heads(fpn, classes, options)
    return TwoStage(fpn, proposal_network(fpn, options), heads, len(levels))


@register("head", "mask_rcnn")
def mask_rcnn(levels: Sequence[Level], classes: int, options: MaskRCNN = MaskRCNN()) -> MaskTwoStage:
    """Build Mask R-CNN: Faster R-CNN and a mask head.

    Raises:
        ConfigError: the backbone's strides do not begin at 4 and double from level to level; a box_norm without
            convolutions.
    """
    fpn = two_stage_pyramid(levels, "mask_rcnn", options)
    heads = region_heads(fpn, classes, options)
    heads.mask_roi_pool = RegionPooler(fpn.strides, MASK_SIZE)
    heads.mask_head, heads.mask_predictor = mask_layers(classes, options)
    return MaskTwoStage(fpn, proposal_network(fpn, options), heads, len(levels))


def two_stage_pyramid(levels: Sequence[Level], head: str, options: RCNN) -> FeaturePyramid:
    """Build the pyramid of two-stage detectors: the levels from stride 4, and the last one subsampled."""
    return FeaturePyramid(levels, options.width, head, extra=LastLevelMaxPool(), extra_maps=1, norm=options.norm)


def proposal_network(fpn: FeaturePyramid, options: RCNN) -> RegionProposalNetwork:
    """Build what proposes regions on each map."""
    kept = dict(zip(("training", "testing"), options.proposals, strict=True))
    anchors = Anchors(fpn.strides, [(options.anchor_scale * stride,) for stride in fpn.strides], options.ratios)
    return RegionProposalNetwork(
        anchors,
        in_float32(RPNHead(options.width, len(options.ratios))),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n=kept,
        post_nms_top_n=kept,
        nms_thresh=0.7,
    )


def region_heads(fpn: FeaturePyramid, classes: int, options: RCNN) -> RegionHeads:
    """Build what classifies and refines the proposed regions."""
    return RegionHeads(
        RegionPooler(fpn.strides, BOX_SIZE),
        box_layers(options),
        in_float32(FastRCNNPredictor(HIDDEN, classes + 1)),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=options.regions,
        positive_fraction=0.25,
        bbox_reg_weights=(10.0, 10.0, 5.0, 5.0),
        **options.decoding(),
    )


def mask_layers(classes: int, options: MaskRCNN) -> tuple[nn.Module, nn.Module]:
    """Build a mask head of four convolutions and what predicts a mask of twice the size for each class."""
    width = options.mask_width
    norm_layer = None if options.norm == "none" else group_norm
    head = MaskRCNNHeads(options.width, (width,) * 4, 1, norm_layer)
    return head, in_float32(MaskRCNNPredictor(width, width, classes + 1))


def box_layers(options: RCNN) -> nn.Module:
    """Build what sees the regions of (width, 7, 7): two linear layers, or four convolutions with norms and one.

    Raises:
        ConfigError: a norm of its own for a head without convolutions.
    """
    width, own_norm = options.width, options.box_norm
    if options.box_head == "mlp":
        if own_norm is not None:
            raise ConfigError(
                f"head.box_norm={own_norm}: two linear layers have no norm.", "Set head.box_head=conv, or leave it out."
            )
        linear: nn.Module = TwoMLPHead(width * BOX_SIZE**2, HIDDEN)
        return linear
    norm_layer = BOX_NORMS[own_norm or options.norm]
    layers: nn.Module = FastRCNNConvFCHead((width, BOX_SIZE, BOX_SIZE), [width] * 4, [HIDDEN], norm_layer)
    return layers


BOX_NORMS: dict[BoxNorm, Callable[[int], nn.Module] | None] = {
    "none": None,
    "group": group_norm,
    "batch": nn.BatchNorm2d,
}
