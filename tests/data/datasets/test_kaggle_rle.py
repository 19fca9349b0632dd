import csv

import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.objects.options import ClassChoice
from coatseg.data.datasets.kaggle_rle import KaggleRle
from coatseg.data.trees.annotation_files import AnnotationFiles
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.formats import kaggle_runs, write_kaggle_rle

HALF = AnnotationFiles(images="images", annotations="train.csv", split_by="fraction", val_fraction=0.5)


class TestKaggleRle(DatasetContract):
    def make(self, root):
        return KaggleRle(write_kaggle_rle(root), "train", files=HALF)


class TestPainted(DatasetContract):
    def make(self, root):
        return KaggleRle(write_kaggle_rle(root), "train", files=HALF, semantic=True)


def one(root, *rows, header=("ImageId", "EncodedPixels"), size=(5, 4), **options):
    """Read an image of zeros with these rows, from the split train/."""
    path = root / "train" / "images" / "x.png"
    path.parent.mkdir(exist_ok=True, parents=True)
    Image.new("RGB", size[::-1]).save(path)
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    files = AnnotationFiles(**{"images": "images", "annotations": "train.csv", **options.pop("files", {})})
    return KaggleRle(root, "train", files=files, **options)


def test_pixels_are_counted_from_1_down_the_columns(tmp_path):
    objects = one(tmp_path, ["x.png", "2 3 12 1 20 1"], ["x", "5 2"])[0].instances
    expected = np.zeros((2, 5, 4), bool)
    expected[0, 1:4, 0] = expected[0, 1, 2] = expected[0, 4, 3] = True
    expected[1, 4, 0] = expected[1, 0, 1] = True
    np.testing.assert_array_equal(objects.masks, expected)
    assert objects.boxes.tolist() == [[0, 1, 4, 5], [0, 0, 2, 5]]


def test_run_lengths_written_are_read_back(tmp_path):
    masks = np.random.default_rng(0).random((30, 5, 4)) < 0.4
    dataset = one(tmp_path, *(["x", kaggle_runs(mask)] for mask in masks))
    np.testing.assert_array_equal(dataset[0].instances.masks, masks[masks.any((1, 2))])
    for mask, box in zip(dataset[0].instances.masks, dataset[0].instances.boxes, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]


@pytest.mark.parametrize("runs", ["", "-1", " "])
def test_a_row_may_say_that_there_is_no_object(tmp_path, runs):
    assert len(one(tmp_path, ["x.png", runs])[0].instances) == 0


@pytest.mark.parametrize(
    ("runs", "said"),
    [
        ("1 2 3", "has 3 numbers as run lengths, which are no pairs"),
        ("1 3 3 2", "has the run 3 2, which overlaps the one before it, or comes before it"),
        ("10 2 1 2", "has the run 1 2, which overlaps"),
        ("19 3", "has the run 19 3, which ends outside its image of 5x4 pixels"),
        ("0 3", "has the run 0 3, and pixels are counted from 1"),
        ("3 0", "has the run 3 0, which has no pixel"),
        ("1 2.5", "has run lengths that are no whole numbers: '1 2.5'"),
        ("[1, 2]", "has run lengths that are no whole numbers"),
        ("1 99999999999999999999", "has run lengths that are no whole numbers"),
    ],
)
def test_run_lengths_that_make_no_sense_are_named(tmp_path, runs, said):
    with pytest.raises(DatasetError, match=rf"train.csv, line 3 {said}".replace("[", r"\[")):
        one(tmp_path, ["x", "1 2"], ["x", runs])


def test_objects_of_one_image_may_overlap_and_touching_runs_are_fine(tmp_path):
    assert one(tmp_path, ["x", "1 2 3 2"], ["x", "1 4"])[0].instances.masks.sum((1, 2)).tolist() == [4, 4]


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        (("ImageId", "EncodedPixels", "ClassId"), None),
        (("id", "rle", "label"), None),
        (("image_id", "segmentation", "class"), None),
        (("photo", "runs", "kind"), {"image": "photo", "runs": "runs", "class": "kind"}),
    ],
)
def test_columns_are_found_by_their_names(tmp_path, header, columns):
    rows = [["x", "1 2", "10"], ["x", "5 1", "9"]]
    dataset = one(tmp_path, *rows, header=header, columns=columns)
    assert dataset.info.classes == ("9", "10")
    assert dataset[0].instances.labels.tolist() == [1, 0]


def test_an_image_and_its_class_may_be_one_column(tmp_path):
    dataset = one(tmp_path, ["x.png_2", "1 2"], ["x.png_1", ""], header=("ImageId_ClassId", "EncodedPixels"))
    assert dataset.info.classes == ("1", "2")
    assert dataset[0].instances.labels.tolist() == [1]


def test_columns_that_are_not_read_are_said_and_unknown_ones_named(tmp_path):
    dataset = one(tmp_path, ["x", "1 2", "4"], header=("ImageId", "EncodedPixels", "width"))
    assert dataset.repairs == ("columns of train.csv that are not read: width",)
    with pytest.raises(DatasetError, match=r"no column of run lengths that is known; it has ImageId, pixels\.\nName"):
        one(tmp_path, ["x", "1 2"], header=("ImageId", "pixels"))
    with pytest.raises(ConfigError, match=r"data.columns.runs=Pixels is no column of .*train.csv"):
        one(tmp_path, ["x", "1 2"], header=("ImageId", "pixels"), columns={"runs": "Pixels"})


def test_label_maps_have_a_row_a_class(tmp_path):
    rows = [["x", "1 4", "a"], ["x", "3 2", "b"]]
    dataset = one(tmp_path, *rows, header=("ImageId", "EncodedPixels", "ClassId"), semantic=True)
    assert dataset.info.classes == ("background", "a", "b")
    assert dataset[0].label_map[:, 0].tolist() == [1, 1, 2, 2, 0]
    assert not dataset[0].label_map[:, 1:].any()


def test_images_without_a_row_and_rows_without_an_image_are_not_passed_over(tmp_path):
    write_kaggle_rle(tmp_path)
    rows = (tmp_path / "train.csv").read_text().splitlines(keepends=True)
    (tmp_path / "train.csv").write_text("".join(row for row in rows if not row.startswith("0000")))
    with pytest.raises(
        DatasetError, match=r"1 of \d+ images in the split 'train' .* no row in .*train.csv; .*0000.png"
    ):
        KaggleRle(tmp_path, "train")
    files = AnnotationFiles(images="images", annotations="train.csv", split_by="fraction", without_annotation="empty")
    dataset = KaggleRle(tmp_path, "train", files=files)
    assert len(dataset[0].instances) == 0
    assert dataset.repairs == ("1 image without annotations taken to show no object (first: 0000.png)",)
    (tmp_path / "train.csv").write_text("".join([*rows, "elsewhere.png,1 2,person\n"]))
    with pytest.raises(DatasetError, match=f"train.csv, line {len(rows) + 1} is of the image 'elsewhere.png'"):
        KaggleRle(tmp_path, "train")


def test_each_split_may_have_a_csv_of_its_own(tmp_path):
    one(tmp_path, ["x", "1 2"])
    (tmp_path / "train.csv").rename(tmp_path / "training_rle.csv")
    files = AnnotationFiles(images="images", annotations="SPLIT_rle.csv", split_by="folders")
    assert len(KaggleRle(tmp_path, "train", files=files)[0].instances) == 1


def test_a_csv_that_is_missing_or_broken_is_named(tmp_path):
    one(tmp_path, ["x", "1 2"])
    files = AnnotationFiles(images="images", annotations="labels.csv", split_by="folders")
    with pytest.raises(DatasetNotFoundError, match=r"There is no .*labels.csv\.\nThere is train.csv"):
        KaggleRle(tmp_path, "train", files=files)
    with pytest.raises(DatasetError, match=r"train.csv, line 3 has 3 fields, and the header 2"):
        one(tmp_path, ["x", "1 2"], ["x", "1", "2"])
    with pytest.raises(DatasetError, match=r"train.csv has no rows"):
        one(tmp_path)
    with pytest.raises(DatasetError, match=r"train.csv, line 2 has no image"):
        one(tmp_path, ["", "1 2"])
    (tmp_path / "train.csv").write_bytes(b"ImageId,EncodedPixels\n\xff,1 2\n")
    with pytest.raises(DatasetError, match=r"train.csv cannot be read as csv"):
        KaggleRle(tmp_path, "train", files=AnnotationFiles(images="images", annotations="train.csv"))


def test_classes_are_chosen_by_name(tmp_path):
    dataset = KaggleRle(write_kaggle_rle(tmp_path), "train", choice=ClassChoice(classes=["toothbrush", "person"]))
    assert dataset.info.classes == ("toothbrush", "person")
    assert dataset[0].instances.labels.tolist() == [1, 0, 1]


def test_a_field_may_be_longer_than_the_limit_of_csv(tmp_path):
    runs = " ".join(f"{start} 1" for start in range(1, 40000, 2))
    assert len(runs) > 131072
    assert one(tmp_path, ["x", runs], size=(200, 200))[0].instances.masks.sum() == 20000
