"""Predictions of every kind, made by hand, and the facts of their data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.results.predict.canvas import LabelMap, Layers, Written
from coatseg.results.predict.forms.table import FORMS
from coatseg.results.predict.writers import Writer
from coatseg.structures import DatasetInfo, InstancePrediction, PanopticPrediction
from coatseg.system.fsspec_folders import Place

INFO = DatasetInfo(
    "mine",
    ("background", "cat", "dog"),
    ((0, 0, 0), (250, 50, 80), (10, 200, 30)),
    frozenset({"semantic"}),
    things=(1, 2),
)
SIZE = (24, 31)


def ragged(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A mask with holes, parts that touch at corners, pixels alone and pixels at the edge."""
    random = np.random.default_rng(seed)
    coarse = random.random((-(-size[0] // 4), -(-size[1] // 4))) < 0.6
    return coarse.repeat(4, 0).repeat(4, 1)[: size[0], : size[1]] ^ (random.random(size) < 0.1)


def label_map(seed: int = 0) -> LabelMap:
    """Labels of all classes, and pixels without one."""
    labels = ragged(seed).astype(np.uint8) + ragged(seed + 1)
    labels[3:5, 7:9] = 255
    return LabelMap("a", labels)


def layers(seed: int = 0) -> Layers:
    return Layers("a", np.stack([ragged(seed), np.zeros(SIZE, bool), ragged(seed + 1)]))


def objects(masks: bool = True) -> InstancePrediction:
    """Objects that overlap, one of several parts with holes, one of one pixel, and one without a pixel."""
    found = np.zeros((4, *SIZE), bool)
    found[0, 2:12, 3:20] = True
    found[0, 5:8, 6:9] = False
    found[1] = ragged(5)
    found[2, 0, 30] = True
    boxes = torch.tensor([[3, 2, 20, 12], [0, 0, 31, 24], [30, 0, 31, 1], [1, 1, 2, 2]], dtype=torch.float32)
    scores, labels = torch.tensor([0.9, 0.8, 0.5, 0.1]), torch.tensor([1, 2, 1, 2])
    return InstancePrediction("a", SIZE, boxes, labels, scores, torch.from_numpy(found) if masks else None)


def panoptic() -> PanopticPrediction:
    """A cat, stuff with holes and parts, a dog of one pixel, and void, the surest last."""
    ids = np.zeros(SIZE, np.int32)
    ids[2:12, 3:20] = 1
    ids[ragged(7) & (ids == 0)] = 2
    ids[0, 30] = 3
    return PanopticPrediction(
        "a", torch.from_numpy(ids), torch.tensor([1, 0, 2]), torch.tensor([0.5, 0.625, 0.75], dtype=torch.float32)
    )


def source(name: str = "a.png") -> Source:
    return Source(name.rpartition(".")[0], name, f"/images/{name}")


def write(
    form: str,
    needs: str,
    written: Written,
    folder: Path,
    *,
    info: DatasetInfo = INFO,
    image: Source | None = None,
    tags: GeoTags | None = None,
    **options: Any,
) -> Writer:
    """Write one image's prediction in a form, and what is one for all images."""
    writer = FORMS[form][needs](Place(folder), info, **options)
    image = image or source()
    writer.check([image])
    assert not writer.done(image)
    writer.write(image, written, tags)
    assert writer.done(image)
    writer.conclude([image], pictures=False)
    assert {path.name for path in folder.iterdir()} <= {*writer.files, *writer.folders}
    return writer
