"""Prediction from an ONNX file that coatseg wrote: the file takes the model's place, all else stays the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from coatseg.config.read import choose, read_inference
from coatseg.config.restore import IMAGES
from coatseg.errors import CheckpointError
from coatseg.losses.base import WeightedSum
from coatseg.models.backbones.padding_mask import as_pairs
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.models.heads.panoptic.merging import MergedMaps, Merging
from coatseg.results.export.facts import export_record
from coatseg.results.export.graph import PIXELS, BoxGraph, DenseGraph, MaskGraph, SegmentGraph
from coatseg.results.export.to_onnx import Session
from coatseg.structures import DatasetInfo, Outputs, Size
from coatseg.tasks.base import Task


class OnnxModel(nn.Module):
    """A session in place of a model: it takes images normalised as in training, whatever the file takes.

    Each image of a padded batch goes through without its padding, as it would alone. `reading` are the options by which
    predictions are made of the outputs (see Graph).
    """

    def __init__(self, session: Session, info: DatasetInfo, preprocess: bool, reading: Mapping[str, Any]) -> None:
        super().__init__()
        self.session = session
        self.info = info
        self.reading = reading
        self.preprocess = preprocess
        self.mean = PIXELS * torch.tensor(info.mean).view(-1, 1, 1)
        self.std = PIXELS * torch.tensor(info.std).view(-1, 1, 1)

    def tensors(self, images: Tensor) -> list[Tensor]:
        """Return the file's outputs for images (B, C, H, W)."""
        if self.preprocess:  # pixels were whole numbers or means of them, so this restores them
            images = images * self.std.to(images) + self.mean.to(images)
        return self.session(images)


class DenseOnnxModel(OnnxModel):
    """The file of a segmentation model in place of the model."""

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        """Return the logits (B, classes, H, W); those beyond an image's size are zero."""
        height, width = images.shape[-2:]
        pairs = as_pairs(sizes)
        if pairs is None or all(size == (height, width) for size in pairs):
            return Outputs(self.tensors(images)[0])
        maps = []
        for image, (rows, columns) in zip(images, pairs, strict=True):
            (logits,) = self.tensors(image[None, :, :rows, :columns])
            maps.append(functional.pad(logits, (0, width - columns, 0, height - rows)))
        return Outputs(torch.cat(maps))


class ObjectOnnxModel(OnnxModel):
    """The file of a detector, which takes one image at a time, in place of the model."""

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[Detections]:
        """Return the objects found in each image."""
        pairs = as_pairs(sizes) or ((images.shape[-2], images.shape[-1]),) * len(images)
        rows = zip(images, pairs, strict=True)
        return [Detections(*self.tensors(image[None, :, :height, :width])) for image, (height, width) in rows]


class SegmentOnnxModel(OnnxModel):
    """The file of a head whose maps are merged to segments, in place of the model."""

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> list[MergedMaps]:
        """Return the maps of each image, to be merged at any size."""
        pairs = as_pairs(sizes) or ((images.shape[-2], images.shape[-1]),) * len(images)
        is_thing = torch.tensor([label in self.info.things for label in range(len(self.info.classes))])
        merging = Merging(**self.reading["merging"])
        found = []
        for image, (height, width) in zip(images, pairs, strict=True):
            maps = PanopticMaps(*(each[0] for each in self.tensors(image[None, :, :height, :width])))
            found.append(MergedMaps(maps, is_thing.to(images.device), merging))
        return found


MODELS: dict[tuple[str, ...], type[OnnxModel]] = {
    DenseGraph.outputs: DenseOnnxModel,
    BoxGraph.outputs: ObjectOnnxModel,
    MaskGraph.outputs: ObjectOnnxModel,
    SegmentGraph.outputs: SegmentOnnxModel,
}
"""The class that takes a model's place, by the outputs of the file."""


def restore_onnx(path: Path, inference: Mapping[str, Any]) -> tuple[Task, dict[str, Any]]:
    """Return the task of an ONNX file, as a checkpoint's `Trained.build` does, and the data options in IMAGES.

    `inference` changes options of the file's own inference. The data options say how images are read.

    Raises:
        CheckpointError: it is no ONNX file, or was not written by coatseg.
        ConfigError: ONNX Runtime is not installed, or an option does not fit.
    """
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.", "coatseg export checkpoint=... format=onnx writes one.")
    session = Session(path)
    record = export_record(session.facts, str(path))
    info = DatasetInfo.from_plain(record["info"])
    kind = MODELS.get(session.outputs)
    if kind is None:
        raise CheckpointError(
            f"{path} gives {', '.join(session.outputs)}, and not what coatseg export writes.", "Export the model anew."
        )
    task: Task = choose("task", record["task"]).make(
        model=kind(session, info, record["preprocess"], record.get("reading", {})),
        info=info,
        loss=WeightedSum({}, {}),
        optimizer=_untrained,
        schedule=_untrained,
        inference=read_inference({**record["inference"], **inference}),
    )
    return task.eval(), {name: record.get(name) for name in IMAGES}


def _untrained(given: Any) -> Any:
    raise TypeError("a file of ONNX cannot be trained")
