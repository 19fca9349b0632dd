"""Transformers' own detectors and panoptic models on CoaT, as its users build them, with our truth and our scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torchvision.ops import box_convert

import coatseg
from coatseg.models.backbones.variants import VARIANTS
from coatseg.models.heads.base import without_crowds
from coatseg.structures import Batch, DatasetInfo, InstancePrediction, PanopticPrediction

STAGES = ("stage1", "stage2", "stage3", "stage4")
EVERY_LAYER = {"auxiliary_loss": True, "use_auxiliary_loss": True}
"""What has Deformable DETR and MaskFormer learn from every decoder layer, as ours and their papers do."""

Labels = dict[str, list[Any]]


@dataclass(frozen=True)
class Peer:
    """A model of transformers that is a head of ours too.

    `model` and `config` are the library's names; `stages` the maps that it is given; `needs` makes the options without
    which it does not fit the channels of these maps; all others are the library's defaults. `numbers` are the classes
    of a dataset that it tells apart; `labels` makes a batch's truth its arguments; `read` its outputs predictions.
    """

    task: str
    model: str
    config: str
    processor: str
    stages: tuple[str, ...]
    needs: Callable[[Sequence[int]], dict[str, Any]] = lambda channels: {}

    def build(self, variant: str, classes: int, **options: Any) -> nn.Module:
        """Build it on a CoaT of random weights."""
        coatseg.register_transformers()
        backbone = transformers.AutoConfig.for_model("coatseg", variant=variant, out_features=list(self.stages))
        channels = VARIANTS[variant].channels[-len(self.stages) :]
        config_class = getattr(transformers, self.config)
        known = {name: value for name, value in options.items() if hasattr(config_class(), name)}
        config = config_class(backbone_config=backbone, num_labels=classes, **self.needs(channels), **known)
        model: nn.Module = getattr(transformers, self.model)(config)
        return model

    def labels(self, batch: Batch, numbers: Sequence[int]) -> Labels:
        """Return the truth of a batch as the library's arguments; classes are counted as `numbers` lists them."""
        return LABELS[self.task](batch, {number: place for place, number in enumerate(numbers)})

    def read(self, outputs: Any, batch: Batch, info: DatasetInfo, numbers: Sequence[int]) -> list[Any]:
        """Return predictions of ours, made of the library's outputs by its own processing."""
        return READ[self.task](getattr(transformers, self.processor)(), outputs, batch, info, numbers)


def _rtdetr_needs(channels: Sequence[int]) -> dict[str, Any]:
    return {"encoder_in_channels": list(channels)}


PEERS: Mapping[str, Peer] = {
    "deformable_detr": Peer(
        "det", "DeformableDetrForObjectDetection", "DeformableDetrConfig", "DeformableDetrImageProcessor", STAGES[1:]
    ),
    "rtdetr": Peer(
        "det", "RTDetrV2ForObjectDetection", "RTDetrV2Config", "RTDetrImageProcessor", STAGES[1:], _rtdetr_needs
    ),
    "mask2former": Peer(
        "panoptic", "Mask2FormerForUniversalSegmentation", "Mask2FormerConfig", "Mask2FormerImageProcessor", STAGES
    ),
    "maskformer": Peer(
        "panoptic", "MaskFormerForInstanceSegmentation", "MaskFormerConfig", "MaskFormerImageProcessor", STAGES
    ),
}
"""The peer of each head, by the head's name."""


def _box_labels(batch: Batch, places: Mapping[int, int]) -> Labels:
    """Return boxes as shares of the image: centre x, y, width, height."""
    labels = []
    for target, (height, width) in zip(batch.targets, batch.sizes, strict=True):
        if target.instances is None:
            raise ValueError("the batch has no instances")
        truth = without_crowds(target.instances)
        scale = truth.boxes.new_tensor([width, height, width, height])
        boxes = (box_convert(truth.boxes, "xyxy", "cxcywh") / scale).float()
        classes = torch.tensor([places[number] for number in truth.labels.tolist()], dtype=torch.int64)
        labels.append({"class_labels": classes, "boxes": boxes})
    return {"labels": labels}


def _mask_labels(batch: Batch, places: Mapping[int, int]) -> Labels:
    """Return a float mask (N, H, W) of each segment that is no crowd; what is not annotated is in none."""
    masks, classes = [], []
    for target in batch.targets:
        truth = target.panoptic
        if truth is None:
            raise ValueError("the batch has no panoptic truth")
        kept = ~truth.crowd
        masks.append((truth.ids == truth.numbers[kept][:, None, None]).float())
        classes.append(torch.tensor([places[number] for number in truth.labels[kept].tolist()], dtype=torch.int64))
    return {"mask_labels": masks, "class_labels": classes}


def _boxes(
    processor: Any, outputs: Any, batch: Batch, info: DatasetInfo, numbers: Sequence[int]
) -> list[InstancePrediction]:
    found = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=list(batch.original_sizes))
    rows = zip(found, batch.ids, batch.original_sizes, strict=True)
    return [
        InstancePrediction(
            name, size, row["boxes"].double(), torch.tensor(numbers)[row["labels"]], row["scores"].float(), None
        )
        for row, name, size in rows
    ]


def _segments(
    processor: Any, outputs: Any, batch: Batch, info: DatasetInfo, numbers: Sequence[int]
) -> list[PanopticPrediction]:
    stuff = {place for place, number in enumerate(numbers) if number not in info.things}
    found = processor.post_process_panoptic_segmentation(
        outputs, label_ids_to_fuse=stuff, target_sizes=list(batch.original_sizes)
    )
    rows = zip(found, batch.ids, strict=True)
    return [_prediction(name, row["segmentation"], row["segments_info"], stuff, numbers) for row, name in rows]


def _prediction(
    name: str, segmentation: Tensor, listed: Sequence[Mapping[str, Any]], stuff: set[int], numbers: Sequence[int]
) -> PanopticPrediction:
    """Number the segments anew, as the library may list a fused one twice, or one without a pixel."""
    ids = torch.zeros(segmentation.shape, dtype=torch.int32)
    labels: list[int] = []
    scores: list[float] = []
    for entry in listed:
        pixels = (segmentation == entry["id"]) & (ids == 0)
        if not pixels.any():
            continue
        label = entry["label_id"]
        if label not in stuff or numbers[label] not in labels:
            labels.append(numbers[label])
            scores.append(float(entry["score"]))
            ids[pixels] = len(labels)
        else:
            ids[pixels] = 1 + labels.index(numbers[label])
    return PanopticPrediction(name, ids, torch.tensor(labels, dtype=torch.int64), torch.tensor(scores))


LABELS: Mapping[str, Callable[[Batch, Mapping[int, int]], Labels]] = {"det": _box_labels, "panoptic": _mask_labels}
READ: Mapping[str, Callable[..., list[Any]]] = {"det": _boxes, "panoptic": _segments}
