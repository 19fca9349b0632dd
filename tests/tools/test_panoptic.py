"""Panoptic quality is what panopticapi computes."""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from coatseg.metrics.panoptic import PanopticCounts, PanopticScores
from coatseg.structures import PanopticPrediction, PanopticTarget
from tests.conftest import ROOT
from tests.metrics.panoptic_cases import CASES, CLASSES, THINGS
from tests.metrics.test_panoptic import generated

pytestmark = pytest.mark.tools

Examples = Sequence[tuple[PanopticPrediction, PanopticTarget]]


def written(folder: Path, name: str, ids: torch.Tensor, segments: list[tuple[int, int, bool]]) -> dict[str, Any]:
    """Write an id map as PNG, and return its annotation; categories are class numbers."""
    folder.mkdir(exist_ok=True)
    file = f"{name}.png"
    Image.fromarray(np.stack([ids.numpy() >> shift & 255 for shift in (0, 8, 16)], 2).astype(np.uint8)).save(
        folder / file
    )
    rows = [
        {"id": number, "category_id": label, "iscrowd": int(crowd), "area": int((ids == number).sum())}
        for number, label, crowd in segments
    ]
    return {"image_id": name, "file_name": file, "segments_info": rows}


def of_panopticapi(
    folder: Path, evaluations: Mapping[str, Examples], classes: Sequence[str], things: Sequence[int]
) -> dict[str, Any]:
    """What panopticapi says of evaluations by name."""
    pairs: dict[str, list[Any]] = {name: [] for name in evaluations}
    for place, (name, examples) in enumerate(evaluations.items()):
        for prediction, truth in examples:
            true = zip(truth.numbers.tolist(), truth.labels.tolist(), truth.crowd.tolist(), strict=True)
            found = [(number, label, False) for number, label in enumerate(prediction.labels.tolist(), 1)]
            file = f"{place}_{prediction.id}"
            pairs[name].append([
                written(folder / "truth", file, truth.ids, list(true)),
                written(folder / "found", file, prediction.ids, found),
            ])  # fmt: skip
    categories = [{"id": number, "name": name, "isthing": int(number in things)} for number, name in enumerate(classes)]
    (folder / "evaluations.json").write_text(json.dumps({"categories": categories, "evaluations": pairs}))
    command = [os.environ["COATSEG_TOOLS_PYTHON"], "tests/tools/panoptic_quality.py", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def assert_equal(
    folder: Path, evaluations: Mapping[str, Examples], classes: Sequence[str], things: Sequence[int]
) -> dict[str, PanopticScores]:
    """Evaluate with both, and return our scores: counts are equal, sums and means to the last digits of doubles."""
    theirs, ours = of_panopticapi(folder, evaluations, classes, things), {}
    for name, examples in evaluations.items():
        counts = PanopticCounts(classes, things)
        for prediction, truth in examples:
            counts.update(prediction, truth)
        ours[name] = scores = counts.scores()
        assert scores.counts.tolist() == theirs[name]["counts"], name
        np.testing.assert_allclose(scores.iou, theirs[name]["iou"], rtol=0, atol=1e-12, err_msg=name)
        means = {key: np.nan if value is None else value for key, value in theirs[name]["means"].items()}
        assert scores.summary() == pytest.approx(means, abs=1e-12, nan_ok=True), name
    return ours


def test_panopticapi_says_the_same_of_every_case_and_of_generated_images(tmp_path: Path) -> None:
    cases = {case.says: case.examples for case in CASES}
    assert_equal(tmp_path, {**cases, "generated": generated(40)}, CLASSES, THINGS)


def returned(name: str, truth: PanopticTarget) -> PanopticPrediction:
    """The truth itself, but for crowds, as a prediction."""
    numbers, labels = truth.numbers[~truth.crowd], truth.labels[~truth.crowd]
    ids = torch.zeros_like(truth.ids)
    for place, number in enumerate(numbers.tolist(), 1):
        ids[truth.ids == number] = place
    return PanopticPrediction(name, ids, labels, torch.ones(len(labels)))


def disturbed(prediction: PanopticPrediction, classes: int, random: np.random.Generator) -> PanopticPrediction:
    """Move the segments by a few pixels, cut some in two, leave some out, and call some by another class."""
    labels = prediction.labels.tolist()
    ids = torch.roll(prediction.ids, tuple(random.integers(-6, 7, 2).tolist()), (0, 1))
    for number in range(1, len(labels) + 1):
        if random.random() < 0.2:
            columns = torch.nonzero(ids == number)[:, 1]
            right = torch.arange(ids.shape[1]) > columns.float().mean()
            labels.append(labels[number - 1])
            ids[(ids == number) & right] = len(labels)
    ids[torch.isin(ids, torch.from_numpy(np.flatnonzero(random.random(len(labels)) < 0.1) + 1))] = 0
    labels = [int(random.integers(classes)) if random.random() < 0.1 else label for label in labels]
    left, places = torch.unique(ids, return_inverse=True)
    if left[0] != 0:
        left, places = torch.cat([left.new_zeros(1), left]), places + 1
    kept = torch.tensor(labels)[left[1:].long() - 1]
    return PanopticPrediction(prediction.id, places.to(torch.int32), kept, torch.ones(len(kept)))


@pytest.mark.real
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_panoptic(split: str, tmp_path: Path) -> None:
    root = Path(os.environ["COATSEG_REAL_DATA"]) / "coco_panoptic" / "annotations"
    content = json.loads((root / f"panoptic_{split}.json").read_text())
    categories = content["categories"]
    number_of = {category["id"]: number for number, category in enumerate(categories)}
    truths = {}
    for row in content["annotations"]:
        pixels = np.asarray(Image.open(root / f"panoptic_{split}" / row["file_name"]).convert("RGB")).astype(np.int32)
        segments = row["segments_info"]
        truths[str(row["image_id"])] = PanopticTarget(
            torch.from_numpy(pixels @ np.array([1, 256, 65536], np.int32)),
            torch.tensor([segment["id"] for segment in segments], dtype=torch.int32),
            torch.tensor([number_of[segment["category_id"]] for segment in segments]),
            torch.tensor([bool(segment["iscrowd"]) for segment in segments]),
        )
    back = [(returned(name, truth), truth) for name, truth in truths.items()]
    evaluations = {"back": back}
    for seed in range(2):
        random = np.random.default_rng(seed)
        evaluations[f"disturbed {seed}"] = [(disturbed(one, len(categories), random), truth) for one, truth in back]
    things = [number for number, category in enumerate(categories) if category["isthing"]]
    scores = assert_equal(tmp_path, evaluations, [category["name"] for category in categories], things)
    best, *worse = scores.values()
    assert set(best.pq[best.counts.any(1)].tolist()) == {1.0}
    assert best.counts[:, 0].sum() == sum(int((~truth.crowd).sum()) for truth in truths.values())
    assert all(0.1 < one.summary()["PQ"] < 0.9 for one in worse)
