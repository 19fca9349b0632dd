"""Every file that is shipped in conf/ composes and passes the check; what can be generated also runs."""

import itertools
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coatseg.build import TABLES, build_data, build_inference
from coatseg.check import check
from coatseg.commands.arguments import group_file
from coatseg.commands.console import say_repairs
from coatseg.commands.evaluate import evaluate_checkpoint, read_arguments
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.data.batching import collate
from coatseg.inference.inference import WHOLE
from tests.conftest import ROOT, TINY_SCENES
from tests.data.generate import write_camvid, write_folder, write_layers
from tests.data.objects import write_coco, write_coco_json, write_instance_masks, write_voc_boxes
from tests.data.official import write_ade20k, write_cityscapes, write_coco_panoptic, write_coco_stuff, write_voc

Composed = Callable[..., dict[str, Any]]

FILES = sorted(
    path.relative_to(ROOT / "conf") for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "experiment"
)
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SMALL = ("data.limit=4", "data.batch_size=2", "data.workers=0", "data.augmentations.crop.size=[64,64]")
SMALL_OBJECTS = ("data.limit=4", "data.batch_size=2", "data.workers=0")
DATA: dict[str, Callable[[Path], list[str]]] = {
    "scenes": lambda root: [*TINY_SCENES, "data.train_images=4", "data.batch_size=2"],
    "camvid": lambda root: [f"data.root={write_camvid(root)}", *SMALL],
    "folder": lambda root: [f"data.root={write_folder(root)}", "data.val_fraction=0.5", *SMALL],
    "ade20k": lambda root: [f"data.root={write_ade20k(root)}", *SMALL],
    "cityscapes": lambda root: [f"data.root={write_cityscapes(root)}", *SMALL],
    "voc": lambda root: [f"data.root={write_voc(root, augmented=1)}", "data.augmented=true", *SMALL],
    "coco_panoptic": lambda root: [f"data.root={write_coco_panoptic(root)}", *SMALL],
    "coco_stuff": lambda root: [f"data.root={write_coco_stuff(root)}", *SMALL],
    "coco": lambda root: [f"data.root={write_coco(root)}", *SMALL_OBJECTS],
    "coco_json": lambda root: [f"data.root={write_coco_json(root)}", "data.val_fraction=0.5", *SMALL_OBJECTS],
    "voc_boxes": lambda root: [f"data.root={write_voc_boxes(root)}", *SMALL_OBJECTS],
    "instance_masks": lambda root: [f"data.root={write_instance_masks(root)}", *SMALL_OBJECTS],
}
OBJECTS = ("coco", "coco_json", "voc_boxes", "instance_masks")
"""The datasets that have no labels of pixels."""


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_choice_of_every_group_composes_and_is_valid(composed: Composed, file: Path) -> None:
    check(composed(f"{file.parent.name}={file.stem}"))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_opens_with_its_command(composed: Composed, experiment: str) -> None:
    check(composed(f"experiment={experiment}"))
    opening = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text().splitlines()[:8]
    assert any(f"python train.py experiment={experiment}" in line for line in opening)
    assert any("batch" in line for line in opening)
    assert any("mIoU" in line for line in opening)


SEMANTIC_MEANS = frozenset({"mIoU", "mAcc", "aAcc"})


def run_evaluate_resume(
    composed: Composed, output: Path, *overrides: str, means: frozenset[str] = SEMANTIC_MEANS
) -> None:
    """Fit one step, evaluate the checkpoint on its own, go on for another step."""
    common = [*overrides, "name=small", "trainer.max_epochs=-1", "callbacks.checkpoints.every_steps=1"]
    scores = fit(composed(*common, "trainer.max_steps=1"))
    evaluate_checkpoint({"checkpoint": str(output / "runs" / "small" / "checkpoints" / "last.ckpt")})
    fit(composed(*common, "trainer.max_steps=2", "resume=auto"))
    assert set(scores.summary()) == means


@pytest.mark.parametrize(
    "data", sorted(path.stem for path in (ROOT / "conf" / "data").glob("*.yaml") if path.stem not in OBJECTS)
)
def test_every_dataset_runs(composed: Composed, tmp_path: Path, data: str) -> None:
    overrides = DATA[data](tmp_path / "data")
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", f"data={data}", *overrides)


@pytest.mark.parametrize("data", OBJECTS)
def test_every_dataset_of_objects_makes_batches(composed: Composed, tmp_path: Path, data: str) -> None:
    module = build_data(composed(f"data={data}", *DATA[data](tmp_path / "data")))
    module.verify(("train", "val"))
    train, val = module.split("train"), module.split("val")
    batch = collate([module.transform(train[index], 0) for index in range(2)], module.info, (False, False))
    assert [target.instances is not None for target in batch.targets] == [True, True]
    assert train.info == val.info == module.info
    assert "boxes" in module.info.annotates


def test_what_a_reader_mended_is_said(composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_coco_json(tmp_path / "mine")
    path = root / "annotations.json"
    path.write_text(path.read_text().replace('"bbox": [2, 3, 20, 20]', '"bbox": [2, 3, 0, 20]'))
    module = build_data(composed("data=coco_json", f"data.root={root}", "data.limit=1"))
    say_repairs(module, "train")
    assert capsys.readouterr().out == "mine train: 5 boxes without area left out (first: annotation 10)\n"


@pytest.mark.parametrize(
    "choice",
    [
        "loss=dice", "loss=cross_entropy", "schedule=cosine", "logger=none", "head=unet", "head=upernet",
        "optimizer=sgd", "schedule=multistep", "backbone.frozen_stages=4",
    ],
)  # fmt: skip
def test_every_other_choice_runs(composed: Composed, tmp_path: Path, choice: str) -> None:
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), choice)


EVERY_LOSS = [f"loss.{name}={{}}" for name in sorted(TABLES["loss"])]


def test_every_loss_runs(composed: Composed, tmp_path: Path) -> None:
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), *EVERY_LOSS)


LAYERS = ("data=folder", "task=multilabel", "data.layers=true", "data.val_fraction=0.5", *SMALL)


@pytest.mark.parametrize("classes", [("object",), ("red", "green", "blue")], ids=["binary", "multilabel"])
def test_layers_run(composed: Composed, tmp_path: Path, classes: tuple[str, ...]) -> None:
    root = write_layers(tmp_path / "data", classes)
    overrides = ("backbone=coat_lite_tiny", f"data.root={root}", *LAYERS, *EVERY_LOSS, "task.threshold=0.4")
    run_evaluate_resume(composed, tmp_path, *overrides, "inference=flip", means=frozenset({"mIoU", "mDice"}))
    run = tmp_path / "runs" / "small"
    assert "| class | IoU | Dice | precision | recall |" in (run / "report.md").read_text()
    assert {"scores.png", "worst.png"} <= {path.name for path in (run / "pictures").iterdir()}
    assert list((run / "pictures").glob("step_*.png"))


def test_an_auxiliary_head_runs(composed: Composed, tmp_path: Path) -> None:
    auxiliary = ("auxiliary.name=upernet", "auxiliary.width=16", "auxiliary.weight=0.2")
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), *auxiliary)


def test_class_balanced_sampling_runs(composed: Composed, tmp_path: Path) -> None:
    balanced = ("data.rare_class_temperature=0.1", "data.augmentations.crop.size=[32,32]")
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), *balanced)


INFERENCE = {"windows": ["inference.window=[48,40]"], "flip": [], "tta": ["inference.scales=[0.5,1.0]"]}


@pytest.mark.parametrize("choice", INFERENCE)
def test_every_way_to_infer_runs(composed: Composed, tmp_path: Path, choice: str) -> None:
    chosen = [f"inference={choice}", *INFERENCE[choice]]
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), *chosen)


def test_another_way_to_infer_may_evaluate_and_go_on(composed: Composed, tmp_path: Path) -> None:
    common = ["backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), "name=small", "trainer.max_epochs=-1"]
    assert "mBIoU" not in fit(composed(*common, "trainer.max_steps=1")).summary()
    checkpoint = tmp_path / "runs" / "small" / "checkpoints" / "last.ckpt"
    typed = {
        "plain": [],
        "asked": ["inference.window=[48,40]", "inference.overlap=0.5", "task.boundary_iou=0.05", "worst=2"],
        "file": ["inference=flip", "inference.scales=[1.0,0.5]", "worst=0"],
    }
    reports = {}
    for name, arguments in typed.items():
        evaluate_checkpoint(read_arguments([f"checkpoint={checkpoint}", f"output={tmp_path}/{name}", *arguments]))
        reports[name] = (tmp_path / name / "report.md").read_text()
    assert "inference: whole images\n" in reports["plain"]
    assert "inference: windows of 48x40 that overlap by 0.5\n" in reports["asked"]
    assert "inference: whole images, scales 1, 0.5, mirrored too\n" in reports["file"]
    assert ["boundary IoU" in report for report in reports.values()] == [False, True, False]
    assert [report.count(". `val_") for report in reports.values()] == [3, 2, 0]
    scores = fit(composed(*common, "trainer.max_steps=2", "resume=auto", "inference=flip", "task.boundary_iou=true"))
    assert "mBIoU" in scores.summary()


def test_a_checkpoint_from_before_there_was_a_choice_infers_whole_images(composed: Composed, tmp_path: Path) -> None:
    config = composed("backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), "name=old", "trainer.max_steps=1")
    del config["inference"]
    fit(config)
    checkpoint = tmp_path / "runs" / "old" / "checkpoints" / "last.ckpt"
    evaluate_checkpoint(read_arguments([f"checkpoint={checkpoint}", f"output={tmp_path}/scores"]))
    assert "inference: whole images\n" in (tmp_path / "scores" / "report.md").read_text()


def test_the_file_that_names_every_option_states_the_defaults() -> None:
    whole = build_inference(group_file("inference", "whole"))
    assert replace(whole, overlap=WHOLE.overlap) == WHOLE
    assert whole.overlap == pytest.approx(WHOLE.overlap, abs=1e-3)


def test_a_head_that_leaves_levels_out_runs_and_says_what_is_not_trained(
    composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = ["backbone=coat_lite_tiny", "head=deeplabv3plus", "head.width=32", *DATA["scenes"](tmp_path)]
    run_evaluate_resume(composed, tmp_path, *overrides)
    assert "2.81 M of these parameters are not trained" in capsys.readouterr().out


def test_the_timm_backbone_runs(composed: Composed, tmp_path: Path) -> None:
    run_evaluate_resume(composed, tmp_path, "backbone=timm", "backbone.model=resnet18", *DATA["scenes"](tmp_path))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_runs_small(composed: Composed, tmp_path: Path, experiment: str) -> None:
    data = composed(f"experiment={experiment}")["data"]["name"]
    overrides = [*DATA[data](tmp_path / "data"), "data.evaluation_batch_size=1"]
    chosen = [override for override in overrides if not override.startswith("data=")]
    small = ("backbone.name=coat_lite_tiny", "backbone.pretrained=false", "schedule.warmup=0")
    ablates = experiment.startswith("ablation_")  # whose backbone is what they are about
    run_evaluate_resume(composed, tmp_path, f"experiment={experiment}", *chosen, *(() if ablates else small))


HEADS = sorted(path.stem for path in (ROOT / "conf" / "head").glob("*.yaml"))
BACKBONES = sorted(path.stem for path in (ROOT / "conf" / "backbone").glob("*.yaml") if path.stem != "timm")


@pytest.mark.sweep
@pytest.mark.parametrize(("backbone", "head"), list(itertools.product(BACKBONES, HEADS)))
def test_every_backbone_runs_under_every_head(composed: Composed, tmp_path: Path, backbone: str, head: str) -> None:
    fit(composed(f"backbone={backbone}", f"head={head}", *DATA["scenes"](tmp_path), "trainer.max_steps=1"))
    os.environ.pop(FOLDER_VARIABLE, None)
