"""What people get wrong is answered with a line and its mend, exit code 2, and nothing half-written."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from coatseg import commands
from coatseg.commands import evaluate, train
from coatseg.commands.fit import FOLDER_VARIABLE, fit
from coatseg.scenes import Scenes
from coatseg.training.callbacks.checkpoints import RECORD
from tests.conftest import TINY, TINY_SCENES
from tests.data.generate import write_camvid, write_layers
from tests.data.objects import write_coco

Answer = Callable[..., str]


@pytest.fixture
def answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Answer:
    """Type a command, expect exit code 2, no traceback and no run folder, and give what stderr says."""

    def typed(*arguments: str, main: Callable[[], None] = train.main) -> str:
        before = set(tmp_path.rglob("*"))
        output = () if main is not train.main else (f"output={tmp_path}/runs",)
        monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
        monkeypatch.setattr(sys, "argv", ["train.py", *arguments, *output])
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 2
        left = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
        assert not left
        error = capsys.readouterr().err
        assert "Traceback" not in error
        assert error.startswith("error: ")
        assert len(error.strip().splitlines()) <= 2
        return error

    return typed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bakbone=coat_small"], "Did you mean backbone?"),
        (["backbone=coat_smal"], "Did you mean coat_small?"),
        (["task=segm"], "Did you mean seg?"),
        (["optimizer.lrr=0.1"], "Did you mean lr?"),
        (["+wrong.key=1"], "wrong is no key"),
        (["+optimizer.lrr=0.1"], "Did you mean lr?"),
        (["++head.widht=3"], "Did you mean width?"),
        (["optimizer.lr=fast"], "optimizer.lr=fast does not fit"),
        (["seed=x"], "seed=x does not fit"),
        (["head=unet", "head.norm=bach"], "Input should be 'group' or 'batch'"),
        (["auxiliary.name=fcm"], "auxiliary=fcm is unknown"),
        (["auxiliary.name=fpn", "auxiliary.weight=0"], "greater than 0"),
        (["head.width=100"], "no multiple of 32"),
        (["trainer.max_epoch=3"], "Did you mean max_epochs?"),
        (["trainer.limit_train_batches=3"], "Use data.limit"),
        (["trainer.precision=17"], "trainer.precision=17 is unknown"),
        (["trainer.precision=bf17"], "Choices: 16-mixed, 32-true, auto, bf16-mixed"),
        (["trainer.precision=bf16-true"], "Choices: 16-mixed, 32-true, auto, bf16-mixed"),
        (["data.batch_sise=3"], "Did you mean batch_size?"),
        (["data.batch_size=0"], "greater than 0"),
        (["data.rare_class_temperature=0"], "greater than 0"),
        (["callbacks.early_stopping=5"], "callbacks.early_stopping.OPTION=VALUE"),
        (["auxiliary=fcn", "auxiliary.wieght=1"], "Did you mean weight?"),
        (["head=deeplabv3", "head.rates=[1,2]"], "three dilations, such as [6,12,18]"),
        (["data=folder", "data.window=96"], "two integers: [height,width]"),
        (["data=folder", "data.window=[64,64]"], "is smaller than data.augmentations.crop.size=[512, 512]"),
        (["data.train_split=trainval"], "trainval"),
        (["data=folder", "data.window=[512,512]", "data.train_split=all"], "windows of the split train"),
        (["data.rare_class_temperature=inf"], "less than"),
        (["loss.dice.weight=0", "loss.cross_entropy.weight=0"], "Every loss has the weight 0"),
        (["schedule.warmup=5000"], "schedule.warmup=5000 steps do not end before the run of 900 steps"),
        (["data.batch_size=3000"], "is more than the 1200 training samples"),
        (["task=det", "data.augmentations.resize.short=800"], "a list of lengths in pixels, such as [800]"),
        (["data.augmentations.crop.size=512"], "two integers: [height,width]"),
        (["data.augmentations.flop={}"], "Did you mean flip?"),
        (["data.augmentations.scale.low=3"], "low"),
        (["callbacks.checkpoints.every=3"], "Did you mean every_steps?"),
        (["callbacks.checkpoint={}"], "Did you mean checkpoints?"),
        (["logger.tensorbord={}"], "Did you mean tensorboard?"),
        (["loss.cross_entropy=null", "loss.dice=null"], "loss names no loss"),
        (["loss.cross_entropy.class_weights=[1,2]"], "2 entries for 9 classes"),
        (["loss.focal.gama=1"], "Did you mean gamma?"),
        (["loss.focal.alpha=[0.5]"], "loss.focal.alpha has 1 entries for 9 classes"),
        (["loss.focal.alpha=2"], "less than or equal to 1"),
        (["loss.ohem.min_kept=0"], "greater than 0"),
        (["loss.lovasz.per_image=true"], "lovasz has no options"),
        (["loss.cross_entropy.boundary_distance=0"], "greater than 0"),
        (["task=multilabel"], "task=multilabel needs multilabel labels; data=scenes has"),
        (["task=multilabel", "task.threshold=1"], "less than 1"),
        (["backbone=coat_lite_tiny", "backbone.co_scale=none"], "CoaT-Lite has no exchange"),
        (["backbone=timm", "backbone.model=resnet51"], "Did you mean resnet"),
        (["plugins=[nothing_of_that_name]"], "cannot import nothing_of_that_name"),
        (["resume=auto"], "resume=auto needs the name"),
        (["name=../x"], "no name of a folder"),
        (["optimizer.lr=-1"], "greater than 0"),
        (["optimizer.betas=[0.9,1.5]"], "less than 1"),
        (["optimizer.layer_decay=0"], "optimizer.layer_decay=0 does not fit"),
        (["optimizer.layer_decay=1.1"], "less than or equal to 1"),
        (["optimizer.backbone_rate=-1"], "greater than 0"),
        (["optimizer=sgd", "optimizer.betas=[0.9,0.9]"], "optimizer.betas is no option of sgd"),
        (["optimizer=sgd", "optimizer.nesterov=true", "optimizer.momentum=0"], "optimizer.momentum is 0"),
        (["schedule.warmup=-1"], "greater than or equal to 0"),
        (["schedule.by=iteration"], "Input should be 'step' or 'epoch'"),
        (["schedule.epoch=3"], "schedule.epoch is no option of poly"),
        (["schedule=multistep", "schedule.milestones=[600,400]"], "do not increase"),
        (["schedule=multistep", "schedule.milestones=[]"], "milestones is empty"),
        (["schedule=multistep", "schedule.milestones=[-3]"], "greater than 0"),
        (["schedule=multistep", "schedule.milestones=[400,9000]"], "step 9000 lies beyond the run"),
        (["schedule=multistep", "schedule.milestones=[1,3]", "schedule.by=epoch"], "epoch 3 lies beyond the run"),
        (["schedule=onecycle", "schedule.pct_start=1"], "schedule.pct_start=1 does not fit"),
        (["schedule=onecycle", "schedule.warmup=3"], "schedule.warmup is no option of onecycle"),
        (["backbone.frozen_stages=5"], "backbone.frozen_stages=5 does not fit"),
        (["backbone=timm", "backbone.model=resnet18", "backbone.frozen_stages=-1"], "greater than or equal to 0"),
        (["callbacks.ema.decay=1"], "callbacks.ema.decay=1 does not fit"),
        (["callbacks.ema.deccay=0.9"], "Did you mean decay?"),
        (["callbacks.early_stopping.patience=0"], "greater than 0"),
        (["callbacks.early_stopping.monitor=loss"], "monitor is no option of early_stopping"),
        (["trainer.max_epochs=abc"], "trainer.max_epochs=abc does not fit"),
        (["trainer.max_epochs=0"], "no step or no end"),
        (["trainer.accumulate_grad_batches=0"], "greater than 0"),
        (["trainer.accumulate_grad_batches=2", "trainer.val_check_interval=3"], "middle of an accumulated step"),
        (["trainer.limit_val_batches=0"], "Use data.limit"),
        (["trainer=null"], "group override"),
        (["~head"], "head"),
        (["seed=-1"], "greater than or equal to 0"),
        (["data.val_images=0"], "greater than 0"),
        (["data.size=[8,8]"], "The least is 32"),
        (["data.size=128"], "data.size=128 does not fit"),
        (["data.augmentations=5"], "no section of names"),
        (["data.augmentations.crop=7"], "crop=7 does not fit"),
        (["head.dropout=2"], "less than 1"),
        (["backbone.drop_path=1"], "less than 1"),
        (["loss.cross_entropy=3"], "cross_entropy=3 does not fit"),
        (["callbacks.checkpoints=null"], "callbacks.checkpoints is off"),
        (["callbacks.checkpoints.every_steps=0"], "greater than 0"),
        (["resume=nowhere.ckpt"], "There is no checkpoint at nowhere.ckpt"),
        (["data=camvid", "data.root=nowhere"], "data.root="),
        (["backbone.pretrained=nowhere.pth"], "nowhere.pth"),
        (["name=[1,"], "no viable alternative"),
        (["experiment=nothing"], "experiment=nothing is unknown"),
        (["inference=tat"], "Did you mean tta?"),
        (["inference.windows=[512,512]"], "Did you mean window?"),
        (["inference.window=[512]"], "inference.window=[512] does not fit.\nGive [height, width] in pixels"),
        (["inference.window=[0,512]"], "Give [height, width] in pixels"),
        (["inference.overlap=1.0"], "from 0 up to, not including, 1"),
        (["inference.scales=[]"], "Give factors above 0"),
        (["inference.scales=[1.0,-1]"], "Give factors above 0"),
        (["inference.window_batch=0"], "greater than 0"),
        (["task.boundary_iou=2"], "task.boundary_iou=2 does not fit.\nGive true, false, or a distance"),
        (["callbacks.worst.count=0"], "greater than 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_word_on_the_command_line(answer: Answer, arguments: list[str], says: str) -> None:
    assert says in answer(*arguments)


def test_a_task_that_the_data_has_no_labels_for(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from coatseg.registry.names import table
    from coatseg.scenes import Scenes

    class Boxes(Scenes):
        def __init__(self, split: str, *, size: tuple[int, int] = (64, 64), train_images: int = 8) -> None:
            super().__init__(split, size=size, train_images=train_images)
            self.info = replace(self.info, name="boxes", annotates=frozenset({"instances"}))

    monkeypatch.setitem(table("dataset"), "boxes", Boxes)
    assert "task=semantic needs semantic labels; data=boxes has instances" in answer(
        "backbone=coat_lite_tiny", "data.name=boxes"
    )


def test_layers_and_label_maps_are_not_taken_for_each_other(answer: Answer, tmp_path: Path) -> None:
    layers = ["data=folder", f"data.root={write_layers(tmp_path / 'layers', ['object'])}"]
    assert "task=semantic needs semantic labels; data=layers has multilabel" in answer(*layers, "data.layers=true")
    assert "needs multilabel labels; data=layers has semantic" in answer(*layers, "task=multilabel")


def camvid(root: Path) -> list[str]:
    return [
        "backbone=coat_lite_tiny",
        "data=camvid",
        f"data.root={write_camvid(root)}",
        "data.batch_size=1",
        "data.workers=1",
    ]


def damage_label(root: Path) -> Path:
    import cv2

    path = sorted((root / "trainannot").glob("*.png"))[-1]
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask[3, 4] = 77
    cv2.imwrite(str(path), mask)
    return path


def remove_mask(root: Path) -> Path:
    path = sorted((root / "trainannot").glob("*.png"))[-1]
    path.unlink()
    return path


def shrink_mask(root: Path) -> Path:
    import cv2

    path = sorted((root / "valannot").glob("*.png"))[-1]
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[:-3])
    return path


def cut_image(root: Path) -> Path:
    path = sorted((root / "train").iterdir())[-1]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


@pytest.mark.parametrize("damage", [damage_label, remove_mask, shrink_mask, cut_image])
def test_damaged_data_is_named_before_the_first_step(
    answer: Answer, tmp_path: Path, damage: Callable[[Path], Path]
) -> None:
    arguments = camvid(tmp_path / "camvid")
    path = damage(tmp_path / "camvid")
    error = answer(*arguments)
    assert path.stem in error
    if damage is damage_label:
        assert "77" in error


def test_an_image_that_turns_out_damaged_in_a_worker_keeps_its_message(
    answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coatseg.data.inspection import first_look

    arguments = camvid(tmp_path / "camvid")
    path = cut_image(tmp_path / "camvid")
    monkeypatch.setattr(first_look, "look_first", lambda data, splits: first_look.FirstLook("", ()))
    assert path.name in answer(*arguments)


def test_a_file_where_a_folder_is_meant(answer: Answer, tmp_path: Path) -> None:
    root = write_coco(tmp_path / "coco")
    shutil.rmtree(root / "train2017")
    (root / "train2017").touch()
    error = answer("backbone=coat_lite_tiny", "task=det", "data=coco", f"data.root={root}")
    assert f"Not a directory: {root / 'train2017'}" in error


JSONS = (("annotations", "annotations/instances_", ".json"), ("images", "", ""))


@pytest.mark.parametrize("data", ["coco", "coco_json"])
def test_splits_whose_class_numbers_mean_different_things(answer: Answer, tmp_path: Path, data: str) -> None:
    root = write_coco(tmp_path / "coco")
    path = root / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    dropped = content["categories"].pop(0)
    content["annotations"] = [row for row in content["annotations"] if row["category_id"] != dropped["id"]]
    path.write_text(json.dumps(content))
    own = [f"data.{key}={{train: {at}train2017{end},val: {at}val2017{end}}}" for key, at, end in JSONS]
    error = answer(
        "backbone=coat_lite_tiny", "task=det", f"data={data}", f"data.root={root}", *(own * (data != "coco"))
    )
    assert "The val split of data=coco has other classes" in error
    assert dropped["name"] in error


def test_a_run_that_exists(answer: Answer, tmp_path: Path, composed: Callable[..., dict[str, Any]]) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    assert "exists already" in answer(*TINY, "name=mine")


def test_checkpoints_that_do_not_fit(answer: Answer, tmp_path: Path, composed: Callable[..., dict[str, Any]]) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    checkpoint = tmp_path / "runs" / "mine" / "checkpoints" / "last.ckpt"
    error = answer(*TINY, "backbone=coat_lite_mini", f"resume={checkpoint}")
    assert "backbone.name=coat_lite_tiny, not coat_lite_mini" in error
    root = write_camvid(tmp_path / "camvid")
    error = answer(f"checkpoint={checkpoint}", "data=camvid", f"data.root={root}", main=evaluate.main)
    assert "9 classes" in error
    assert "11" in error
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.ckpt")
    assert "no checkpoint of coatseg" in answer(f"checkpoint={tmp_path}/other.ckpt", main=evaluate.main)
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:5000])
    assert "cannot be read" in answer(f"checkpoint={tmp_path}/cut.ckpt", main=evaluate.main)
    assert "Which checkpoint?" in answer("split=val", main=evaluate.main)
    assert "Did you mean checkpoint?" in answer("chekpoint=x", main=evaluate.main)
    for argument, says in {
        "inference=flop": "Did you mean flip?",
        "inference.overlap=1": "inference.overlap=1 does not fit",
        "task.name=semantic": "task.name is the checkpoint's own",
        "task.boundary=true": "Did you mean boundary_iou?",
        "worst=-1": "worst=-1 does not fit",
    }.items():
        assert says in answer(f"checkpoint={checkpoint}", argument, main=evaluate.main)


@pytest.mark.parametrize("lost", ["config", "info", "config.backbone", "config.head.name", "config.trainer"])
def test_a_checkpoint_whose_record_is_not_whole(
    answer: Answer, tmp_path: Path, composed: Callable[..., dict[str, Any]], lost: str
) -> None:
    path, images, output = tmp_path / "odd.ckpt", tmp_path / "images", tmp_path / "new"
    images.mkdir()
    Image.new("RGB", (64, 64)).save(images / "a.png")
    record: dict[str, Any] = {"config": composed(*TINY), "info": Scenes("train").info.to_plain()}
    *outer, key = lost.split(".")
    holder = record
    for name in outer:
        holder = holder[name]
    del holder[key]
    torch.save({"state_dict": {}, "global_step": 1, RECORD: record}, path)
    given = f"checkpoint={path}"
    for typed in (
        ("evaluate", given),
        ("export", given),
        ("benchmark", given, "keep_memory=false"),
        ("predict", given, f"input={images}", f"output={output}", "keep_memory=false"),
        ("features", given, f"input={images}", f"output={output}", "keep_memory=false"),
    ):
        assert "odd.ckpt is no whole checkpoint of coatseg" in answer(*typed, main=commands.main), typed
    assert "odd.ckpt is no whole checkpoint of coatseg" in answer(*TINY, "name=mine", f"resume={path}")


def test_an_exported_model_is_no_checkpoint(answer: Answer, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").touch()
    for verb in ("evaluate", "export", "benchmark"):
        assert "a.onnx is an exported model" in answer(verb, f"checkpoint={tmp_path}/a.onnx", main=commands.main), verb


def test_weights_of_another_architecture(answer: Answer, tmp_path: Path) -> None:
    import coatseg

    torch.save(coatseg.create_backbone("coat_lite_mini").state_dict(), tmp_path / "mini.pth")  # type: ignore[attr-defined]
    error = answer("backbone=coat_lite_tiny", f"backbone.pretrained={tmp_path}/mini.pth", *TINY_SCENES)
    assert "mini.pth" in error
    assert "patch_embed3" in error


def test_evaluate_never_overwrites_and_reads_its_arguments(
    answer: Answer, tmp_path: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    fit(composed(*TINY, "name=mine", "trainer.max_steps=1"))
    run = tmp_path / "runs" / "mine"
    checkpoint = f"checkpoint={run}/checkpoints/last.ckpt"
    report = (run / "report.md").read_text()
    assert "has report.md and scores.json already" in answer(checkpoint, f"output={run}", main=evaluate.main)
    assert (run / "report.md").read_text() == report
    assert "is a file" in answer(checkpoint, f"output={run}/report.md", main=evaluate.main)
    assert "Close every bracket" in answer(checkpoint, "inference.window=[32,32", main=evaluate.main)
    assert "last.ckpt" in answer(f"checkpoint={run}", main=evaluate.main)
    assert "Which checkpoint?" in answer("checkpoint=", main=evaluate.main)


def test_a_batch_norm_over_a_single_pixel(answer: Answer) -> None:
    norm = ("head=upernet", "head.norm=batch", "data.batch_size=1")
    assert "Set head.norm=group" in answer("backbone=coat_lite_tiny", *TINY_SCENES, *norm)


def test_an_unknown_verb(answer: Answer) -> None:
    assert "Did you mean train?" in answer("trian", main=commands.main)


def test_a_full_disk(answer: Answer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in answer(*TINY)
