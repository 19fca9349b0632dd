"""What an inspection counts, and what it finds, on datasets whose answers are known."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.camvid import CamVid
from coatseg.data.datasets.coco import Coco
from coatseg.data.datasets.folder import Folder
from coatseg.data.datasets.instance_masks import InstanceMasks
from coatseg.data.datasets.voc_boxes import VOCBoxes
from coatseg.data.inspection import inspect_dataset
from coatseg.data.inspection.report import markdown, plain
from coatseg.data.inspection.tables import classes_table, splits_table
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.scenes import Scenes
from coatseg.structures import Sample
from tests.data.generate import write_camvid, write_folder, write_layers
from tests.data.inspection.listed import Listed, found, inspected, noise, objects, sample
from tests.data.objects import PLACES, write_coco, write_instance_masks, write_picture


def test_a_healthy_dataset_has_no_finding(tmp_path: Path) -> None:
    inspection = inspect_dataset(partial(CamVid, write_camvid(tmp_path)), workers=0)
    assert [split.name for split in inspection.splits] == ["train", "val", "test"]
    assert [split.sizes for split in inspection.splits] == [{(36, 48): 3}] * 3
    unseen = {finding.what for finding in inspection.findings}
    assert all("seen in other splits" in what or "never seen" in what for what in unseen)
    assert not inspection.broken


def test_pixels_are_counted() -> None:
    labels = np.zeros((8, 10), np.uint8)
    labels[:4] = 1
    labels[4, :5] = 255
    split = inspected(Listed(sample("a", labels=labels), sample("b"))).splits[0]
    assert split.class_pixels.tolist() == [(80 - 45) + 60, 40 + 20]
    assert sum(facts.ignored for facts in split.labels) == 5
    assert split.class_images.tolist() == [2, 2]
    (ground, thing) = classes_table(inspected(Listed(sample("a", labels=labels), sample("b")))).rows
    assert ground == ("ground", f"{100 * 95 / 155:.2f}", "2")
    assert thing == ("thing", f"{100 * 60 / 155:.2f}", "2")


def test_layers_are_counted_class_by_class(tmp_path: Path) -> None:
    root = write_layers(tmp_path, ("red", "green"))
    inspection = inspect_dataset(partial(Folder, root, layers=True), workers=0)
    split = inspection.splits[0]
    # Each rectangle has a quarter of the image; the last class is not in the first one.
    assert split.class_pixels.tolist() == [count * 16 * 20 for count in split.class_images]
    assert classes_table(inspection).rows[0][1] == "25.00"
    assert not inspection.broken


def test_statistics_are_those_of_all_pixels() -> None:
    images = [noise(1), noise(2, (30, 20))]
    split = inspected(Listed(*(sample(str(n), image=image) for n, image in enumerate(images)))).splits[0]
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]) / 255
    assert split.statistics is not None
    np.testing.assert_allclose(split.statistics[0], pixels.mean(0))
    np.testing.assert_allclose(split.statistics[1], pixels.std(0))


def test_objects_are_counted_by_class_image_and_size(tmp_path: Path) -> None:
    inspection = inspect_dataset(partial(Coco, write_coco(tmp_path)), workers=0)
    split = inspection.splits[0]
    assert split.class_objects.tolist() == [4, 2, 2]
    assert split.objects_per_image.tolist() == [4, 4, 0]
    assert split.object_sizes == {"small": 8, "medium": 0, "large": 0}
    assert sum(facts.crowd.sum() for facts in split.objects) == 2
    written = dict(row[:2] for row in splits_table(inspection.splits).rows)
    assert written["objects an image"] == "0 / 4 / 4"
    assert written["images without objects"] == "1"
    assert not inspection.findings


def test_sizes_are_coco_s() -> None:
    image = noise(1, (200, 200))
    boxes = ((0, 0, 31, 33), (0, 0, 32, 32), (0, 0, 96, 95), (0, 0, 96, 96))
    found = objects(*boxes, labels=(1,) * 4)
    masks = np.zeros((4, 200, 200), bool)
    masks[:3, :30, :30] = True  # 900 pixels each; the last one has none
    stated = np.array([32.0**2 - 1, 32.0**2, 96.0**2, 1e6])
    for instances, sizes in (
        (found, {"small": 1, "medium": 2, "large": 1}),
        (replace(found, masks=masks), {"small": 4, "medium": 0, "large": 0}),
        (replace(found, masks=masks, areas=stated), {"small": 1, "medium": 1, "large": 2}),
    ):
        inspection = inspected(Listed(sample("a", image=image, instances=instances)))
        assert inspection.splits[0].object_sizes == sizes
        written = dict(row[:2] for row in splits_table(inspection.splits).rows)
        assert written["objects, small / medium / large"] == " / ".join(map(str, sizes.values()))


def test_processes_find_what_one_finds(tmp_path: Path) -> None:
    opener = partial(InstanceMasks, write_instance_masks(tmp_path))
    told: list[tuple[str, int, int]] = []
    alone = inspect_dataset(opener, workers=0, progress=lambda *moved: told.append(moved))
    assert plain(inspect_dataset(opener, workers=2)) == plain(alone)
    assert told[:3] == [("train", 1, 3), ("train", 2, 3), ("train", 3, 3)]


def test_some_samples_are_evenly_spread() -> None:
    inspection = inspect_dataset(partial(Scenes, size=(32, 32), train_images=9, val_images=2), samples=3, workers=0)
    assert [[facts.index for facts in split.samples] for split in inspection.splits[:2]] == [[0, 4, 8], [0, 1]]
    assert not inspection.splits[0].complete
    assert "3 of 9" in markdown(inspection)


def test_what_cannot_be_read_is_broken_and_named() -> None:
    inspection = inspected(
        Listed(sample("a"), DatasetError("The mask m.png is missing.", "Draw it."), ZeroDivisionError("oh"))
    )
    assert inspection.broken
    assert found(inspection, "2 samples could not be read") == (
        "train number 1: The mask m.png is missing.",
        "train number 2: ZeroDivisionError: oh",
    )
    assert inspection.splits[0].complete


def test_truncated_files_are_found_among_good_ones(tmp_path: Path) -> None:
    root = write_folder(tmp_path, layout="folders")
    victim = root / "train" / "images" / "train_03.png"
    victim.write_bytes(victim.read_bytes()[:-200])
    inspection = inspect_dataset(partial(Folder, root), workers=0)
    (place,) = found(inspection, "1 sample could not be read")
    assert place.startswith("train number 3: ")
    assert "train_03.png" in place


def test_a_split_that_cannot_be_opened_is_broken_and_others_are_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path, layout="folders")
    (root / "val" / "masks" / "val_00.png").unlink()
    inspection = inspect_dataset(partial(Folder, root), workers=0)
    assert [split.name for split in inspection.splits] == ["train"]
    assert "val_00" in found(inspection, "the split val cannot be opened")[0]
    assert "no split 'test'" in inspection.absent["test"]


def test_a_broken_test_split_is_no_absent_one(tmp_path: Path) -> None:
    root = write_folder(tmp_path, layout="lists")
    (root / "test.txt").write_text("train_00\ntrain_01\n")
    assert inspect_dataset(partial(Folder, root), workers=0).splits[2].total == 2
    (root / "test.txt").write_text("train_00\ntrain_99\n")
    inspection = inspect_dataset(partial(Folder, root), workers=0)
    assert inspection.broken
    assert "train_99" in found(inspection, "the split test cannot be opened")[0]
    assert not inspection.absent


@pytest.mark.parametrize("layout", ["flat", "folders", "lists"])
def test_a_split_that_is_asked_for_and_not_there_is_an_error(tmp_path: Path, layout: str) -> None:
    opener = partial(Folder, write_folder(tmp_path, layout=layout))
    assert not inspect_dataset(opener, workers=0).broken
    with pytest.raises((ConfigError, DatasetError), match="test"):
        inspect_dataset(opener, ["test"], workers=0)


def test_without_any_split_the_reader_s_error_comes_through(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError):
        inspect_dataset(partial(CamVid, tmp_path))
    with pytest.raises(ConfigError):
        inspect_dataset(partial(Coco, write_coco(tmp_path)), ["trian"])


def test_the_same_image_in_two_splits_is_found_and_whether_it_is_annotated_alike() -> None:
    other = np.zeros((8, 10), np.uint8)
    train = Listed(sample("a", seed=1), sample("b", seed=2), sample("c", seed=3), sample("d", seed=3))
    inspection = inspected(train, Listed(sample("x", seed=1), sample("y", seed=2, labels=other)))
    assert found(inspection, "2 images in more than one split") == (
        "train a = val x",
        "train b = val y, with different annotations",
    )
    assert found(inspection, "1 image more than once in a split") == ("train c = train d",)
    assert not inspection.broken


def test_the_same_pixels_in_another_file_format_are_the_same_image(tmp_path: Path) -> None:
    root = write_instance_masks(tmp_path)
    picture = Image.open(root / "train" / "images" / "0000.png")
    (root / "val" / "images" / "0100.png").unlink()
    picture.save(root / "val" / "images" / "0100.tif")
    inspection = inspect_dataset(partial(InstanceMasks, root), workers=0)
    assert found(inspection, "in more than one split") == ("train 0000 = val 0100",)


def test_masks_of_black_and_white_are_warned_of(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    (root / "masks").mkdir(parents=True)
    for index in range(6):
        write_picture(root / "images" / f"{index}.png", PLACES, index)
        mask = np.zeros((48, 64), np.uint8)
        mask[10:20, 10:20] = 255
        Image.fromarray(mask).save(root / "masks" / f"{index}.png")
    (root / "classes.txt").write_text("background\nobject\n")
    inspection = inspect_dataset(partial(Folder, root), workers=0)
    places = found(inspection, "of nothing but 0 and 255: 255 is ignored, so they never show object")
    assert len(places) == 6
    assert found(inspection, "never seen") == ("object",)
    mask[:5] = 1
    Image.fromarray(mask).save(root / "masks" / "0.png")
    again = inspect_dataset(partial(Folder, root), workers=0)
    assert len(found(again, "of nothing but 0 and 255 while 1 hold others")) == 5


EMPTY = np.zeros((2, 8, 10), bool)
EMPTY[0, 2:4, 2:4] = True
NAN = np.full((8, 10, 3), 0.5, np.float32)
NAN[0, 0, 0] = np.nan
THING = (1, 1, 4, 4)

FAULTS: dict[str, tuple[Callable[[], Sample], str, bool]] = {
    "1 image ignored everywhere": (lambda: sample("bad", labels=np.full((8, 10), 255, np.uint8)), "train bad", False),
    "1 image of one colour": (lambda: sample("bad", image=np.full((8, 10, 3), 128, np.uint8)), "train bad", False),
    "1 image with values that are not finite": (lambda: sample("bad", image=NAN), "train bad: 1 values", True),
    "1 image with labels that are no class": (
        lambda: sample("bad", labels=np.full((8, 10), 7, np.int32)), "train bad: 80 pixels", True,
    ),
    "1 image with objects whose mask has no pixel": (
        lambda: sample("bad", instances=objects(THING, (2, 2, 5, 5), labels=(1, 1), masks=EMPTY)),
        "train bad: 1 objects", False,
    ),
    "1 image with objects annotated twice": (
        lambda: sample("bad", instances=objects(THING, THING, (1, 1, 4, 5), labels=(1, 1, 1))),
        "train bad: 1 with the class and box of another", False,
    ),
    "1 image with boxes that have no area or reach out": (
        lambda: sample("bad", instances=objects(THING, (2, 2, 12, 5), (3, 3, 3, 5), labels=(1, 1, 1))),
        "train bad: 2 boxes", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FAULTS)
def test_every_fault_is_found_alone_and_named(what: str) -> None:
    make, where, broken = FAULTS[what]
    good = sample("good", instances=objects((1, 1, 4, 4), labels=(1,)))
    inspection = inspected(Listed(good, make(), good_too()))
    assert found(inspection, what) == (where,)
    assert inspection.broken == broken
    assert f"**{what}" in markdown(inspection)


def good_too() -> Sample:
    return sample("fine", seed=77)


def test_objects_of_a_class_without_instances_are_broken() -> None:
    inspection = inspected(Listed(sample("bad", instances=objects(THING, labels=(0,)))))
    assert found(inspection, "labels that are no class") == ("train bad: 1 objects",)


class Deadly(Listed):
    """A dataset whose reader takes its process with it."""

    def __getitem__(self, index: int) -> Sample:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_reading_process_that_is_killed_is_told() -> None:
    with pytest.raises(DatasetError, match="was ended by the system"):
        inspect_dataset(lambda split: Deadly(sample("a"), sample("b")), ["train"], workers=1)


@pytest.mark.real
def test_bccd_has_the_boxes_that_its_owners_count() -> None:
    opener = partial(VOCBoxes, Path(os.environ["COATSEG_REAL_DATA"]) / "bccd" / "BCCD", classes=None)
    inspection = inspect_dataset(opener, workers=0)
    counts = sum(split.class_objects for split in inspection.splits)
    # Two boxes of red cells are without area, which the reader says.
    assert dict(zip(inspection.info.classes, counts, strict=True)) == {"RBC": 4155 - 2, "WBC": 372, "Platelets": 361}
    assert [split.total for split in inspection.splits] == [205, 87, 72]
    assert sum(len(split.repairs) for split in inspection.splits) == 2
    assert not inspection.findings


def test_classes_that_only_other_splits_show_are_named() -> None:
    ground = np.zeros((8, 10), np.uint8)
    inspection = inspected(Listed(sample("a", labels=ground)), Listed(sample("b")))
    assert found(inspection, "1 class seen in other splits and not in train") == ("thing",)


def test_dark_deep_images_are_told_their_mean() -> None:
    dark = noise(1, dtype=np.uint16)
    inspection = inspected(Listed(sample("a", image=dark)))
    (place,) = found(inspection, "far from the stated mean [0.5,0.5,0.5]")
    assert place.startswith("train: data.mean=[0.00")


def test_repairs_and_places_are_told_in_the_report() -> None:
    many = [DatasetError(f"number {index}") for index in range(25)]
    inspection = inspected(Listed(sample("a"), *many, repairs=("2 boxes left out",)))
    report = markdown(inspection, [("samples", "samples.png")])
    assert "- train: 2 boxes left out" in report
    assert "- and 5 more, in inspection.json" in report
    assert "![samples](samples.png)" in report
    assert len(plain(inspection)["findings"][0]["where"]) == 25
