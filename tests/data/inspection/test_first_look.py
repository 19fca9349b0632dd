"""What a training or an evaluation says, and what stops it, before its first step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.cityscapes import Cityscapes
from coatseg.data.datasets.folder import Folder
from coatseg.data.inspection.first_look import look_first
from coatseg.data.loading.module import DataModule
from coatseg.errors import DatasetError, ImageError
from coatseg.scenes import Scenes
from coatseg.structures import Dataset, Sample
from tests.data.generate import write_folder
from tests.data.inspection.listed import INFO, Listed, objects, sample
from tests.data.inspection.test_checks import AWAY, BOX, FRACTIONS, IGNORED, NOTHING, of, write_palettes
from tests.data.official import write_cityscapes

Splits = dict[str, Dataset]


def module(needs: str | None = None, **splits: Dataset) -> DataModule:
    first = next(iter(splits.values()))
    return DataModule(splits.__getitem__, lambda sample, seed: sample, first.info, needs=needs)


def good(name: str = "good") -> Sample:
    return of(objects(BOX, labels=(1,)), name)


def said(data: DataModule, *splits: str) -> list[str]:
    return [finding.what for finding in look_first(data, splits or ("train",)).findings]


def test_a_healthy_dataset_is_counted_and_nothing_else_is_said(tmp_path: Path) -> None:
    root = write_folder(tmp_path, layout="folders")
    look = look_first(
        DataModule(lambda split: Folder(root, split), Sample, Folder(root, "train").info), ("train", "val")
    )
    assert look.words == "checked the files and labels of 6 of 6 train, 6 of 6 val samples"
    assert not look.findings


def test_it_ends_in_time_and_what_needs_the_whole_split_is_then_not_said() -> None:
    ground = [sample(f"{number}", labels=np.zeros((8, 10), np.uint8), seed=number) for number in range(20)]
    look = look_first(module("semantic", train=Listed(*ground)), ("train",), seconds=0)
    assert "0 of 20 train" in look.words
    assert not look.findings
    assert said(module("semantic", train=Listed(*ground))) == ["1 class never seen"]


@pytest.mark.parametrize("what", NOTHING)
def test_what_can_teach_nothing_stops_and_names_what_helps(what: str) -> None:
    needs = "semantic" if "label" in what else "boxes"
    splits = {"train": Listed(NOTHING[what]("a"), NOTHING[what]("b")), "val": Listed(good())}
    with pytest.raises(DatasetError, match=f"own: {what}") as raised:
        look_first(module(needs, **splits), ("train", "val"))
    assert {"label": "data=folder", "crowd": "data.crowd=objects", "image": "annotations"}[
        next(word for word in ("label", "crowd", "image") if word in what)
    ] in raised.value.mend
    assert what in said(module(needs, train=Listed(good()), val=splits["train"]), "val")[0]
    assert what not in said(module("boxes" if needs == "semantic" else "semantic", **splits)), "it is not needed"


def test_cityscapes_with_label_numbers_of_its_own_stops(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path)
    for path in root.rglob("*_labelIds.png"):
        Image.fromarray(np.asarray(Image.open(path)) % 4).save(path)  # those of four classes, all ignored here
    data = DataModule(lambda split: Cityscapes(root, split), Sample, Cityscapes(root, "train").info, needs="semantic")
    with pytest.raises(DatasetError, match="every label is ignored") as raised:
        look_first(data, ("train", "val"))
    assert "data=folder, with a class for each number in classes.txt" in raised.value.mend
    assert "data.layers=true task=multilabel" in raised.value.mend


def write_black_and_white(root: Path) -> Path:
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((16, 16), np.uint8)
        mask[4:10, number : number + 4] = 255
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
    (root / "train.txt").write_text("0\n1\n2\n3\n")
    (root / "val.txt").write_text("4\n5\n")
    (root / "classes.txt").write_text("background\nobject\n")
    return root


def test_masks_of_0_and_255_with_two_classes_stop(tmp_path: Path) -> None:
    root = write_black_and_white(tmp_path)
    data = DataModule(lambda split: Folder(root, split), Sample, Folder(root, "train").info, needs="semantic")
    with pytest.raises(DatasetError, match="of nothing but 0 and 255") as raised:
        look_first(data, ("train", "val"))
    assert "data.layers=true task=multilabel" in raised.value.mend
    assert any("of nothing but 0 and 255" in what for what in said(data, "val"))


NAN = np.full((8, 10, 3), 0.5, np.float32)
NAN[2, 3, 1] = np.nan

STOPS: dict[str, tuple[str, Callable[[], Sample], str]] = {
    "values that are not finite": ("semantic", lambda: sample("bad", image=NAN), "train bad: 1 values"),
    "labels that are no class": (
        "semantic", lambda: sample("bad", labels=np.full((8, 10), 9, np.int32)), "train bad: 80 pixels",
    ),
    "fractions of the image": ("boxes", lambda: of(FRACTIONS, "bad"), "train: 2 boxes"),
}  # fmt: skip


@pytest.mark.parametrize("what", STOPS)
def test_what_is_broken_in_a_sample_stops_and_is_named(what: str) -> None:
    needs, make, where = STOPS[what]
    with pytest.raises(DatasetError, match=what) as raised:
        look_first(module(needs, train=Listed(make())), ("train",))
    assert where in raised.value.what


def test_an_unreadable_sample_raises_its_reader_s_error() -> None:
    error = ImageError("b.png cannot be decoded.", "Copy it again.")
    with pytest.raises(ImageError, match=r"b\.png"):
        look_first(module(train=Listed(good(), error)), ("train",))


def test_suspicious_things_are_said_in_the_words_of_an_inspection(tmp_path: Path) -> None:
    labels = np.ones((8, 10), np.uint8)
    twice = Listed(sample("a", seed=1), sample("b", seed=1), sample("c", labels=IGNORED, seed=4))
    told = said(module("semantic", train=twice, val=Listed(sample("d", seed=1, labels=labels))), "train", "val")
    assert "1 image in more than one split" in told
    assert "1 image ignored everywhere" in told
    moved = of(objects(BOX, (1, 1, 4, 4), labels=(1, 1), masks=AWAY))
    assert said(module("instances", train=Listed(moved))) == ["1 image with masks that are not where their boxes are"]
    palettes = write_palettes(tmp_path, {1: (255, 0, 0)}, {1: (0, 255, 0)})
    data = DataModule(lambda split: Folder(palettes, split), Sample, Folder(palettes, "train").info)
    assert any("palette" in what for what in said(data))


def test_a_window_is_no_image(tmp_path: Path) -> None:
    root = write_folder(tmp_path, layout="folders")
    for path in (root / "train" / "masks").glob("*"):
        mask = np.asarray(Image.open(path)).copy()
        mask[:, :20] = 255
        Image.fromarray(mask).save(path)

    def opened(split: str) -> Folder:
        return Folder(root, split, window=(8, 8), windows_per_image=4)

    told = said(DataModule(opened, Sample, opened("train").info, needs="semantic"))
    assert not [what for what in told if "ignored" in what or "more than once" in what or "never seen" in what]


def test_generated_samples_are_not_looked_at() -> None:
    class Unread(Scenes):
        def __getitem__(self, index: int) -> Sample:
            raise AssertionError(index)

    data = DataModule(lambda split: Unread(split, size=(32, 32), train_images=4), Sample, Unread.info, limit=3)
    assert look_first(data, ("train",)).words == "samples are generated: none to check"


def test_objects_are_looked_at_with_the_truth_that_the_task_needs() -> None:
    info = replace(INFO, annotates=frozenset({"semantic", "boxes"}))
    both = sample("a", labels=IGNORED, instances=objects(BOX, labels=(1,)))
    assert not said(module("boxes", train=Listed(both, info=info)))
