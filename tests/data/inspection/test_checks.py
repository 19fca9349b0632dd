"""What an inspection finds in files of the wrong kind: palettes, boxes in other units, masks elsewhere, few bits."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.folder import Folder
from coatseg.data.inspection import Inspection, inspect_dataset
from coatseg.data.inspection.tables import splits_table
from coatseg.structures import Instances, Sample
from tests.data.generate import label_map
from tests.data.inspection.listed import INFO, Listed, found, inspected, noise, objects, sample
from tests.data.rasters import write_tiff

BOX = (1, 1, 5, 5)


def is_broken(inspection: Inspection, what: str) -> bool:
    (finding,) = [finding for finding in inspection.findings if what in finding.what]
    return finding.broken


def of(instances: Instances, name: str = "a") -> Sample:
    return sample(name, instances=instances)


def crowded(instances: Instances) -> Instances:
    return replace(instances, crowd=np.ones(len(instances), bool))


IGNORED = np.full((8, 10), 255, np.uint8)
FRACTIONS = objects((0.1, 0.2, 0.5, 0.75), (0, 0, 1, 1), labels=(1, 1))
AWAY = np.zeros((2, 8, 10), bool)
AWAY[:, 6:, 8:] = True

NOTHING: dict[str, Callable[[str], Sample]] = {
    "every label is ignored": lambda name: sample(name, labels=IGNORED),
    "every object is a crowd": lambda name: of(crowded(objects(BOX, labels=(1,))), name),
    "no image has an object": lambda name: of(objects(labels=()), name),
}


@pytest.mark.parametrize("what", NOTHING)
def test_what_can_teach_nothing_is_broken_if_all_of_train_is_so(what: str) -> None:
    make = NOTHING[what]
    whole = Listed(make("a"), make("bb"), make("ccc"))
    assert is_broken(inspected(whole), what)
    assert not is_broken(inspected(whole, samples=2), what), "only some were read"
    good = of(objects(BOX, labels=(1,)), "good")
    val = inspected(Listed(good), whole)
    assert not is_broken(val, what)
    assert found(val, what)[0].startswith("val: ")
    mixed = inspected(Listed(make("a"), good))
    assert not [finding for finding in mixed.findings if what in finding.what]


def test_a_single_class_is_told() -> None:
    info = replace(INFO, classes=("thing",), palette=((0, 0, 0),), things=(0,))
    labels = np.zeros((8, 10), np.uint8)
    (finding,) = [
        one for one in inspected(Listed(sample("a", labels=labels), info=info)).findings if "single" in one.what
    ]
    assert finding.where == ("thing",)
    assert "task=multilabel" in finding.mend


def test_boxes_as_fractions_of_the_image_are_broken(tmp_path: Path) -> None:
    what = "fractions of the image"
    fractions = inspected(Listed(of(FRACTIONS), of(objects(labels=()), "b")))
    assert found(fractions, what) == ("train: 2 boxes",)
    assert is_broken(fractions, what)
    for good in (objects((0, 0, 1, 1), labels=(1,)), objects((0.2, 0.2, 2.5, 2), labels=(1,))):
        assert not any(what in finding.what for finding in inspected(Listed(of(good))).findings)


def test_masks_that_are_not_where_their_boxes_are() -> None:
    moved = objects(BOX, (1, 1, 4, 4), labels=(1, 1), masks=AWAY)
    what = "masks that are not where their boxes are"
    assert found(inspected(Listed(of(moved))), what) == ("train a: 2 objects",)
    there = np.zeros((3, 8, 10), bool)
    there[:, 1:5, 1:5] = True
    rest = objects(BOX, (1, 1, 4, 5), (1, 1, 5, 4), labels=(1, 1, 1), masks=there)
    assert not any(what in finding.what for finding in inspected(Listed(of(moved), of(rest, "b"))).findings)


def test_sixteen_bit_images_of_twelve_bits_are_told_with_what_to_state() -> None:
    info = replace(INFO, mean=(0.4,) * 3, std=(0.2,) * 3)
    image = (noise(1).astype(np.uint16) - 90) * 200  # up to 15,000 of 65,535
    (place,) = found(inspected(Listed(sample("a", image=image), info=info)), "far from the stated mean")
    assert place.startswith("train: data.mean=[")
    assert place.endswith(f"(no value is above {image.max()} of 65535: 14 bits in 16)")
    stated = replace(info, mean=(0.12,) * 3, std=(0.07,) * 3)
    assert not inspected(Listed(sample("a", image=image), info=stated)).findings


def write_palettes(root: Path, *palettes: dict[int, tuple[int, int, int]]) -> Path:
    """Write a mask of numbers 0 to 2 for each palette, and an image beside it."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number, palette in enumerate(palettes):
        flat = [value for index in range(256) for value in palette.get(index, (index, 0, 0))]
        mask = Image.fromarray(label_map((16, 16), (0, 1, 2), number))
        mask.putpalette(flat)
        mask.save(root / "masks" / f"{number}.png")
        Image.fromarray(noise(number, (16, 16))).save(root / "images" / f"{number}.png")
    (root / "train.txt").write_text("".join(f"{number}\n" for number in range(len(palettes))))
    (root / "classes.txt").write_text("ground\nred\nblue\n")
    return root


RED, BLUE = (255, 0, 0), (0, 0, 255)


def test_palettes_that_swap_classes_from_file_to_file(tmp_path: Path) -> None:
    root = write_palettes(tmp_path, {1: RED, 2: BLUE}, {1: BLUE, 2: RED}, {1: RED, 2: BLUE, 7: BLUE})
    inspection = inspect_dataset(partial(Folder, root), ["train"], workers=0)
    (finding,) = [one for one in inspection.findings if "palette" in one.what]
    assert finding.where == ("train 1: 1 is 0 0 255, and 255 0 0 in train 0",)
    assert "as if classes were swapped" in finding.what
    assert "data.colour_masks=true" in finding.mend


def test_palettes_that_differ_where_no_pixel_is_are_the_same(tmp_path: Path) -> None:
    root = write_palettes(tmp_path, {1: RED, 2: BLUE}, {1: RED, 2: BLUE, 200: RED})
    inspection = inspect_dataset(partial(Folder, root), ["train"], workers=0)
    assert not [one for one in inspection.findings if "palette" in one.what]


def write_nodata(root: Path, *, value: float = -9999, dtype: type = np.float32, **options: object) -> Path:
    """Write four GeoTIFFs of 16 x 16, whose left quarter holds `value`, stated unless the options say otherwise."""
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        image = np.random.default_rng(number).normal(5, 2, (16, 16, 1)).astype(dtype)
        image[:, :4] = value
        write_tiff(root / "images" / f"{number}.tif", image, **{"nodata": value, **options})
        Image.fromarray(label_map((16, 16), (0, 1), number)).save(root / "masks" / f"{number}.png")
    (root / "train.txt").write_text("0\n1\n2\n")
    (root / "val.txt").write_text("3\n")
    (root / "classes.txt").write_text("ground\nthing\n")
    return root


def test_nodata_is_left_out_of_the_statistics_and_its_share_told(tmp_path: Path) -> None:
    root = write_nodata(tmp_path)
    options = {"channels": 1, "mean": [5], "std": [2]}
    for given in ({}, {"nodata": "stated"}, {"nodata": -9999}):
        inspection = inspect_dataset(partial(Folder, root, **options, **given), workers=0)
        for split in inspection.splits:
            mean, std = split.statistics
            assert mean[0] == pytest.approx(5, abs=0.6)
            assert std[0] == pytest.approx(2, abs=0.4)
        assert dict(row[:2] for row in splits_table(inspection.splits).rows)["pixels without data"] == "25.00%"
        told = [one for one in inspection.findings if "states for no data" in one.what]
        assert bool(told) != bool(given)
        if told:
            assert "25.0% of it is -9999" in told[0].where[0]
            assert "data.nodata=stated" in told[0].mend
