"""`coatseg inspect` as it is typed: what it writes, and what it leaves with."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from coatseg import commands
from coatseg.build import TABLES
from tests.data.generate import write_folder
from tests.data.objects import write_coco

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
    # Image, classes, classes over the image, objects: 320 pixels each.
    assert cv2.imread(str(folder / "samples.png")).shape[1] == 4 * 324 + 4
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


def test_what_no_reader_should_give_is_told_and_not_pictured(
    tmp_path: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_reader.py").write_text(ODD_READER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(TABLES, "dataset", dict(TABLES["dataset"]))
    assert typed("data.name=odd", "plugins=[odd_reader]", "workers=0", "output=seen") == 1
    assert "labels that are no class" in (tmp_path / "seen" / "report.md").read_text()
    assert not (tmp_path / "seen" / "samples.png").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["split=val"], "Which data?"),
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
