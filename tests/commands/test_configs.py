"""Every file that is shipped in conf/ composes and passes the check; what can be generated also runs."""

import csv
import itertools
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from coatseg.commands.evaluate import evaluate_checkpoint, read_arguments
from coatseg.commands.fit import FOLDER_VARIABLE, fit, introduce
from coatseg.commands.terminal.arguments import group_file
from coatseg.commands.terminal.console import say_repairs
from coatseg.config.build import build
from coatseg.config.combinations import gives, task_for
from coatseg.config.data import build_data
from coatseg.config.read import read, read_inference
from coatseg.config.sections import named
from coatseg.errors import ConfigError, DatasetError
from coatseg.registry.names import make, table
from coatseg.tasks.inference.options import WHOLE
from tests.conftest import ROOT, TINY_SCENES
from tests.data.formats import write_geojson, write_kaggle_rle, write_labelme, write_yolo
from tests.data.generate import write_camvid, write_folder, write_layers
from tests.data.objects import write_coco, write_coco_json, write_instance_masks, write_voc_boxes
from tests.data.official import (
    write_ade20k,
    write_ade20k_instances,
    write_cityscapes,
    write_cityscapes_instances,
    write_coco_panoptic,
    write_coco_stuff,
    write_panoptic_json,
    write_voc,
)
from tests.results.checkpoints import SEGMENTS, SMALL_PANOPTIC

Composed = Callable[..., dict[str, Any]]

FILES = sorted(
    path.relative_to(ROOT / "conf") for path in (ROOT / "conf").glob("*/*.yaml") if path.parent.name != "experiment"
)
METRICS = {
    "ablation": "mIoU", "ade20k": "mIoU", "camvid": "mIoU", "cityscapes": "mIoU", "coco_panoptic": "PQ",
    "coco": "box AP", "bccd": "box AP50",
    "nuclei": "mask AP50", "scenes": "PQ",
}  # fmt: skip
"""What the experiments, by the beginnings of their names, are judged by."""
EXPERIMENTS = sorted(path.stem for path in (ROOT / "conf" / "experiment").glob("*.yaml"))
SMALL = ("data.limit=4", "data.batch_size=2", "data.workers=0", "data.augmentations.crop.size=[64,64]")
SMALL_OBJECTS = ("data.limit=4", "data.batch_size=2", "data.workers=0")
SMALL_SIDES = ("data.evaluation_resize=[80,120]", "data.augmentations.resize={short:[48,64],long:96}")
DATA: dict[str, Callable[[Path], list[str]]] = {
    "scenes": lambda root: [*TINY_SCENES, "data.train_images=4", "data.batch_size=2"],
    "camvid": lambda root: [f"data.root={write_camvid(root)}", *SMALL],
    "folder": lambda root: [f"data.root={write_folder(root)}", "data.val_fraction=0.5", *SMALL],
    "hub": lambda root: [*table_of_masks(root), *SMALL_OBJECTS],
    "ade20k": lambda root: [f"data.root={write_ade20k(root)}", *SMALL],
    "cityscapes": lambda root: [f"data.root={write_cityscapes(root)}", *SMALL],
    "voc": lambda root: [f"data.root={write_voc(root, augmented=1)}", "data.augmented=true", *SMALL],
    "coco_panoptic": lambda root: [f"data.root={write_coco_panoptic(root)}", *SMALL],
    "panoptic_json": lambda root: [f"data.root={write_panoptic_json(root, count=12)}", "data.val_fraction=0.5", *SMALL],
    "coco_stuff": lambda root: [f"data.root={write_coco_stuff(root)}", *SMALL],
    "scenes_objects": lambda root: list(OBJECT_SCENES),
    "coco": lambda root: [f"data.root={write_coco(root)}", *SMALL_OBJECTS, *SMALL_SIDES],
    "coco_json": lambda root: [f"data.root={write_coco_json(root, count=12)}", "data.val_fraction=0.5", *SMALL_OBJECTS],
    "voc_boxes": lambda root: [f"data.root={write_voc_boxes(root)}", *SMALL_OBJECTS],
    "instance_masks": lambda root: [f"data.root={write_instance_masks(root)}", *SMALL_OBJECTS],
    "yolo": lambda root: [f"data.root={write_yolo(root)}", *SMALL_OBJECTS],
    "labelme": lambda root: [f"data.root={write_labelme(root)}", *SMALL_OBJECTS],
    "geojson": lambda root: [f"data.root={write_geojson(root)}", *SMALL_OBJECTS],
    "kaggle_rle": lambda root: [f"data.root={write_kaggle_rle(root)}", "data.val_fraction=0.5", *SMALL_OBJECTS],
}


def table_of_masks(root: Path) -> list[str]:
    from tests.data.tables import CLASSES, save_masks  # importing its library takes a second

    return [f"data.root={save_masks(root)}", "data.mask_column=annotation", f"data.classes=[{','.join(CLASSES)}]"]


OBJECT_SCENES = ("data.size=[64,64]", "data.train_images=4", "data.val_images=3", "data.batch_size=2")
OBJECTS = ("coco", "coco_json", "voc_boxes", "instance_masks", "yolo", "labelme", "geojson", "kaggle_rle")
"""The datasets that have no labels of pixels."""


@pytest.fixture(autouse=True)
def fresh_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_choice_of_every_group_composes_and_is_valid(composed: Composed, file: Path) -> None:
    task = task_for(gives(made_by(file))) if file.parent.name == "head" else None
    read(composed(*([] if task is None else [f"task={task}"]), f"{file.parent.name}={file.stem}"))


def made_by(file: Path) -> str:
    """The name of the head that a file chooses."""
    return str(yaml.safe_load((ROOT / "conf" / file).read_text())["name"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("task=det", "head=fpn"), "head=fpn gives logits; the task detection takes boxes"),
        (("task=det", "head=mask_rcnn"), "head=mask_rcnn gives masks; the task detection takes boxes"),
        (("task=inst", "head=fcos"), "head=fcos gives boxes; the task instance takes masks"),
        (("task=seg", "head=fcos"), "head=fcos gives boxes; the task semantic takes logits"),
        (("task=det", "loss=dice"), "loss.dice: head=faster_rcnn brings losses of its own"),
        (("task=det", "auxiliary=fcn"), "auxiliary: the task detection has no use for a second head"),
        (("task=det", "inference=flip"), "head=faster_rcnn sees whole images, once"),
        (("task=seg", "~loss"), "loss names no loss"),
        (("task=seg", "head=mask2former", "loss=dice"), "loss.dice: head=mask2former brings losses of its own"),
        (("task=seg", "head=mask2former", "loss.focal={}"), "head=mask2former brings losses of its own"),
        (("task=seg", "head=maskformer", "auxiliary=fcn"), "head=maskformer, which has losses of its own, has no use"),
        (("task=multilabel", "head=mask2former"), "gives every pixel one class"),
        (
            ("task=det", "head=mask2former"),
            "head=mask2former gives logits, masks, segments; the task detection",
        ),
        (("task=panoptic", "head=mask2former", "inference=flip"), "head=mask2former sees whole images, once"),
        (("task=det", "data.rare_class_temperature=0.1"), "data.rare_class_temperature counts the pixels of classes"),
        (("task=inst", "data.rare_class_temperature=0.1"), "data.rare_class_temperature counts the pixels of classes"),
    ],
)
def test_what_does_not_fit_together_is_refused(composed: Composed, overrides: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        read(composed(*overrides))


def test_every_example_of_the_help_composes_and_each_kind_of_task_has_one(composed: Composed) -> None:
    footer = yaml.safe_load((ROOT / "conf" / "train.yaml").read_text())["hydra"]["help"]["footer"]
    examples = [line.split()[2:] for line in footer.splitlines() if "python train.py" in line]
    for overrides in examples:
        read(composed(*overrides))
    assert {"task=seg", "task=det", "task=inst", "task=panoptic"} <= set(itertools.chain(*examples))


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_opens_with_its_command(composed: Composed, experiment: str) -> None:
    read(composed(f"experiment={experiment}"))
    opening = (ROOT / "conf" / "experiment" / f"{experiment}.yaml").read_text().splitlines()[:8]
    assert any(f"python train.py experiment={experiment}" in line for line in opening)
    assert any("batch" in line for line in opening)
    metric = next(name for dataset, name in METRICS.items() if experiment.startswith(dataset))
    assert any(metric in line for line in opening)


SEMANTIC_MEANS = frozenset({"mIoU", "mAcc", "aAcc"})
SEGMENT_MEANS = frozenset(f"{name}{group}" for name in ("PQ", "SQ", "RQ") for group in ("", "_things", "_stuff"))
INSTANCE_MEANS = frozenset(
    f"{kind}_{name}" for kind in ("box", "mask") for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
)


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


AVERAGE_PRECISIONS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR")
BOX_MEANS = frozenset(f"box_{name}" for name in AVERAGE_PRECISIONS)
MASK_MEANS = BOX_MEANS | {f"mask_{name}" for name in AVERAGE_PRECISIONS}
NARROW = {
    **dict.fromkeys(("retinanet", "fcos"), ("head.width=16",)),
    **dict.fromkeys(("faster_rcnn", "cascade_rcnn"), ("head.width=16", "head.proposals=[60,40]", "head.regions=16")),
}
"""What makes a detector small."""
NARROW |= dict.fromkeys(
    ("mask2former", "maskformer"), ("head.width=32", "head.queries=12", "head.decoder_layers=2", "head.points=200")
)
NARROW |= dict.fromkeys(("mask_rcnn", "cascade_mask_rcnn"), (*NARROW["faster_rcnn"], "head.mask_width=8"))
NARROW["deformable_detr"] = (
    "head.width=32", "head.encoder_layers=1", "head.decoder_layers=2", "head.queries=20", "head.feedforward=32",
)  # fmt: skip
NARROW["rtdetr"] = (
    "head.width=32", "head.feedforward=32", "head.decoder_layers=2", "head.queries=20", "head.denoising=5",
)  # fmt: skip
NARROW["panoptic_deeplab"] = ("head.width=16", "head.instance_width=16")


def detection(task: str, head: str, *overrides: str) -> tuple[str, ...]:
    """What a small run of a detector is typed with."""
    return ("backbone=coat_lite_tiny", f"task={task}", f"head={head}", *NARROW[head], *overrides)


@pytest.mark.parametrize("data", OBJECTS)
def test_every_dataset_of_objects_runs(composed: Composed, tmp_path: Path, data: str) -> None:
    task, head, means = ("det", "faster_rcnn", BOX_MEANS) if data == "voc_boxes" else ("inst", "mask_rcnn", MASK_MEANS)
    overrides = detection(task, head, f"data={data}", *DATA[data](tmp_path / "data"))
    run_evaluate_resume(composed, tmp_path, *overrides, means=means)


def test_windows_of_objects_run(composed: Composed, tmp_path: Path) -> None:
    overrides = ("data=geojson", *DATA["geojson"](tmp_path / "data"), "data.window=[32,40]")
    run_evaluate_resume(composed, tmp_path, *detection("inst", "mask_rcnn", *overrides), means=MASK_MEANS)


def test_label_maps_painted_of_objects_run(composed: Composed, tmp_path: Path) -> None:
    overrides = ("backbone=coat_lite_tiny", "data=labelme", "data.semantic=true", *DATA["labelme"](tmp_path / "data"))
    assert set(fit(composed(*overrides, "trainer.max_epochs=-1", "trainer.max_steps=1")).summary()) == SEMANTIC_MEANS


SEGMENT_DATA: dict[str, Callable[[Path], list[str]]] = {
    "panoptic_json": DATA["panoptic_json"],
    "coco_panoptic": DATA["coco_panoptic"],
    "ade20k": lambda root: [f"data.root={write_ade20k_instances(root)}", "data.panoptic=true", *SMALL],
    "cityscapes": lambda root: [f"data.root={write_cityscapes_instances(root)}", "data.panoptic=true", *SMALL],
}
"""The datasets of segments and how a small one is typed."""


@pytest.mark.parametrize(
    "data", [name if name == "panoptic_json" else pytest.param(name, marks=pytest.mark.sweep) for name in SEGMENT_DATA]
)
def test_every_dataset_of_segments_runs(composed: Composed, tmp_path: Path, data: str) -> None:
    overrides = (*SMALL_PANOPTIC, f"data={data}", *SEGMENT_DATA[data](tmp_path / "data"))
    run_evaluate_resume(composed, tmp_path, *overrides, means=SEGMENT_MEANS)


def test_segments_run(composed: Composed, tmp_path: Path) -> None:
    resized = ("data.evaluation_resize=[80,120]", "data.augmentations.resize={short:[48,64],long:96}")
    overrides = (*SEGMENTS, *OBJECT_SCENES, "callbacks.ema={}", *resized)
    run_evaluate_resume(composed, tmp_path, *overrides, means=SEGMENT_MEANS)
    run = tmp_path / "runs" / "small"
    assert "things PQ" in (run / "report.md").read_text()
    assert {"scores.png", "curves.png", "worst.png"} <= {path.name for path in (run / "pictures").iterdir()}
    assert list((run / "pictures").glob("step_*.png"))
    with (run / "metrics.csv").open(newline="") as file:
        assert "val/PQ" in next(csv.reader(file))


MEANS_OF_TASK = {"seg": SEMANTIC_MEANS, "inst": MASK_MEANS, "panoptic": SEGMENT_MEANS}
QUICK = {("seg", "mask2former"), ("panoptic", "mask2former")}


@pytest.mark.parametrize(
    ("task", "head"),
    [
        pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.sweep)
        for pair in itertools.product(MEANS_OF_TASK, ("mask2former", "maskformer"))
    ],
)
def test_a_head_of_masks_runs_for_every_task_and_needs_no_loss_typed(
    composed: Composed, tmp_path: Path, task: str, head: str
) -> None:
    data = TINY_SCENES if task == "seg" else OBJECT_SCENES
    overrides = ("backbone=coat_lite_tiny", f"task={task}", f"head={head}", *data, *NARROW[head])
    run_evaluate_resume(composed, tmp_path, *overrides, means=MEANS_OF_TASK[task])


@pytest.mark.parametrize("head", [head for head in NARROW if not {"logits", "segments"} & gives(head)])
def test_every_detector_runs(composed: Composed, tmp_path: Path, head: str) -> None:
    task, means = ("inst", MASK_MEANS) if "mask" in head else ("det", BOX_MEANS)
    ema = ("callbacks.ema={}", "data.evaluation_resize=[80,120]", "data.augmentations.resize={short:[48,64],long:96}")
    run_evaluate_resume(composed, tmp_path, *detection(task, head, *OBJECT_SCENES, *ema), means=means)
    run = tmp_path / "runs" / "small"
    assert "box AP" in (run / "report.md").read_text()
    assert {"scores.png", "curves.png"} <= {path.name for path in (run / "pictures").iterdir()}
    assert list((run / "pictures").glob("step_*.png"))


def test_the_default_detectors_of_both_tasks_run(composed: Composed, tmp_path: Path) -> None:
    for task, means in (("det", BOX_MEANS), ("inst", MASK_MEANS)):
        few = ("head.proposals=[60,40]", "head.regions=16", f"output={tmp_path / task}")
        overrides = (f"task={task}", *OBJECT_SCENES, *few)
        scores = fit(composed("backbone=coat_lite_tiny", *overrides, "trainer.max_epochs=-1", "trainer.max_steps=1"))
        assert set(scores.summary()) == means


def test_files_of_each_split_can_be_typed(composed: Composed, tmp_path: Path) -> None:
    annotations = "{train: annotations/instances_train2017.json, val: annotations/instances_val2017.json}"
    typed = [f"data.annotations={annotations}", "data.images={train: train2017, val: val2017}"]
    config = composed("data=coco_json", f"data.root={write_coco(tmp_path / 'data')}", *typed)
    read(config)
    assert build_data(read(config)).split("val")[0].id == "101"


def test_what_a_reader_mended_is_said(composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_coco_json(tmp_path / "mine")
    path = root / "annotations.json"
    path.write_text(path.read_text().replace('"bbox": [2, 3, 20, 20]', '"bbox": [2, 3, 0, 20]'))
    module = build_data(read(composed("data=coco_json", f"data.root={root}", "data.limit=1")))
    say_repairs(module, "train")
    say_repairs(module, "val")
    assert capsys.readouterr().out == (
        "mine train: 2 boxes without area taken from the mask (first: annotation 30)\n"
        "mine val: 3 boxes without area taken from the mask (first: annotation 10)\n"
    )


@pytest.mark.parametrize(("change", "lacks"), [("none", False), ("one", False), ("all", True), ("empty", True)])
def test_it_is_known_when_no_object_is_left_to_learn(
    composed: Composed, tmp_path: Path, change: str, lacks: bool
) -> None:
    root = write_coco_json(tmp_path / "mine")
    path = root / "annotations.json"
    content = json.loads(path.read_text())
    changed = {"none": 0, "one": 1}.get(change, len(content["annotations"]))
    for annotation in content["annotations"][:changed]:
        annotation["iscrowd"] = 1
    content["annotations"] = [] if change == "empty" else content["annotations"]
    path.write_text(json.dumps(content))
    overrides = detection("det", "faster_rcnn", "data=coco_json", f"data.root={root}", *SMALL_OBJECTS)
    assert build_data(read(composed(*overrides))).lacks_objects("train") is lacks
    assert build_data(read(composed(*overrides, "data.limit=2"))).lacks_objects("train") is lacks


def test_a_training_without_an_object_stops(composed: Composed, tmp_path: Path) -> None:
    root = write_voc_boxes(tmp_path / "data")
    for path in root.rglob("*.xml"):
        path.write_text(path.read_text().replace("<difficult>0<", "<difficult>1<"))
    typed = detection("det", "faster_rcnn", "data=voc_boxes", f"data.root={root}", *SMALL_OBJECTS)
    plan = read(composed(*typed))
    with pytest.raises(DatasetError, match="VOC2007 train: no image has an object to learn") as raised:
        introduce(plan, build(plan), None)
    assert "data.crowd=objects" in raised.value.mend


def test_a_task_that_needs_all_masks_says_which_object_has_none(composed: Composed, tmp_path: Path) -> None:
    root = write_coco_json(tmp_path / "mine")
    path = root / "annotations.json"
    content = json.loads(path.read_text())
    del content["annotations"][0]["segmentation"]
    path.write_text(json.dumps(content))
    overrides = detection("inst", "mask_rcnn", "data=coco_json", f"data.root={root}", *SMALL_OBJECTS)
    said = r"needs instances labels; data=mine has boxes. Its reader found 1 object without a mask, .*annotation 10"
    with pytest.raises(ConfigError, match=said):
        build(read(composed("backbone=coat_lite_tiny", *overrides)))


@pytest.mark.parametrize(
    "choice",
    [
        "loss=dice", "loss=cross_entropy", "schedule=cosine", "logger=none", "head=unet", "head=upernet",
        "optimizer=sgd", "schedule=multistep", "backbone.frozen_stages=4",
    ],
)  # fmt: skip
def test_every_other_choice_runs(composed: Composed, tmp_path: Path, choice: str) -> None:
    run_evaluate_resume(composed, tmp_path, "backbone=coat_lite_tiny", *DATA["scenes"](tmp_path), choice)


EVERY_LOSS = [f"loss.{name}={{}}" for name in sorted(table("loss"))]


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
    whole = read_inference(group_file("inference", "whole"))
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


COCO = [
    "data.evaluation_resize=[64,96]", "data.augmentations.resize_or_crop.short=[64,80]",
    "data.augmentations.resize_or_crop.crop=[40,60]", "data.augmentations.resize_or_crop.crop_short=[48,64]",
    "head.width=16", "head.proposals=[50,20]", "head.regions=16", "backbone.name=coat_lite_tiny",
    "backbone.pretrained=false", "schedule.warmup=0",
]  # fmt: skip
"""What makes the recipes of COCO small; without their backbones, those of a head are one."""


@pytest.mark.parametrize("experiment", ["coco_mask_rcnn_coat_mini_1x", "coco_cascade_mask_rcnn_coat_small_3x"])
def test_the_recipes_of_coco_run_small(composed: Composed, tmp_path: Path, experiment: str) -> None:
    overrides = [f"experiment={experiment}", *DATA["coco"](tmp_path / "data"), *COCO]
    assert set(fit(composed(*overrides, "trainer.max_steps=1")).summary()) == INSTANCE_MEANS


def test_the_recipes_of_coco_are_the_authors(composed: Composed) -> None:
    config = composed("experiment=coco_cascade_mask_rcnn_coat_small_3x")
    assert config["head"] == {
        "name": "cascade_mask_rcnn", "box_head": "conv", "box_norm": "batch", "box_loss": "giou",
    }  # fmt: skip
    assert config["backbone"] == {"name": "coat_small", "pretrained": True, "drop_path": 0.2}
    assert config["optimizer"] == {"name": "adamw", "lr": 1e-4, "weight_decay": 0.05, "decay_all": True}
    epoch = 7330
    factor = make("schedule", *named(config["schedule"], "schedule"), "schedule", total=36 * epoch, epoch=epoch)
    assert [factor(step * epoch) for step in (26, 27, 33)] == pytest.approx([1, 0.1, 0.01])
    assert [factor(step * epoch - 1) for step in (27, 33)] == pytest.approx([1, 0.1])
    assert factor(0) == pytest.approx(0.002)
    assert factor(499) == 1
    small = composed("experiment=coco_mask_rcnn_coat_lite_mini_1x")
    assert small["backbone"] == {"name": "coat_lite_mini", "pretrained": True}
    assert small["trainer"]["max_epochs"] == 12
    assert "sync_batchnorm" not in small["trainer"]


def test_the_recipe_of_deformable_detr_is_the_authors(composed: Composed) -> None:
    config = composed("experiment=coco_deformable_detr_coat_small")
    assert config["head"] == {"name": "deformable_detr"}
    assert config["backbone"] == {"name": "coat_small", "pretrained": True, "drop_path": 0.2}
    assert config["optimizer"] == {
        "name": "adamw", "lr": 2e-4, "backbone_rate": 0.1, "weight_decay": 1e-4, "decay_all": True,
    }  # fmt: skip
    assert (config["data"]["batch_size"], config["trainer"]["max_epochs"]) == (16, 50)
    assert config["trainer"]["gradient_clip_val"] == 0.1
    factor = make("schedule", *named(config["schedule"], "schedule"), "schedule", total=50 * 7392, epoch=7392)
    assert [factor(0), factor(40 * 7392 - 1), factor(40 * 7392)] == pytest.approx([1, 1, 0.1])


@pytest.mark.parametrize("experiment", [name for name in EXPERIMENTS if not name.startswith("coco_")])
def test_every_experiment_runs_small(composed: Composed, tmp_path: Path, experiment: str) -> None:
    plain = composed(f"experiment={experiment}")
    overrides = [*DATA[plain["data"]["name"]](tmp_path / "data"), "data.evaluation_batch_size=1"]
    chosen = [override for override in overrides if not override.startswith("data=")]
    small = ("backbone.name=coat_lite_tiny", "backbone.pretrained=false", "schedule.warmup=0")
    ablates = experiment.startswith("ablation_")  # whose backbone is what they are about
    kinds = {"instance": MASK_MEANS, "detection": BOX_MEANS, "panoptic": SEGMENT_MEANS}
    means = kinds.get(plain["task"]["name"], SEMANTIC_MEANS)
    narrow = NARROW["mask2former"] if plain["head"]["name"] == "mask2former" else ()
    resized = ("data.evaluation_resize=[64,96]",) if "evaluation_resize" in plain["data"] else ()
    given = (*chosen, *(() if ablates else small), *narrow, *resized)
    run_evaluate_resume(composed, tmp_path, f"experiment={experiment}", *given, means=means)


HEADS = sorted(path.stem for path in (ROOT / "conf" / "head").glob("*.yaml"))
SMALL_HEADS = [head for head in HEADS if head.startswith("small_")]
BACKBONES = sorted(path.stem for path in (ROOT / "conf" / "backbone").glob("*.yaml") if path.stem != "timm")


@pytest.mark.sweep
@pytest.mark.parametrize(
    ("backbone", "head"),
    [
        *itertools.product(BACKBONES, [head for head in HEADS if head not in SMALL_HEADS]),
        *itertools.product(["coat_lite_tiny"], SMALL_HEADS),
    ],
)
def test_every_backbone_runs_under_every_head(composed: Composed, tmp_path: Path, backbone: str, head: str) -> None:
    made = made_by(Path("head") / f"{head}.yaml")
    task = task_for(gives(made))
    small = DATA["scenes"](tmp_path) if task == "seg" else (f"task={task}", *OBJECT_SCENES, *NARROW[made])
    fit(composed(f"backbone={backbone}", f"head={head}", *small, "trainer.max_steps=1"))
    os.environ.pop(FOLDER_VARIABLE, None)
