"""Weights of whole models from the command line: to start a training from, and to be scored alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coatseg.commands import evaluate
from coatseg.commands.evaluate import evaluate_checkpoint, read_arguments
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.errors import CheckpointError, ConfigError, RunExistsError, WeightsError
from coatseg.models.backbones.coat import create_backbone
from coatseg.training.callbacks.checkpoints import RECORD
from tests.conftest import TINY
from tests.data.objects import CATEGORIES, write_coco
from tests.models.weights.frameworks import mmdet_mask_rcnn, tensors_of, write_mmdet
from tests.results.checkpoints import write_checkpoint

Composed = Callable[..., dict[str, Any]]

WIDTH = 16
MODEL = ("backbone=coat_lite_tiny", "task=inst", "head=mask_rcnn", f"head.width={WIDTH}", f"head.mask_width={WIDTH}")
SMALL = ("data.workers=0", "data.evaluation_resize=[96,128]")


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    return write_released(tmp_path / "released.pth", len(CATEGORIES))


@pytest.fixture
def of_seven_classes(tmp_path: Path) -> Path:
    return write_released(tmp_path / "seven.pth", 7)


def write_released(path: Path, classes: int) -> Path:
    backbone = create_backbone("coat_lite_tiny")
    channels = tuple(level.channels for level in backbone.levels)
    return write_mmdet(path, tensors_of(mmdet_mask_rcnn(channels, classes, WIDTH), backbone.state_dict()))


def test_a_released_detector_is_scored_without_training(
    released: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_coco(tmp_path / "coco")
    typed = [f"weights={released}", *MODEL, "data=coco", f"data.root={root}", *SMALL, f"output={tmp_path}/scores"]
    evaluate_checkpoint(read_arguments(typed))
    printed = capsys.readouterr().out
    assert f"starts from {released}: " in printed
    assert "mask_rcnn on coat_lite_tiny, coco val" in printed
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert (scores["checkpoint"], scores["step"]) == (str(released), 0)
    assert (tmp_path / "scores" / "detections.json").exists()
    for name in ("report.md", "scores.json", "detections.json"):
        (tmp_path / "scores" / name).unlink()
    with pytest.raises(RunExistsError, match=r"scores has detections_boxes\.json already"):
        evaluate_checkpoint(read_arguments(typed))


def test_scoring_wants_every_tensor_and_one_thing_at_a_time(of_seven_classes: Path, tmp_path: Path) -> None:
    data = ["data=scenes", "data.size=[64,64]", "data.val_images=2", "data.workers=0"]
    with pytest.raises(WeightsError, match=r"of another shape: head\.regions\.box_predictor"):
        evaluate_checkpoint(read_arguments([f"weights={of_seven_classes}", *MODEL, *data]))
    with pytest.raises(ConfigError, match="checkpoint and weights are both given"):
        read_arguments([f"weights={of_seven_classes}", "checkpoint=x.ckpt"])
    with pytest.raises(ConfigError, match="experiment=coco is unknown"):
        read_arguments([f"weights={of_seven_classes}", "experiment=coco"])
    assert "weights=NAME_OR_PATH experiment=NAME" in evaluate.USAGE


def test_a_training_on_other_classes_starts_from_a_released_detector(
    composed: Composed, of_seven_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("data=scenes", "data.size=[64,64]", "data.train_images=4", "data.val_images=2", "data.batch_size=2")
    few = ("head.proposals=[50,20]", "head.regions=16", "data.workers=0", "trainer.max_steps=1", "optimizer.lr=1e-9")
    fit(composed(*MODEL, *data, *few, f"weights={of_seven_classes}", "name=mine"))
    printed = capsys.readouterr().out
    assert f"starts from {of_seven_classes}: " in printed
    assert "6 tensors are for another number of classes and start anew: head.regions.box_predictor" in printed
    assert "starts from random weights" not in printed


def test_a_training_starts_from_a_checkpoint_of_another_and_a_resumed_one_does_not(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(composed(*TINY, "name=first", "trainer.max_steps=1"))
    checkpoint = tmp_path / "runs" / "first" / "checkpoints" / "last.ckpt"
    capsys.readouterr()
    again = composed(*TINY, "name=second", f"weights={checkpoint}", "trainer.max_steps=1")
    fit(again)
    assert f"starts from {checkpoint}: " in capsys.readouterr().out
    fit({**again, "resume": "auto", "trainer": {**again["trainer"], "max_steps": 2}})
    printed = capsys.readouterr().out
    assert "going on from" in printed
    assert "starts from" not in printed


def test_weights_of_as_many_other_classes_are_told_and_not_scored(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.ckpt"
    write_checkpoint(other, composed(*TINY))
    content = torch.load(other, weights_only=True)
    facts = content[RECORD]["info"]
    facts["classes"] = ["lane", *facts["classes"][1:]]
    torch.save(content, other)
    fit(composed(*TINY, "name=mine", f"weights={other}", "trainer.max_steps=1"))
    assert "is of as many classes, and of others: lane, " in capsys.readouterr().out
    with pytest.raises(CheckpointError, match="of as many classes, and of others"):
        evaluate_checkpoint(read_arguments([f"weights={other}", *TINY]))
