"""What a command settles for its machine, and says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatseg.commands.evaluate import evaluate_checkpoint, read_arguments
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.commands.terminal import machine
from coatseg.config.read import read
from coatseg.errors import ConfigError
from coatseg.training.trainer import automatic_precision
from tests.conftest import TINY

Composed = Callable[..., dict[str, Any]]


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Count the calls of an allocator that keeps memory, and leave that of the tests alone."""
    calls: list[bool] = []

    def keep() -> bool:
        calls.append(True)
        return True

    monkeypatch.setattr(machine, "keep_memory", keep)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    return calls


def told(capsys: pytest.CaptureFixture[str], word: str) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if word in line]


def test_commands_keep_memory_and_say_so_once_unless_told_not_to(
    composed: Composed, tmp_path: Path, kept: list[bool], capsys: pytest.CaptureFixture[str]
) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1", "trainer.accelerator=cpu"))
    assert len(told(capsys, "keep_memory=false")) == 1
    arguments = [f"checkpoint={tmp_path}/runs/mine/checkpoints/last.ckpt", "trainer.accelerator=cpu"]
    evaluate_checkpoint(read_arguments(arguments))
    assert len(told(capsys, "keep_memory=false")) == 1
    assert len(kept) == 2
    evaluate_checkpoint(read_arguments([*arguments, "keep_memory=false"]))
    fit(composed(*TINY, "name=other", "trainer.max_steps=1", "trainer.accelerator=cpu", "keep_memory=false"))
    assert not told(capsys, "keep_memory=")
    assert len(kept) == 2


def test_memory_is_kept_where_the_cpu_computes(kept: list[bool], capsys: pytest.CaptureFixture[str]) -> None:
    machine.settle({"accelerator": "cuda"}, keep=True)
    assert not kept
    machine.settle({"accelerator": "cpu"}, keep=True)
    assert len(kept) == 1
    assert len(told(capsys, "memory")) == 1


def test_nothing_is_said_where_the_allocator_cannot_keep(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "keep_memory", lambda: False)
    machine.settle({"accelerator": "cpu"}, keep=True)
    assert not told(capsys, "memory")


def test_the_automatic_precision_is_said_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    machine.settle({"accelerator": "cpu", "precision": "auto"}, keep=False)
    machine.settle({"accelerator": "cpu", "precision": "32-true"}, keep=False)  # which was asked for, and is known
    chosen = automatic_precision("cpu")
    assert told(capsys, "precision") == [f"precision: {chosen.name}, as {chosen.reason}"]


def test_the_option_may_be_left_out_and_is_a_switch(composed: Composed) -> None:
    config = composed(*TINY)
    read({key: value for key, value in config.items() if key != "keep_memory"})
    with pytest.raises(ConfigError, match="keep_memory=often does not fit"):
        read({**config, "keep_memory": "often"})
