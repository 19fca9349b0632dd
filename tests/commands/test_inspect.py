"""`coatseg inspect` as it is typed: what it writes, and what it leaves with."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from coatseg import commands
from coatseg.commands.terminal import progress
from coatseg.registry import names
from coatseg.registry.names import table
from coatseg.scenes import Scenes
from tests.data.exports.coco import write_label_studio_coco
from tests.data.exports.masks import write_label_studio_brush
from tests.data.exports.polygons import write_labelme
from tests.data.generate import write_folder
from tests.data.objects import write_coco, write_coco_json

Typed = Callable[..., int]

ODD_READER = """
import numpy as np
import coatseg
from coatseg.structures import DatasetInfo, Sample

@coatseg.register("dataset", "odd")
class Odd:
    info = DatasetInfo("odd", ("one",), ((9, 9, 9),), frozenset({"semantic"}))

    def __init__(self, split):
        self.split = split

    def __len__(self):
        return 1

    def __getitem__(self, index):
        image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
        return Sample(self.split, image, (4, 4), label_map=np.full((4, 4), 700))

    def verify(self, index):
        pass
"""


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Type `coatseg inspect ...` in an empty folder, and give the exit code."""

    def run(*arguments: str) -> int:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["coatseg", "inspect", *arguments])
        try:
            commands.main()
        except SystemExit as exit_:
            return int(exit_.code or 0)
        return 0

    return run


def test_no_command_s_file_hides_a_module_of_python() -> None:
    files = {path.stem for path in Path(str(commands.__file__)).parent.glob("*.py")}
    assert not files & sys.stdlib_module_names


def test_a_dataset_with_labels_and_objects_is_pictured_with_both(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("data.size=[64,64]", "data.train_images=3", "data.val_images=2", "data.test_images=2")
    assert typed("data=scenes", *options, "workers=0", "pictures=3") == 0
    folder = tmp_path / "runs" / "inspect-scenes"
    assert {path.name for path in folder.iterdir()} == {"report.md", "inspection.json", "samples.png"}
    # Image, classes, classes over the image, objects, segments: 320 pixels each.
    assert cv2.imread(str(folder / "samples.png")).shape[1] == 5 * 324 + 4
    assert "![samples](samples.png)" in (folder / "report.md").read_text()
    printed = capsys.readouterr().out
    assert "report: runs/inspect-scenes/report.md" in printed
    assert typed("data=scenes", *options, "workers=0", "split=val", "pictures=0") == 0  # may be repeated
    assert list(json.loads((folder / "inspection.json").read_text())["splits"]) == ["val"]


def test_something_broken_leaves_with_1_and_is_named(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_coco(tmp_path / "coco")
    victim = root / "val2017" / "000000000102.jpg"
    victim.write_bytes(b"")
    assert typed("data=coco", f"data.root={root}", "workers=0", f"output={tmp_path}/seen") == 1
    assert "broken: 1 sample could not be read" in capsys.readouterr().out
    assert "000000000102.jpg" in (tmp_path / "seen" / "report.md").read_text()
    assert (tmp_path / "seen" / "samples.png").exists()


def test_a_dataset_that_cannot_be_opened_leaves_with_1(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "mine")
    (root / "classes.txt").write_text("")
    assert typed("data=folder", f"data.root={root}") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: The classes file")
    assert not (tmp_path / "runs").exists()


def test_images_are_read_whole_and_once_and_as_many_as_the_limit_says(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "mine")
    drawn = ("data.window=[16,16]", "data.windows_per_image=4", "data.augmentations.crop.size=[16,16]")
    assert typed("data=folder", f"data.root={root}", *drawn, "data.limit=2", "workers=0", "output=seen") == 0
    splits = json.loads((tmp_path / "seen" / "inspection.json").read_text())["splits"]
    assert {name: (split["samples"], split["sizes"]) for name, split in splits.items()} == {
        "train": (2, [[32, 40, 2]]),
        "val": (2, [[32, 40, 2]]),
    }
    assert "more than once" not in capsys.readouterr().out


def test_train_is_the_split_that_trains(tmp_path: Path, typed: Typed) -> None:
    root = write_folder(tmp_path / "mine", layout="lists")
    (root / "few.txt").write_text("train_03\n")
    arguments = ("data.train_split=few", "split=train", "workers=0", "output=seen")
    assert typed("data=folder", f"data.root={root}", *arguments) == 0
    splits = json.loads((tmp_path / "seen" / "inspection.json").read_text())["splits"]
    assert {name: split["samples"] for name, split in splits.items()} == {"train": 1}


def test_a_log_is_told_how_far_each_split_is(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.0)
    root = write_folder(tmp_path / "mine", layout="folders")
    assert typed("data=folder", f"data.root={root}", "workers=0", "samples=2", "pictures=0", "output=seen") == 0
    lines = [line.partition(" images,")[0] for line in capsys.readouterr().out.splitlines() if "images/s" in line]
    assert lines == ["train: 1/2", "train: 2/2", "val: 1/2", "val: 2/2"]


def test_the_advice_on_splits_of_coco_json_can_be_followed(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_coco_json(tmp_path / "mine", count=2)
    arguments = ("data=coco_json", f"data.root={root}", "split=test", "workers=0", "pictures=0", "output=seen")
    assert typed(*arguments) == 2
    advised = re.findall(r"data\.annotations\.\w+=FILE", capsys.readouterr().err)
    assert typed(*arguments, *(key.replace("FILE", "annotations.json") for key in advised)) == 0
    assert json.loads((tmp_path / "seen" / "inspection.json").read_text())["splits"]["test"]["samples"] == 2


def test_what_no_reader_should_give_is_told_and_not_pictured(
    tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_reader.py").write_text(ODD_READER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(names._tables, "dataset", dict(table("dataset")))
    assert typed("data.name=odd", "plugins=[odd_reader]", "workers=0", "output=seen") == 1
    assert "labels that are no class" in (tmp_path / "seen" / "report.md").read_text()
    assert not (tmp_path / "seen" / "samples.png").exists()


def test_a_folder_alone_is_recognised_and_inspected_with_the_line_that_is_printed(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    write_label_studio_coco(tmp_path / "mine")
    assert typed("mine", "workers=0", "pictures=0", "output=seen") == 0
    printed = capsys.readouterr().out
    assert "mine is Label Studio COCO: result.json in COCO's format, with images in ." in printed
    line = "data=coco_json data.root=mine data.annotations=result.json data.images=."
    assert f"python train.py {line} task=inst\n" in printed
    folders = json.loads((tmp_path / "seen" / "inspection.json").read_text())["splits"]
    assert typed(*line.split(), "workers=0", "pictures=0", "output=by_hand") == 0
    assert folders == json.loads((tmp_path / "by_hand" / "inspection.json").read_text())["splits"]
    assert typed("mine", "data.val_fraction=0.6", "data.seed=4", "workers=0", "pictures=0", "output=seen") == 0
    other = json.loads((tmp_path / "seen" / "inspection.json").read_text())["splits"]
    assert other["val"]["samples"] > folders["val"]["samples"]


def test_an_ambiguous_folder_is_read_as_the_first_and_the_others_are_named(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    write_label_studio_coco(tmp_path / "mine")
    write_labelme(tmp_path / "mine" / "images")
    assert typed("mine", "workers=0", "pictures=0", "output=seen") == 0
    printed = capsys.readouterr().out
    assert "mine is Label Studio COCO" in printed
    assert "it could also be LabelMe: " in printed


def test_what_has_to_be_done_first_is_said(tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    write_label_studio_brush(tmp_path / "mine")
    assert typed("mine") == 1
    output = capsys.readouterr()
    assert "python train.py data=folder data.root=mine data.layers=true task=multilabel" in output.out
    assert output.err.startswith("error: mine cannot be read as it is.\nIts files are named by tasks")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["split=val"], "Which data?"),
        (["./nowhere"], "There is no folder nowhere."),
        (["taken", "data=camvid"], "Leave data= out, or write data.root=taken."),
        (["taken", "./taken"], "taken and ./taken are two folders."),
        (["data=camvd"], "Did you mean camvid?"),
        (["data=camvid"], "CamVid is not in data/camvid"),
        (["data=scenes", "data.sise=3"], "Did you mean size?"),
        (["data=scenes", "sample=3"], "Did you mean samples?"),
        (["data=scenes", "samples=0"], "samples=0 does not fit"),
        (["data=scenes", "workers=-1"], "workers=-1 does not fit"),
        (["data=coco", "data.root=x", "split=tarin"], "Did you mean train?"),
        (["data=scenes", "output=taken"], "report.md of something else"),
        (["data=scenes", "output=taken/report.md"], "is a file"),
        (["data"], "not of the form KEY=VALUE"),
    ],
)
def test_a_wrong_command_line_leaves_with_2(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "report.md").write_text("a run's")
    assert typed(*arguments) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) <= 2
    assert not (tmp_path / "runs").exists()


def test_an_output_that_cannot_be_written_stops_at_once(
    tmp_path: Path, typed: Typed, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    monkeypatch.setattr(Scenes, "__getitem__", lambda dataset, index: read.append(index))
    (tmp_path / "file").write_text("")
    assert typed("data=scenes", "data.size=[64,64]", "samples=1", "workers=0", "output=file/report") == 2
    assert "file/report/" in capsys.readouterr().err
    assert not read


def test_a_repeated_inspection_leaves_no_sheet_of_the_earlier_one(tmp_path: Path, typed: Typed) -> None:
    options = ("data=scenes", "data.size=[64,64]", "samples=1", "split=val", "workers=0", "output=report")
    assert typed(*options, "pictures=1") == 0
    assert (tmp_path / "report" / "samples.png").exists()
    assert typed(*options, "pictures=0") == 0
    assert not (tmp_path / "report" / "samples.png").exists()
