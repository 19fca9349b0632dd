"""Trees of images and masks as annotation tools write them, read by `folder` and `instance_masks`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.folder import Folder
from coatseg.data.datasets.instance_masks import InstanceMasks
from coatseg.data.trees.splits import Splits
from coatseg.errors import DatasetError
from coatseg.structures import Dataset
from tests.contracts.dataset import DatasetContract
from tests.data.rasters import write_tiff
from tests.docs.pages import ROOT, code_blocks

LABELS = np.array([[0, 1, 1, 0], [2, 2, 0, 0], [0, 0, 1, 2]], np.uint8)
"""The labels of every image here: 0 for background, 1 for cat, 2 for dog."""
NAMES = ("background", "cat", "dog")
COLOURS = np.array([(0, 0, 0), (250, 50, 83), (51, 221, 255)], np.uint8)
ALL = Splits(val_fraction=1e-9)
"""Splits by a fraction that leaves all images in train."""


def write_image(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(COLOURS[LABELS] if pixels is None else pixels).save(path)


def write_text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def write_cvat(root: Path, subset: str = "default") -> Path:
    """Write CVAT's "Segmentation mask 1.1" with images, which is datumaro's voc_segmentation too."""
    for stem in ("a", "town/b"):
        write_image(root / f"JPEGImages/{stem}.png")
        write_image(root / f"SegmentationClass/{stem}.png", COLOURS[LABELS])
        write_image(root / f"SegmentationObject/{stem}.png", COLOURS[LABELS])
    write_text(root / f"ImageSets/Segmentation/{subset}.txt", "a", "town/b")
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in zip(NAMES, COLOURS, strict=True)]
    write_text(root / "labelmap.txt", "# label:color_rgb:parts:actions", *lines)
    return root


def write_roboflow(root: Path) -> Path:
    """Write Roboflow's "Semantic Segmentation Masks", whose numbers here have gaps."""
    numbers = np.array([0, 2, 5], np.uint8)
    for split in ("train", "valid", "test"):
        for stem in ("a_jpg.rf.3f", "b_jpg.rf.77"):
            write_image(root / split / f"{stem}.jpg")
            write_image(root / split / f"{stem}_mask.png", numbers[LABELS])
        write_text(root / split / "_classes.csv", "Pixel Value, Class", "0, background", "2, cat", "5, dog")
    return root


def write_datumaro_camvid(root: Path, black: bool = False) -> Path:
    """Write datumaro's camvid, whose list of colours has no background, unless `black` gives it one."""
    for split in ("train", "val"):
        write_image(root / split / "x.jpg")
        write_image(root / f"{split}annot" / "x.png", COLOURS[LABELS])
        write_text(root / f"{split}.txt", f"/{split}/x.jpg {split}annot/x.png")
    lines = [f"{red} {green} {blue} {name}" for (red, green, blue), name in zip(COLOURS, NAMES, strict=True)]
    write_text(root / "label_colors.txt", *lines[not black :])
    return root


CVAT = {"images": "JPEGImages", "masks": "SegmentationClass", "classes": "labelmap.txt", "colour_masks": True}
ROBOFLOW = {"images": ".", "masks": ".", "mask_ending": "_mask", "classes": "train/_classes.csv"}
CAMVID = {"classes": "label_colors.txt", "colour_masks": True, "splits": Splits()}


class TestCvat(DatasetContract):
    def make(self, root: Path) -> Dataset:
        return Folder(write_cvat(root), "train", **CVAT, splits=ALL)


class TestRoboflowSemantic(DatasetContract):
    def make(self, root: Path) -> Dataset:
        return Folder(write_roboflow(root), "val", **ROBOFLOW)


class TestDatumaroCamvid(DatasetContract):
    def make(self, root: Path) -> Dataset:
        return Folder(write_datumaro_camvid(root), "val", **CAMVID)


def test_cvat_masks_are_read_by_the_colours_of_labelmap(tmp_path: Path) -> None:
    dataset = Folder(write_cvat(tmp_path), "train", **CVAT, splits=ALL)
    assert dataset.info.classes == ("background", "cat", "dog")
    assert [sample.id for sample in dataset] == ["a", "town/b"]
    for sample in dataset:
        np.testing.assert_array_equal(sample.label_map, LABELS)


@pytest.mark.parametrize(("subset", "split"), [("train", "train"), ("validation", "val")])
def test_cvat_subsets_are_splits_by_their_lists(tmp_path: Path, subset: str, split: str) -> None:
    assert len(Folder(write_cvat(tmp_path, subset), split, **CVAT)) == 2


def test_cvat_without_images_in_the_export_is_told(tmp_path: Path) -> None:
    write_cvat(tmp_path)
    (tmp_path / "JPEGImages").rename(tmp_path / "elsewhere")
    with pytest.raises(Exception, match=r"There is no folder .*JPEGImages"):
        Folder(tmp_path, "train", **CVAT)


def test_cvat_read_without_options_is_led_to_them_error_by_error(tmp_path: Path) -> None:
    write_cvat(tmp_path)
    typed: dict[str, object] = {}
    for key, value, advice in (
        ("classes", "labelmap.txt", "set data.classes=labelmap.txt"),
        ("folders", None, "set data.images=JPEGImages data.masks=SegmentationClass"),
        ("colour_masks", True, "data.colour_masks=true"),
    ):
        with pytest.raises(Exception, match=advice):
            Folder(tmp_path, "train", splits=ALL, **typed).verify(0)
        typed |= {"images": CVAT["images"], "masks": CVAT["masks"]} if key == "folders" else {key: value}
    Folder(tmp_path, "train", splits=ALL, **typed).verify(0)


def test_roboflow_semantic_numbers_are_mapped_by_its_csv(tmp_path: Path) -> None:
    dataset = Folder(write_roboflow(tmp_path), "test", **ROBOFLOW)
    assert dataset.info.classes == ("background", "cat", "dog")
    assert [sample.id for sample in dataset] == ["a_jpg.rf.3f", "b_jpg.rf.77"]
    np.testing.assert_array_equal(dataset[1].label_map, LABELS)


def test_roboflow_semantic_windows_are_mapped_as_well(tmp_path: Path) -> None:
    dataset = Folder(write_roboflow(tmp_path), "train", **ROBOFLOW, window=(2, 2))
    label_map = dataset.drawn(0, seed=3).label_map
    assert label_map is not None
    y, x = map(int, dataset.drawn(0, seed=3).id.partition("@")[2].split(","))
    np.testing.assert_array_equal(label_map, LABELS[y : y + 2, x : x + 2])


@pytest.mark.parametrize("number", [1, 255])
def test_roboflow_semantic_numbers_that_its_csv_lacks_are_refused(tmp_path: Path, number: int) -> None:
    write_roboflow(tmp_path)
    mask = np.zeros((3, 4), np.uint8)
    mask[1, 2] = number
    write_image(tmp_path / "train/a_jpg.rf.3f_mask.png", mask)
    with pytest.raises(DatasetError, match=rf"(?s)holds the number {number}, first at \(x=2, y=1\).*_classes.csv"):
        Folder(tmp_path, "train", **ROBOFLOW).verify(0)


def test_roboflow_semantic_csv_of_another_split_has_to_be_the_same(tmp_path: Path) -> None:
    write_text(write_roboflow(tmp_path) / "valid/_classes.csv", "Pixel Value, Class", "0, background", "1, cat")
    with pytest.raises(DatasetError, match=r"train/_classes.csv and .*valid/_classes.csv list other classes"):
        Folder(tmp_path, "train", **ROBOFLOW)


def test_datumaro_camvid_is_read_by_its_lists_and_colours(tmp_path: Path) -> None:
    dataset = Folder(write_datumaro_camvid(tmp_path), "train", **CAMVID)
    assert dataset.info.classes == ("cat", "dog")
    assert dataset.info.palette == ((250, 50, 83), (51, 221, 255))
    assert dataset.repairs == ("label_colors.txt has no class of 0 0 0: pixels of that colour are left out",)
    expected = np.where(LABELS == 0, 255, LABELS - 1)
    np.testing.assert_array_equal(dataset[0].label_map, expected)
    with_black = Folder(write_datumaro_camvid(tmp_path, black=True), "train", **CAMVID)
    assert (with_black.info.classes, with_black.repairs) == (("background", "cat", "dog"), ())
    np.testing.assert_array_equal(with_black[0].label_map, LABELS)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_cellpose_masks_beside_the_images_are_objects(tmp_path: Path, suffix: str) -> None:
    write_image(tmp_path / "x.png")
    if suffix == ".png":
        write_image(tmp_path / "x_cp_masks.png", LABELS.astype(np.uint16))
    else:
        write_tiff(tmp_path / "x_cp_masks.tif", LABELS[..., None].astype(np.uint32))
    dataset = InstanceMasks(tmp_path, "train", images=".", masks=".", mask_ending="_cp_masks", splits=ALL)
    assert [sample.id for sample in dataset] == ["x"]
    instances = dataset[0].instances
    assert instances is not None
    np.testing.assert_array_equal(instances.masks, [LABELS == 1, LABELS == 2])


def test_masks_of_layers_may_have_an_ending(tmp_path: Path) -> None:
    write_text(tmp_path / "classes.txt", "cat", "dog")
    write_image(tmp_path / "a.jpg")
    for number, name in ((1, "cat"), (2, "dog")):
        write_image(tmp_path / f"{name}/a_mask.png", np.uint8(number == LABELS) * 255)
    dataset = Folder(tmp_path, "train", images=".", masks=".", mask_ending="_mask", layers=True, splits=ALL)
    layers = dataset[0].layers
    assert layers is not None
    np.testing.assert_array_equal(layers, np.stack([LABELS == 1, LABELS == 2], -1))


def test_label_studio_brush_masks_become_layers_by_the_recipe_of_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat, dog, left = LABELS == 1, LABELS == 2, np.arange(4) < 2
    strokes = {"black cat-0": cat & left, "black cat-1": cat & ~left, "hot-dog-0": dog}
    for number, stem in ((1, "x"), (12, "y")):
        write_image(tmp_path / f"mine/images/{stem}.jpg")
        for name, stroke in strokes.items():
            write_image(
                tmp_path / f"brush/task-{number}-annotation-7-by-me@here.org-tag-{name}.png", np.uint8(stroke) * 255
            )
    tasks = [
        {"id": number, "data": {"image": f"/data/upload/4/{name}.jpg"}}
        for number, name in ((1, "0a1b2c3d-x"), (12, "y"))
    ]
    write_text(tmp_path / "project.json", json.dumps(tasks))
    write_text(tmp_path / "mine/classes.txt", "black cat", "hot-dog")
    (recipe,) = (block for block in code_blocks((ROOT / "data/README.md").read_text()) if "task-(" in block)
    monkeypatch.chdir(tmp_path)
    exec(recipe, {})
    dataset = Folder(tmp_path / "mine", "train", layers=True, splits=ALL)
    assert [sample.id for sample in dataset] == ["x", "y"]
    for sample in dataset:
        np.testing.assert_array_equal(sample.layers, np.stack([cat, dog], -1))


def test_an_ome_tiff_is_paired_with_the_mask_of_its_stem(tmp_path: Path) -> None:
    write_text(tmp_path / "classes.txt", "background", "cat", "dog")
    write_image(tmp_path / "images/x.ome.tif")
    write_image(tmp_path / "masks/x.png", LABELS)
    dataset = Folder(tmp_path, "train", splits=ALL)
    assert dataset[0].id == "x"
    np.testing.assert_array_equal(dataset[0].label_map, LABELS)


def test_folders_behind_symbolic_links_are_read(tmp_path: Path) -> None:
    write_text(tmp_path / "mine/classes.txt", "background", "cat", "dog")
    for kind, pixels in (("images", None), ("masks", LABELS)):
        write_image(tmp_path / f"store/{kind}/b.png", pixels)
        write_image(tmp_path / f"mine/{kind}/a.png", pixels)
        (tmp_path / f"mine/{kind}/day").symlink_to(tmp_path / f"store/{kind}")
        (tmp_path / f"mine/{kind}/loop").symlink_to(tmp_path / "mine")
    assert [sample.id for sample in Folder(tmp_path / "mine", "train", splits=ALL)] == ["a", "day/b"]
    assert len(InstanceMasks(tmp_path / "mine", "train", splits=ALL)) == 2
