"""Every kind of prediction is known in every room: each table by kind has all of PREDICTION_KINDS and no other.

A sixth kind, such as depth, consists of

- its row of PREDICTION_KINDS in coatseg/structures.py and the type of its predictions there; if its truth is new, the
  fields of Sample and Target that hold it, which data/loading/batching.py turns into tensors;
- conf/task/CHOICE.yaml, and coatseg/tasks/NAME.py, which registers a task with that truth as `needs` and that output as
  `takes`, its losses, its decoding and its scores; if no head gives the output, one below coatseg/models/heads/;
- an entry in each of the TABLES below: until it is there, the tests of this file name the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
import yaml

from coatseg.config.build import build_task
from coatseg.config.combinations import gives
from coatseg.config.read import read
from coatseg.config.restore import ModelRecord
from coatseg.data.images.sources import Source
from coatseg.data.loading.batching import target_of
from coatseg.data.loading.random_batches import random_batch, random_info, random_target
from coatseg.data.loading.worker_reading import only_needed
from coatseg.registry.names import table
from coatseg.results.export.agreement import COMPARISONS
from coatseg.results.export.graph import GRAPHS
from coatseg.results.export.writing import export
from coatseg.results.predict.canvas import FORMS
from coatseg.results.predict.folder import FILES, FOLDERS
from coatseg.results.predict.opened_image import OpenedImage
from coatseg.results.predict.pictures import picture_of
from coatseg.results.predict.predictor import Predictor
from coatseg.results.predict.writers import writer_of
from coatseg.scenes import Scenes
from coatseg.structures import (
    LOGITS,
    PREDICTION_KINDS,
    TASK_CHOICES,
    DatasetInfo,
    InstanceTarget,
    PanopticTarget,
    PredictionKind,
    Target,
)
from coatseg.system.fsspec_folders import Place
from coatseg.tasks.base import Task
from coatseg.tasks.timed_passes import placed
from coatseg.training.records.report import write_report
from coatseg.training.trainer import make_trainer
from coatseg.visualize.views.base import original_image
from coatseg.visualize.views.table import VIEWS
from tests.conftest import ROOT
from tests.results.models import blotches

SIZE = (64, 64)
INFO = random_info(3, channels=3)

FEW = {
    LOGITS: (),
    **dict.fromkeys(("boxes", "masks"), ("head.regions=8", "head.proposals=[20,20]")),
    "segments": ("head.decoder_options.pyramid_width=16", "head.decoder_options.width=32"),
}
"""For each output of a head, options that make one of conf/task small."""

each_kind = pytest.mark.parametrize("kind", PREDICTION_KINDS, ids=lambda kind: kind.choice)


@dataclass(frozen=True)
class Table:
    """A table by kind of prediction; `key` is that of a kind in it, or None if the table does not concern the kind."""

    module: str
    name: str
    key: Callable[[PredictionKind], Hashable]

    def __str__(self) -> str:
        return f"coatseg.{self.module}.{self.name}"

    @property
    def content(self) -> dict[Any, Any]:
        return dict(getattr(import_module(f"coatseg.{self.module}"), self.name))


def truth(kind: PredictionKind) -> Hashable:
    return kind.truth


def output(kind: PredictionKind) -> Hashable:
    return kind.output


def prediction(kind: PredictionKind) -> Hashable:
    return kind.prediction


def dense_prediction(kind: PredictionKind) -> Hashable:
    return kind.prediction if kind.output == LOGITS else None


def written(kind: PredictionKind) -> Hashable:
    return FORMS[kind.prediction].written if kind.prediction in FORMS else kind.prediction


def exported_outputs(kind: PredictionKind) -> Hashable:
    return GRAPHS[kind.output].outputs if kind.output in GRAPHS else (kind.output,)


def scores(kind: PredictionKind) -> Hashable:
    tasks: dict[str, Any] = table("task")
    return get_type_hints(tasks[kind.task].scores)["return"] if kind.task in tasks else kind.task


TABLES = (
    Table("data.loading.worker_reading", "KEPT", truth),
    Table("data.loading.random_batches", "TRUTHS", truth),
    Table("data.inspection.tables", "CLASS_NOTES", truth),
    Table("visualize.views.table", "VIEWS", prediction),
    Table("training.records.report", "PLOTS", scores),
    Table("results.predict.predictor", "THRESHOLDS", prediction),
    Table("results.predict.canvas", "FORMS", prediction),
    Table("results.predict.pictures", "DRAWINGS", written),
    Table("results.predict.writers", "WRITERS", truth),
    Table("results.export.graph", "GRAPHS", output),
    Table("results.export.agreement", "COMPARISONS", output),
    Table("results.export.agreement", "CLASSES", dense_prediction),
    Table("results.export.onnx_model", "MODELS", exported_outputs),
)


def faults(kinds: Sequence[PredictionKind] = PREDICTION_KINDS) -> list[str]:
    """Name the tables that lack one of these kinds, or have an entry for none of them."""
    found = []
    for one in TABLES:
        keys = {key for kind in kinds if (key := one.key(kind)) is not None}
        found += [f"{one} lacks {key}" for key in keys - set(one.content)]
        found += [f"{one} has {key}" for key in set(one.content) - keys]
    return found


def test_every_table_has_every_kind_and_no_other() -> None:
    assert faults() == []


@pytest.mark.parametrize("one", TABLES, ids=str)
def test_a_table_that_lacks_a_kind_or_has_one_too_many_is_named(one: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    lost, *others = one.content.items()
    monkeypatch.setattr(f"coatseg.{one.module}.{one.name}", dict(others))
    assert f"{one} lacks {lost[0]}" in faults()
    monkeypatch.setattr(f"coatseg.{one.module}.{one.name}", {**dict(others), lost[0]: lost[1], "stale": None})
    assert faults() == [f"{one} has stale"]


def test_a_sixth_kind_is_missed_by_every_table() -> None:
    made = type("DepthPrediction", (), {})
    sixth = [PredictionKind("depth", "depth", "distances", given, made) for given in ("distances", LOGITS)]
    missed = [line.partition(" lacks ")[0] for kind in sixth for line in faults((*PREDICTION_KINDS, kind))]
    assert set(missed) == {str(one) for one in TABLES}


def test_every_file_of_conf_task_is_a_kind_and_names_its_task() -> None:
    files = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "conf" / "task").glob("*.yaml")}
    named = {choice: content["task"]["name"] for choice, content in files.items()}
    assert named == {kind.choice: kind.task for kind in PREDICTION_KINDS}


def test_every_registered_task_is_a_kind_and_states_what_it_needs_and_takes() -> None:
    tasks: dict[str, Any] = table("task")
    stated = {(name, task.needs, task.takes) for name, task in tasks.items() if task.__module__.startswith("coatseg.")}
    assert stated == {(kind.task, kind.truth, kind.output) for kind in PREDICTION_KINDS}


def test_every_output_is_given_by_a_head_and_no_head_gives_another() -> None:
    heads = [name for name, head in table("head").items() if head.__module__.startswith("coatseg.")]
    assert set().union(*map(gives, heads)) == {kind.output for kind in PREDICTION_KINDS}


def test_a_head_is_tried_under_the_first_task_that_takes_its_output() -> None:
    assert TASK_CHOICES == {"logits": "seg", "boxes": "det", "masks": "inst", "segments": "panoptic"}


@each_kind
def test_a_random_truth_has_the_tensors_of_a_read_one(kind: PredictionKind) -> None:
    assert kind.truth in INFO.annotates
    scene = Scenes("val", size=SIZE)[0]
    sample = replace(scene, layers=np.zeros((*SIZE, len(INFO.classes)), np.uint8))
    read_truth = target_of(only_needed(sample, kind.truth))
    assert tensors(random_target(INFO, kind.truth, SIZE)) == tensors(read_truth) != {}


def tensors(holder: Target | InstanceTarget | PanopticTarget) -> dict[str, Any]:
    """The names and types of the tensors that say what is where."""
    parts = {field.name: getattr(holder, field.name) for field in fields(holder) if field.name != "areas"}
    known = {name: part for name, part in parts.items() if part is not None}
    return {name: part.dtype if isinstance(part, torch.Tensor) else tensors(part) for name, part in known.items()}


@pytest.fixture
def config(kind: PredictionKind, composed: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    few = FEW[kind.output]
    return composed(f"task={kind.choice}", "backbone=coat_lite_tiny", "head.width=32", *few)


@pytest.fixture
def info(kind: PredictionKind) -> DatasetInfo:
    return random_info(3, channels=3, output=kind.output)


@pytest.fixture
def task(config: dict[str, Any], info: DatasetInfo) -> Task:
    """A small untrained model under a kind's own task."""
    torch.manual_seed(0)
    built = build_task(read(config).task, info, total=1)
    placed(built, make_trainer({"accelerator": "cpu", "devices": 1, "precision": "32-true"}))
    return built


@each_kind
def test_a_truth_is_learnt_and_a_prediction_scored_and_shown(
    kind: PredictionKind, task: Task, info: DatasetInfo, tmp_path: Path
) -> None:
    batch = random_batch(info, kind.truth, 2, SIZE)
    losses = torch.stack(list(task.train().losses(batch).values()))
    assert losses.isfinite().all()
    with torch.no_grad():
        predictions = task.eval().predict(batch)
    assert [type(one) for one in predictions] == [kind.prediction] * 2
    task.reset_scores()
    task.score(predictions, batch)
    assert task.monitor.removeprefix("val/") in task.scores().summary()
    write_report(tmp_path, task.scores(), "title", {})
    assert (tmp_path / "pictures" / "scores.png").is_file()
    view, shown = VIEWS[kind.prediction], (predictions[0], batch.targets[0], info)
    image = original_image(batch, 0, info)
    assert len(view.pictures(image, *shown)) == len(view.captions)
    assert view.mistaken(image, *shown).shape[-1] == 3
    assert 0 <= view.score(*shown) <= 1


@each_kind
def test_an_image_is_predicted_thresholded_written_and_drawn(
    kind: PredictionKind, task: Task, info: DatasetInfo, tmp_path: Path
) -> None:
    image = OpenedImage("a", SIZE, 3, blotches(*SIZE))
    (plain,) = Predictor(task).predict([image])
    assert type(plain) is kind.prediction
    predictor = Predictor(task, score_threshold=float(plain.scores.mean()) + 1e-4)  # all of one segment are unsure
    (surer,), (result,) = predictor.predict([image]), predictor.results([image])
    assert digest(surer) != digest(plain)
    source, writer = Source("a", "a.png", "a.png"), writer_of(task, Place(tmp_path))
    assert not writer.done(source)
    writer.write(source, result, None)
    assert writer.done(source)
    writer.conclude([source], pictures=True)
    assert {path.name for path in tmp_path.iterdir()} <= {*FILES, *FOLDERS}
    assert picture_of(result, image, info).shape == (*SIZE, 3)


def digest(prediction: Any) -> dict[str, Any]:
    """What a prediction decides, in numbers that can be compared."""
    values = {name: value for name, value in vars(prediction).items() if name != "scores"}
    return {name: value.tolist() if isinstance(value, torch.Tensor) else value for name, value in values.items()}


@each_kind
def test_a_file_is_exported_and_compared(
    kind: PredictionKind, task: Task, config: dict[str, Any], tmp_path: Path
) -> None:
    assert export(task, ModelRecord.of(config), "torchscript", tmp_path / "a.pt", sizes=[SIZE]).compared
    assert json.loads((tmp_path / "a.pt.json").read_text())["of"] == COMPARISONS[kind.output].unit
