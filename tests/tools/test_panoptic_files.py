"""What coatseg predict writes of segments, scored by panopticapi and by Cityscapes' own script as coatseg scores it."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from coatseg.data.images.sources import Source
from coatseg.metrics.panoptic import PanopticCounts
from coatseg.results.predict.forms.table import FORMS
from coatseg.results.predict.writers import PanopticWriter, Writer
from coatseg.structures import DatasetInfo, PanopticPrediction, PanopticTarget
from coatseg.system.fsspec_folders import Place
from tests.conftest import ROOT

pytestmark = pytest.mark.tools

INFO = DatasetInfo(
    "streets",
    ("road", "sky", "person", "car"),
    ((9, 9, 9), (0, 0, 250), (250, 0, 0), (0, 250, 0)),
    frozenset({"panoptic"}),
    things=(2, 3),
    category_ids=(7, 23, 24, 26),
)
SIZE = (60, 80)
FRAMES = [f"aachen_000000_{number:06d}" for number in range(6)]


def drawn(seed: int) -> tuple[PanopticPrediction, PanopticTarget]:
    """A true image of blocks, some of them crowds, and a prediction with other edges, classes and void."""
    random = np.random.default_rng(seed)
    cells = random.integers(0, 9, (6, 8)).repeat(10, 0).repeat(10, 1)
    classes = np.array([-1, 0, 1, 2, 2, 2, 3, 3, 3])
    moved = np.roll(cells, random.integers(0, 4, 2), (0, 1))
    moved[random.random(SIZE) < 0.02] = 0
    said = np.where(random.random(9) < 0.1, 3, classes)
    crowd = random.random(9) < 0.2
    there = [number for number in range(1, 9) if (cells == number).any()]
    truth = PanopticTarget(
        torch.from_numpy(cells.astype(np.int32)),
        torch.tensor(there, dtype=torch.int32),
        torch.from_numpy(classes[there]),
        torch.from_numpy(crowd[there] & (classes[there] >= 2)),
    )
    found = [number for number in range(1, 9) if (moved == number).any()]
    ids = np.zeros(SIZE, np.int32)
    for place, number in enumerate(found):
        ids[moved == number] = place + 1
    scores = torch.from_numpy(random.random(len(found))).float()
    return PanopticPrediction("x", torch.from_numpy(ids), torch.from_numpy(said[found]), scores), truth


def write_truth(folder: Path, truths: list[PanopticTarget], image_ids: list[str] | list[int]) -> None:
    """Write the truth in the format of both tools."""
    (folder / "truth").mkdir(parents=True)
    annotations = []
    for place, (truth, image_id) in enumerate(zip(truths, image_ids, strict=True)):
        ids = truth.ids.numpy()
        Image.fromarray(np.stack([ids, 0 * ids, 0 * ids], -1).astype(np.uint8)).save(folder / "truth" / f"{place}.png")
        rows = zip(truth.numbers.tolist(), truth.labels.tolist(), truth.crowd.tolist(), strict=True)
        segments = [
            {"id": n, "category_id": INFO.category_ids[label], "iscrowd": int(crowd), "area": int((ids == n).sum())}
            for n, label, crowd in rows
        ]
        annotations.append({"image_id": image_id, "file_name": f"{place}.png", "segments_info": segments})
    categories = [
        {"id": number, "name": name, "isthing": int(label in INFO.things)}
        for label, (number, name) in enumerate(zip(INFO.category_ids, INFO.classes, strict=True))
    ]
    content = {"images": [{"id": one} for one in image_ids], "annotations": annotations, "categories": categories}
    (folder / "truth.json").write_text(json.dumps(content))


PANOPTICAPI = """
import json, sys
from panopticapi.evaluation import pq_compute
found = pq_compute("truth.json", "out/panoptic.json", "truth", "out/panoptic")
json.dump({name: found[name]["pq"] for name in ("All", "Things", "Stuff")}, open("scores.json", "w"))
"""
CITYSCAPES = """
import json
from cityscapesscripts.evaluation.evalPanopticSemanticLabeling import evaluatePanoptic
found = evaluatePanoptic(
    "truth.json", "truth", "out/cityscapes_panoptic.json", "out/cityscapes_panoptic", "results.json"
)
json.dump({name: found[name]["pq"] for name in ("All", "Things", "Stuff")}, open("scores.json", "w"))
"""


@pytest.mark.parametrize(
    ("script", "kind"),
    [(PANOPTICAPI, PanopticWriter), (CITYSCAPES, FORMS["cityscapes"]["panoptic"])],
    ids=["panopticapi", "cityscapesScripts"],
)
def test_a_tool_gives_the_panoptic_quality_that_coatseg_gives(tmp_path: Path, script: str, kind: type[Writer]) -> None:
    counts = PanopticCounts(INFO.classes, INFO.things)
    writer = kind(Place(tmp_path / "out"), INFO)
    sources = [Source(name, f"{name}_leftImg8bit.png", f"/images/{name}_leftImg8bit.png") for name in FRAMES]
    truths = []
    for seed, source in enumerate(sources):
        prediction, truth = drawn(seed)
        counts.update(prediction, truth)
        writer.write(source, replace(prediction, id=source.id), None)
        truths.append(truth)
    writer.conclude(sources, pictures=False)
    numbered = kind is PanopticWriter
    write_truth(tmp_path, truths, list(range(1, len(FRAMES) + 1)) if numbered else FRAMES)
    command = [os.environ["COATSEG_TOOLS_PYTHON"], "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    ours = counts.scores().summary()
    expected = {"All": ours["PQ"], "Things": ours["PQ_things"], "Stuff": ours["PQ_stuff"]}
    assert 0.2 < expected["All"] < 0.9
    assert scores == pytest.approx(expected, abs=1e-12)
