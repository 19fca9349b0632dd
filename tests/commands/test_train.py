import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coatseg.commands.evaluate import evaluate_checkpoint
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.errors import CheckpointError, ConfigError, RunExistsError
from coatseg.metrics.confusion import SemanticScores
from tests.conftest import ROOT, TINY, TINY_SCENES
from tests.results.checkpoints import SEGMENTS

Composed = Callable[..., dict[str, Any]]

EXACT = ("trainer.max_epochs=1", "head.dropout=0", "trainer.precision=32-true")
"""What makes runs comparable whose batches are cut differently: no random masks, and little rounding."""


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


def weights(run: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    return state


def assert_same_weights(one: Path, other: Path) -> None:
    first, second = weights(one), weights(other)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert not different


def assert_near(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Rounding may flip the sign of a vanishing gradient, and Adam makes a whole step of it: compare whole tensors."""
    for name, value in one.items():
        difference = (value - other[name]).norm() / value.norm().clamp(min=1e-3)
        assert difference < 5e-3, (name, float(difference))


def test_a_run_leaves_all_that_it_promises(composed: Composed, tmp_path: Path) -> None:
    scores = fit(composed(*TINY, "name=mine", "trainer.max_epochs=2", "trainer.log_every_n_steps=1"))
    run = tmp_path / "runs" / "mine"
    files = {
        str(path.relative_to(run)) for path in run.rglob("*") if path.is_file() and "tensorboard" not in path.parts
    }
    assert files == {
        "config.yaml", "metrics.csv", "report.md", "scores.json",
        "checkpoints/last.ckpt", "checkpoints/previous.ckpt", "checkpoints/best.ckpt",
        "pictures/step_000004.png", "pictures/step_000008.png", "pictures/scores.png", "pictures/curves.png",
        "pictures/worst.png",
    }  # fmt: skip
    assert any((run / "tensorboard").iterdir())
    assert isinstance(scores, SemanticScores)
    assert f"mIoU {scores.mean_iou:.4f}" in (run / "report.md").read_text()
    assert "![curves](pictures/curves.png)" in (run / "report.md").read_text()
    told = json.loads((run / "scores.json").read_text())
    assert told["summary"] == scores.summary()
    assert (told["checkpoint"], told["steps"], told["batch_size"]) == ("checkpoints/best.ckpt", 8, 4)
    assert told["step"] in (4, 8)
    best = str(run / "checkpoints" / "best.ckpt")
    evaluate_checkpoint({"checkpoint": best, "output": str(tmp_path / "scores")})
    again = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert (again["checkpoint"], again["step"], again["split"]) == (best, told["step"], "val")
    assert again["classes"].keys() == told["classes"].keys()
    assert again["summary"]["mIoU"] == pytest.approx(scores.mean_iou, abs=1e-3)
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows if row["loss"]] == list(range(1, 9))
    validated = [float(row["val/mIoU"]) for row in rows if row["val/mIoU"]]
    assert max(validated) == pytest.approx(scores.mean_iou, abs=1e-6)


def test_checkpoints_hold_their_config_and_load_without_code(composed: Composed, tmp_path: Path) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    checkpoint = torch.load(tmp_path / "runs/mine/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["coatseg"]["config"]["backbone"]["name"] == "coat_lite_tiny"
    assert checkpoint["coatseg"]["info"]["classes"][0] == "sky"


STOPS = {"first epoch": 1, "before its end": 3, "at its end": 4, "second epoch": 6}
DROPPING = (*TINY, "head.dropout=0.2")
QUERIES = ("backbone=coat_lite_tiny", "head.width=32", "head.queries=12", "head.decoder_layers=2", *TINY_SCENES[1:])
QUERY_HEADS = {  # what draws points, noise or what to drop at random, and what makes it small
    "task=det head=small_deformable_detr": ("head.encoder_layers=1", "head.feedforward=32", "head.dropout=0.1"),
    "task=panoptic head=small_mask2former": ("head.encoder_layers=1", "head.points=200"),
    "task=inst head=small_maskformer": ("head.points=200",),
    "task=det head=small_rtdetr": ("head.feedforward=32", "head.denoising=5"),
}
RESUMED_QUERIES = [
    pytest.param((*head.split(), *QUERIES, *small), 3, marks=pytest.mark.sweep, id=head)
    for head, small in QUERY_HEADS.items()
]


@pytest.mark.parametrize(
    ("typed", "stop"),
    [
        *(pytest.param(DROPPING, step, id=stop) for stop, step in STOPS.items()),
        pytest.param((*SEGMENTS, "callbacks.ema={}"), 3, id="segments, with averaged weights"),
        *RESUMED_QUERIES,
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    composed: Composed, tmp_path: Path, typed: tuple[str, ...], stop: int
) -> None:
    steps = ("trainer.max_epochs=2", "backbone.drop_path=0.2", "callbacks.checkpoints.every_steps=1")
    fit(composed(*typed, *steps, "name=whole"))
    broken = composed(*typed, *steps, "name=broken")
    stopped = {**broken, "trainer": {**broken["trainer"], "max_steps": stop}, "schedule": broken["schedule"]}
    _fit_with_schedule_of(broken, stopped)
    fit({**broken, "resume": "auto"})
    assert_same_weights(tmp_path / "runs/whole", tmp_path / "runs/broken")


def test_where_validations_count_steps_alone_epoch_ends_are_steps_like_others(
    composed: Composed, tmp_path: Path
) -> None:
    counted = ("trainer.check_val_every_n_epoch=null", "trainer.val_check_interval=3", "trainer.max_epochs=-1")
    fit(composed(*TINY, *counted, "trainer.max_steps=5", "callbacks.checkpoints.every_steps=4", "name=counted"))
    run = tmp_path / "runs" / "counted" / "checkpoints"
    steps = {path.stem: torch.load(path, weights_only=True)["global_step"] for path in run.iterdir()}
    assert steps == {"best": 3, "previous": 4, "last": 5}


def test_checkpoints_come_at_epoch_ends_that_no_validation_follows(composed: Composed, tmp_path: Path) -> None:
    sparse = ("trainer.max_epochs=2", "trainer.check_val_every_n_epoch=2", "callbacks.checkpoints.every_steps=4")
    fit(composed(*TINY, *sparse, "name=whole"))
    steps = [
        torch.load(tmp_path / f"runs/whole/checkpoints/{name}.ckpt", weights_only=True)["global_step"]
        for name in ("previous", "last")
    ]
    assert steps == [4, 8]
    broken = composed(*TINY, *sparse, "name=broken")
    _fit_with_schedule_of(broken, {**broken, "trainer": {**broken["trainer"], "max_steps": 4}})
    fit({**broken, "resume": "auto"})
    assert_same_weights(tmp_path / "runs/whole", tmp_path / "runs/broken")


def _fit_with_schedule_of(whole: dict[str, Any], stopped: dict[str, Any]) -> None:
    """Stop early, but with the learning rates of the whole run, as a killed process would have had."""
    import coatseg.config.build as build_module

    original = build_module.total_steps
    build_module.total_steps = lambda trainer, steps: original(whole["trainer"], steps)
    try:
        fit(stopped)
    finally:
        build_module.total_steps = original


@pytest.mark.parametrize(
    ("stop", "every"), [({"max_steps": 2}, 1), ({"max_steps": 5}, 100), ({"max_epochs": 1}, 100)], ids=str
)
def test_a_stopped_run_with_an_average_goes_on_to_the_same_average_and_weights(
    composed: Composed, tmp_path: Path, stop: dict[str, int], every: int
) -> None:
    steps = ("trainer.max_epochs=2", "callbacks.ema={}", f"callbacks.checkpoints.every_steps={every}", "logger=none")
    rates = ("optimizer=sgd", "optimizer.layer_decay=0.8", "schedule=onecycle", "trainer.check_val_every_n_epoch=2")
    fit(composed(*TINY, *steps, *rates, "name=whole"))
    broken = composed(*TINY, *steps, *rates, "name=broken")
    _fit_with_schedule_of(broken, {**broken, "trainer": {**broken["trainer"], **stop}})
    fit({**broken, "resume": "auto"})
    one, other = last(tmp_path / "runs/whole"), last(tmp_path / "runs/broken")
    assert one["global_step"] == other["global_step"] == 8
    for key in ("state_dict", "current_model_state", "averaging_state"):
        assert all(torch.equal(value, other[key][name]) for name, value in one[key].items())
    raw = one["current_model_state"]
    assert not all(torch.equal(value, raw[name]) for name, value in one["state_dict"].items())


def last(run: Path) -> dict[str, Any]:
    return dict(torch.load(run / "checkpoints" / "last.ckpt", weights_only=True))


def test_the_average_is_what_is_validated_called_best_and_evaluated(composed: Composed, tmp_path: Path) -> None:
    options = (
        "name=mine",
        "trainer.max_epochs=3",
        "callbacks.ema.decay=0.5",
        "backbone=timm",
        "backbone.model=resnet18",
    )
    small = ("head.width=32", "head.pyramid_width=16", *TINY_SCENES)
    scores = fit(composed(*small, *options))
    assert isinstance(scores, SemanticScores)
    run = tmp_path / "runs/mine"
    with (run / "metrics.csv").open(newline="") as file:
        validated = [float(row["val/mIoU"]) for row in csv.DictReader(file) if row["val/mIoU"]]
    assert max(validated) == pytest.approx(scores.mean_iou, abs=1e-6)
    checkpoint = torch.load(run / "checkpoints/best.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 4 * (validated.index(max(validated)) + 1)
    statistic = "model.backbone.model.layer1.0.bn1.running_var"
    assert not torch.equal(checkpoint["current_model_state"][statistic], checkpoint["state_dict"][statistic])


def test_an_average_may_begin_at_a_resume_but_not_end_there(composed: Composed, tmp_path: Path) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    before = weights(tmp_path / "runs/mine")
    fit(composed(*TINY, "name=mine", "trainer.max_steps=2", "resume=auto", "callbacks.ema={}"))
    checkpoint = last(tmp_path / "runs/mine")
    assert checkpoint["averaging_state"]["n_averaged"] == 1
    average = weights(tmp_path / "runs/mine")
    assert all(torch.equal(value, checkpoint["current_model_state"][name]) for name, value in average.items())
    assert not all(torch.equal(value, before[name]) for name, value in average.items())
    for off in ((), ("callbacks.ema=null",)):
        with pytest.raises(CheckpointError, match=r"was trained with callbacks\.ema, which is off here"):
            fit(composed(*TINY, "name=mine", "trainer.max_steps=3", "resume=auto", *off))


def test_a_run_that_gets_no_better_stops_early_and_can_be_given_more_patience(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    still = ("optimizer.lr=1e-20", "trainer.max_epochs=4", "trainer.val_check_interval=2", "name=mine")
    fit(composed(*TINY, *still, "callbacks.early_stopping.patience=2"))
    out = capsys.readouterr().out
    assert "stopped at step 6: 2 validations in a row have not raised val/mIoU by more than 0 above" in out
    assert "evaluating the best checkpoint (step 2) on val" in out
    assert "- steps: 6 of 4 images" in (tmp_path / "runs/mine/report.md").read_text()
    fit(composed(*TINY, *still, "callbacks.early_stopping.patience=2", "resume=auto"))
    assert last(tmp_path / "runs/mine")["global_step"] == 6
    fit(composed(*TINY, *still, "callbacks.early_stopping.patience=3", "resume=auto"))
    assert last(tmp_path / "runs/mine")["global_step"] == 8


def test_the_logged_rate_is_the_base_rate(composed: Composed, tmp_path: Path) -> None:
    rates = ("optimizer.lr=0.001", "optimizer.layer_decay=0.5", "optimizer.backbone_rate=0.1", "schedule=constant")
    fit(composed(*TINY, "name=mine", "trainer.max_steps=3", "trainer.log_every_n_steps=1", "schedule.warmup=2", *rates))
    with (tmp_path / "runs/mine/metrics.csv").open(newline="") as file:
        assert [float(row["lr"]) for row in csv.DictReader(file) if row["lr"]] == pytest.approx([0.0005, 0.001, 0.001])


def test_a_run_that_is_resumed_for_longer_goes_by_its_new_schedule_at_once(composed: Composed, tmp_path: Path) -> None:
    options = (
        "name=mine",
        "optimizer.lr=0.001",
        "schedule.warmup=0",
        "schedule.power=1",
        "trainer.log_every_n_steps=1",
    )
    fit(composed(*TINY, *options, "trainer.max_steps=2"))
    fit(composed(*TINY, *options, "trainer.max_steps=4", "resume=auto"))
    with (tmp_path / "runs/mine/metrics.csv").open(newline="") as file:
        rates = [float(row["lr"]) for row in csv.DictReader(file) if row["lr"]]
    assert rates == pytest.approx([0.001, 0.0005, 0.0005, 0.00025])


def test_a_killed_process_goes_on_to_the_same_weights(command: list[str], tmp_path: Path) -> None:
    options = [
        *TINY,
        "trainer.max_epochs=3",
        "callbacks.checkpoints.every_steps=1",
        f"output={tmp_path}",
        "data.workers=1",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *options, "name=whole"], env=environment, check=True, capture_output=True)
    last = tmp_path / "broken" / "checkpoints" / "last.ckpt"
    process = subprocess.Popen(
        [*command, *options, "name=broken"], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not (last.exists() and last.with_name("previous.ckpt").exists()):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run([*command, *options, "name=broken", "resume=auto"], env=environment, check=True, capture_output=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "broken")


def test_a_damaged_last_checkpoint_falls_back_to_the_previous_one(composed: Composed, tmp_path: Path) -> None:
    config = composed(*TINY, "name=mine", "trainer.max_epochs=1", "callbacks.checkpoints.every_steps=3")
    fit(config)
    last = tmp_path / "runs/mine/checkpoints/last.ckpt"
    whole = weights(tmp_path / "runs/mine")
    cut = last.read_bytes()[:1000]
    last.unlink()  # best.ckpt may be the same file
    last.write_bytes(cut)
    previous = torch.load(last.with_name("previous.ckpt"), weights_only=True)
    assert previous["global_step"] == 3
    fit({**config, "resume": "auto"})
    assert all(torch.equal(value, whole[name]) for name, value in weights(tmp_path / "runs/mine").items())


def test_accumulation_trains_as_the_whole_batch_does(composed: Composed, tmp_path: Path) -> None:
    whole = composed(*TINY, *EXACT, "name=whole", "loss=cross_entropy_dice")
    fit(whole)
    fit({**whole, "name": "parts", "trainer": {**whole["trainer"], "accumulate_grad_batches": 2}})
    one, other = weights(tmp_path / "runs/whole"), weights(tmp_path / "runs/parts")
    assert_near(one, other)


def test_two_processes_train_and_score_as_one_does(command: list[str], tmp_path: Path) -> None:
    options = [*TINY, *EXACT, "trainer.accelerator=cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, processes in (("one", []), ("two", ["trainer.devices=2", "trainer.strategy=ddp"])):
        subprocess.run(
            [*command, *options, *processes, f"name={name}"],
            env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=200,
        )  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["one", "two"]
    one, two = weights(tmp_path / "runs/one"), weights(tmp_path / "runs/two")
    assert_near(one, two)
    reports = [(tmp_path / "runs" / name / "report.md").read_text() for name in ("one", "two")]
    pixels = [
        next(line for line in report.splitlines() if line.startswith("| road")).split("|")[4] for report in reports
    ]
    assert pixels[0] == pixels[1]
    assert one_evaluation(tmp_path, "devices=1") == one_evaluation(tmp_path, "devices=2", "strategy=ddp")


def one_evaluation(folder: Path, *trainer: str) -> list[str]:
    """The rows of the table that `coatseg evaluate` prints of a run's best checkpoint, and the worst images."""
    scores = folder / f"scores-{len(trainer)}"
    arguments = [f"checkpoint={folder}/runs/two/checkpoints/best.ckpt", *(f"trainer.{option}" for option in trainer)]
    arguments += ["task.boundary_iou=true", "worst=2", f"output={scores}"]
    code = f"import sys; sys.argv = ['coatseg', 'evaluate', *{arguments!r}]; from coatseg.commands import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=200
    )
    rows = [line for line in run.stdout.splitlines() if line.startswith("│")]
    assert len(rows) == 9
    worst = [line for line in (scores / "report.md").read_text().splitlines() if ". `val_" in line]
    assert len(worst) == 2
    return [*rows, *worst]


def test_a_batch_that_does_not_divide_is_refused(composed: Composed) -> None:
    config = composed(*TINY, "trainer.accumulate_grad_batches=3")
    with pytest.raises(ConfigError, match="does not divide"):
        fit(config)


def test_16_bit_runs_work(composed: Composed) -> None:
    fit(composed(*TINY, "name=bf16", "trainer.precision=bf16-mixed", "trainer.max_steps=2"))


def test_an_existing_run_is_never_overwritten(composed: Composed, tmp_path: Path) -> None:
    config = composed(*TINY, "name=mine", "trainer.max_steps=1")
    fit(config)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    with pytest.raises(RunExistsError, match="resume=auto"):
        fit(config)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before


def test_runs_without_a_name_get_new_ones(composed: Composed, tmp_path: Path) -> None:
    config = composed(*TINY, "trainer.max_steps=1")
    fit(config)
    os.environ.pop(FOLDER_VARIABLE)
    fit(config)
    names = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert names == ["scenes-fpn-coat_lite_tiny-1", "scenes-fpn-coat_lite_tiny-2"]


def test_resume_auto_begins_a_run_that_is_not_there_yet(composed: Composed, tmp_path: Path) -> None:
    fit(composed(*TINY, "name=mine", "resume=auto", "trainer.max_steps=1"))
    assert (tmp_path / "runs/mine/report.md").exists()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("backbone=coat_lite_mini", "backbone.name=coat_lite_tiny, not coat_lite_mini"),
        ("head.width=64", "head.width=32, not 64"),
        ("seed=3", "seed=0, not 3"),
        ("data.batch_size=2", "data.batch_size=4, not 2"),
        ("data.limit=8", "data.limit=None, not 8"),
        ("trainer.accumulate_grad_batches=2", "accumulate_grad_batches=1, not 2"),
    ],
)
def test_a_checkpoint_of_other_settings_is_not_resumed(composed: Composed, changed: str, message: str) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    with pytest.raises(CheckpointError, match=message):
        fit(composed(*TINY, "name=mine", "trainer.max_steps=2", "resume=auto", changed))


def test_another_run_is_not_resumed_into_an_existing_folder(composed: Composed, tmp_path: Path) -> None:
    for name in ("one", "two"):
        fit(composed(*TINY, f"name={name}", "trainer.max_steps=1"))
    checkpoint = tmp_path / "runs/one/checkpoints/last.ckpt"
    before = (tmp_path / "runs/two/config.yaml").read_bytes()
    with pytest.raises(RunExistsError):
        fit(composed(*TINY, "name=two", f"resume={checkpoint}", "trainer.max_steps=2"))
    assert (tmp_path / "runs/two/config.yaml").read_bytes() == before
    fit(composed(*TINY, "name=three", f"resume={checkpoint}", "trainer.max_steps=2"))
    assert torch.load(tmp_path / "runs/three/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2


def test_resume_auto_needs_a_name(composed: Composed) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    with pytest.raises(ConfigError, match="The newest run is name=mine"):
        fit(composed(*TINY, "resume=auto"))


def test_a_run_that_fails_before_training_leaves_no_folder(composed: Composed, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="devices"):
        fit(composed(*TINY, "name=mine", "trainer.devices=none"))
    assert not (tmp_path / "runs" / "mine").exists()


def test_a_loss_that_is_not_finite_stops_the_run(composed: Composed) -> None:
    from coatseg.errors import TrainingError

    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) at step"):
        fit(composed(*TINY, "optimizer.lr=1e30", "trainer.gradient_clip_val=null", "trainer.max_epochs=4"))


def test_help_is_quick_and_imports_nothing_heavy(command: list[str]) -> None:
    code = "import sys; sys.argv = ['train.py', '--help']; import runpy\n"
    code += f"try:\n runpy.run_path({str(ROOT / 'train.py')!r}, run_name='__main__')\nexcept SystemExit: pass\n"
    code += "print([name for name in ('torch', 'lightning', 'albumentations') if name in sys.modules])"
    out = subprocess.run([command[0], "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "coat_lite_medium_384" in out
    assert out.splitlines()[-1] == "[]"
