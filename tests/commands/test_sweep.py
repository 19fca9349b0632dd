import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from coatseg.commands import train
from coatseg.commands.fit import FOLDER_VARIABLE
from coatseg.commands.terminal.composition import open_nested_keys
from tests.conftest import TINY

SEARCH = ("-m", "hparams_search=optuna", *TINY, "trainer.max_steps=1", "trainer.log_every_n_steps=1")
RATES = "hydra.sweeper.params.optimizer.lr=choice(1e-9,0.003)"
DIVERGING = ("optimizer.lr=choice(1e30)", "trainer.gradient_clip_val=null", "trainer.max_steps=3")


def sweep(command: list[str], folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop(FOLDER_VARIABLE, None)
    return subprocess.run(
        [*command, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False
    )


def result(folder: Path, name: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "runs" / name / "scores.json").read_text())
    return told


def test_a_search_leaves_a_run_a_trial_and_names_the_best(command: list[str], tmp_path: Path) -> None:
    done = sweep(command, tmp_path, *SEARCH, RATES, "name=s", "hydra.sweeper.n_trials=2")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "runs").glob("optuna_*")
    best = yaml.safe_load((folder / "optimization_results.yaml").read_text())
    assert set(best["best_params"]) == {
        "++optimizer.lr", "++optimizer.weight_decay", "++backbone.drop_path"
    }  # fmt: skip
    scores = {name: result(tmp_path, name)["summary"]["mIoU"] for name in ("s-0", "s-1")}
    assert best["best_value"] == max(scores.values())
    configs = {name: yaml.safe_load((tmp_path / "runs" / name / "config.yaml").read_text()) for name in scores}
    winner = max(scores, key=lambda name: scores[name])
    assert configs[winner]["optimizer"]["weight_decay"] == best["best_params"]["++optimizer.weight_decay"]
    assert len({config["optimizer"]["weight_decay"] for config in configs.values()}) == 2
    assert "2 runs of the sweep, the best first" in done.stdout
    assert done.stdout.rindex(f"runs/{winner}") < done.stdout.rindex(f"runs/{({*scores} - {winner}).pop()}")
    assert "name=s-1" in (tmp_path / "runs" / "s-1" / "report.md").read_text()


def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str
) -> tuple[int, str, str]:
    """Type a command in a folder; give the exit code and what it prints."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    monkeypatch.setattr(logging, "raiseExceptions", False)  # Optuna keeps the stderr of the test that imported it
    capsys.readouterr()
    try:
        train.main()
        code = 0
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return code, printed.out, printed.err


def test_a_trial_that_fails_ends_the_search_by_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, error = typed(monkeypatch, capsys, tmp_path, *SEARCH, *DIVERGING, "name=s", "hydra.sweeper.n_trials=3")
    assert code == 2
    assert "error: Job 0 of the sweep (optimizer.lr=1e+30" in error
    assert "failed. The loss is" in error
    assert [path.name for path in sorted((tmp_path / "runs").glob("s-*"))] == ["s-0"]


def test_a_search_may_go_on_past_trials_that_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    patient = ("hydra.sweeper.max_failure_rate=1", "hydra.sweeper.n_trials=2")
    code, _, error = typed(monkeypatch, capsys, tmp_path, *SEARCH, *DIVERGING, *patient, "name=s")
    assert code == 2
    assert "Job 0 of the sweep" in error
    assert "Job 1 of the sweep" in error
    assert "error: No job of the sweep has a score." in error


def test_a_plain_sweep_runs_every_value_and_compares(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("-m", *TINY, "trainer.max_steps=1", "seed=0,1", "name=p")
    environment, command_line = dict(os.environ), ["train.py", *open_nested_keys(list(arguments))]
    code, out, _ = typed(monkeypatch, capsys, tmp_path, *arguments)
    assert code == 0
    assert "job 1 of the sweep: seed=1" in out
    assert "2 runs of the sweep, the best first" in out
    assert [yaml.safe_load((tmp_path / f"runs/p-{n}/config.yaml").read_text())["seed"] for n in (0, 1)] == [0, 1]
    assert sys.argv == command_line
    assert {name for name in os.environ if name not in environment} <= {"HYDRA_FULL_ERROR"}


def test_a_mistake_in_a_plain_sweep_is_named_with_its_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, _, error = typed(monkeypatch, capsys, tmp_path, "-m", *TINY, "optimizer.lr=-1,1", "name=p")
    assert code == 2
    assert error.startswith("error: Job 0 of the sweep (optimizer.lr=-1) failed. optimizer.lr=-1 does not fit.")
    assert len(error.strip().splitlines()) == 2


def test_a_missing_sweeper_is_named_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Plugins.instance()  # which fills the store
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["sweeper"], "optuna.yaml")
    code, _, error = typed(monkeypatch, capsys, tmp_path, "-m", "hparams_search=optuna")
    assert code == 2
    assert error == (
        'error: hparams_search=optuna needs Optuna\'s sweeper, which is not installed.\npip install "coatseg[sweep]"\n'
    )


def test_what_is_searched_is_typed_in_either_way() -> None:
    assert (
        open_nested_keys(["hydra.sweeper.params.optimizer.lr=interval(0,1)", "optimizer.lr=interval(0,1)"])
        == ["++optimizer.lr=interval(0,1)"] * 2
    )
    assert open_nested_keys(["hydra.sweeper.n_trials=3"]) == ["hydra.sweeper.n_trials=3"]


def test_a_pattern_that_matches_nothing_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ["train.py", "-m", "experiment=glob(nothing*)", f"output={tmp_path}"]
    monkeypatch.setattr(sys, "argv", typed)
    with pytest.raises(SystemExit) as exit_:
        train.main()
    assert exit_.value.code == 2
    assert "The sweep has no job" in capsys.readouterr().err
