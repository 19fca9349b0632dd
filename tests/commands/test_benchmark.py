"""`coatseg benchmark`: it measures what it says; how long anything takes is not tested."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch

from coatseg import commands
from coatseg.commands.benchmark import benchmark, read_arguments
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.errors import ConfigError
from coatseg.system import measuring
from coatseg.system.measuring import Measured, measure
from coatseg.tasks import timed_passes
from coatseg.tasks.base import Task
from tests.conftest import TINY

Composed = Callable[..., dict[str, Any]]

FAST = (
    "batch_size=1",
    "repeats=2",
    "warm_up=1",
    "size=64",
    "precision=32-true",
    "accelerator=cpu",
    "keep_memory=false",
)
SMALL = ("backbone=coat_lite_tiny",)


def test_quantiles_are_of_the_repeats() -> None:
    measured = Measured(tuple(range(1, 12)), None)
    assert (measured.median, measured.p90) == (6, 10)
    assert Measured((2.0,), None).p90 == 2.0


def test_the_warm_up_is_not_under_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 10.0, 13.0])
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    calls: list[int] = []
    measured = measure(lambda: calls.append(1), repeats=2, warm_up=3, device=torch.device("cpu"))
    assert measured.seconds == (1.0, 3.0)
    assert len(calls) == 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems keep no account that can be read")
def test_the_peak_is_what_the_work_takes_above_what_is_loaded() -> None:
    loaded = np.ones(32 * 2**20, np.uint8)
    measured = measure(lambda: np.ones(64 * 2**20, np.uint8), repeats=1, warm_up=1, device=torch.device("cpu"))
    assert measured.peak is not None
    assert 60 < measured.peak / 2**20 < 80
    assert loaded.any()


def test_a_composition_is_measured_at_every_size_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "speed.json"
    arguments = [*SMALL, "head.width=32", *FAST, "size=[[64,64],[32,96]]", f"output={output}"]
    measured = benchmark(*read_arguments(arguments))
    written = json.loads(output.read_text())
    assert [row["size"] for row in written["sizes"]] == [[64, 64], [32, 96]]
    assert [tuple(row["seconds"]) for row in written["sizes"]] == [one.seconds for one in measured]
    assert (written["model"], written["work"]) == ("fpn on coat_lite_tiny, random weights", "forward pass")
    assert written["threads"] == torch.get_num_threads()
    assert "32x96" in capsys.readouterr().out


@pytest.mark.parametrize(
    "chosen",
    [
        ("train=true", "head.width=32"),
        ("train=true", "task=multilabel", "classes=3", "precision=bf16-mixed"),
        ("train=true", "head=small_mask_rcnn", "head.regions=8", "head.proposals=[20,20]", "classes=3"),
        ("head=small_faster_rcnn", "head.proposals=[20,20]", "channels=4"),
        ("train=true", "head=small_panoptic_deeplab", "classes=5"),
        ("head=small_panoptic_deeplab",),
    ],
    ids=" ".join,
)
def test_every_kind_of_model_is_measured(chosen: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    (measured,) = benchmark(*read_arguments([*SMALL, *FAST, *chosen]))
    assert len(measured.seconds) == 2
    printed = capsys.readouterr().out
    assert ("Training step" in printed) == ("train=true" in chosen)
    finds = any("rcnn" in word or "panoptic" in word for word in chosen)
    assert ("depends on how many objects" in printed) == (finds and "train=true" not in chosen)


def test_gradients_of_an_earlier_pass_are_not_part_of_the_loaded_model(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks: list[Task] = []
    held: list[bool] = []
    placed = timed_passes.placed

    def kept(task: Task, trainer: lightning.Trainer) -> torch.device:
        tasks.append(task)
        return placed(task, trainer)

    def measured(work: Callable[[], object], **options: object) -> Measured:
        held.append(any(parameter.grad is not None for parameter in tasks[0].parameters()))
        work()
        return Measured((1.0,), None)

    monkeypatch.setattr(timed_passes, "placed", kept)
    monkeypatch.setattr(timed_passes, "measure", measured)
    benchmark(*read_arguments([*SMALL, *FAST, "head.width=32", "train=true", "size=[[32,32],[64,64]]"]))
    assert held == [False, False]
    assert any(parameter.grad is not None for parameter in tasks[0].parameters())


def test_a_checkpoint_is_measured(
    composed: Composed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1", "trainer.accelerator=cpu", "keep_memory=false"))
    checkpoint = tmp_path / "runs" / "mine" / "checkpoints" / "last.ckpt"
    benchmark(*read_arguments([f"checkpoint={checkpoint}", *FAST]))
    assert "fpn on coat_lite_tiny" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="classes is the checkpoint's own"):
        benchmark(*read_arguments([f"checkpoint={checkpoint}", "classes=3"]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bakbone=coat_small"], "Did you mean backbone?"),
        (["backbone=coat_smal"], "Did you mean coat_small?"),
        (["head.widht=3"], "Did you mean width?"),
        (["head=mask_rcnn", "task=seg"], "the task semantic takes logits"),
        (["size=[512]"], "does not fit"),
        (["size=0"], "does not fit"),
        (["batch=0"], "batch=0 does not fit"),
        (["batch_size=0"], "batch_size=0 does not fit"),
        (["batch=1", "batch_size=1"], "Leave batch out"),
        (["train=maybe"], "train=maybe does not fit"),
        (["repeats=none"], "repeats=none does not fit"),
        (["checkpoint=x.ckpt", "head=fpn"], "another model than the checkpoint's"),
        (["backbone"], "not of the form KEY=VALUE"),
        (["precision=33", "backbone=coat_lite_tiny"], "trainer: "),
        (["output=."], "is a folder"),
        ([f"output={__file__}/speed.json", "backbone=unknown"], "is a file"),  # before there is a model
    ],
)
def test_a_wrong_command_line_leaves_with_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["coatseg", "benchmark", *arguments])
    with pytest.raises(SystemExit) as exit_:
        commands.main()
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) <= 2
