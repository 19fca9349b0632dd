"""The folders and lists of a dataset of one's own, in the layouts that tools write."""

import json
from pathlib import Path

import pytest
from PIL import Image

from coatseg.data.trees.pairs import OwnTree, files_by_stem
from coatseg.data.trees.splits import Splits, find_pairs, names_of_split
from coatseg.errors import CoatsegError, ConfigError, DatasetError, DatasetNotFoundError, SplitNotFoundError

ALL = Splits(val_fraction=1e-9)
"""Splits by a fraction that leaves all images in train."""


@pytest.fixture
def made(tmp_path):
    """Write files by their paths: images of 4 x 3 pixels."""

    def make(*images):
        for name in images:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 3)).save(path)
        return tmp_path

    return make


def write(root: Path, name: str, *lines: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("".join(f"{line}\n" for line in lines))


def found(root, images, masks, split="train", splits=ALL, **options):
    """The id of every image with the names of its two files, by their paths."""
    pairs = find_pairs(OwnTree(root, images, masks, **options), split, splits).pairs
    return [(pair.id, *(str(path.relative_to(root)) for path in (pair.image, pair.mask))) for pair in pairs]


def test_roboflow_semantic_split_folders_hold_both_and_valid_is_val(made):
    root = made("train/a.jpg", "train/a_mask.png", "valid/b.jpg", "valid/b_mask.png", "test/c.jpg", "test/c_mask.png")
    for split, name, stem in (("train", "train", "a"), ("val", "valid", "b"), ("test", "test", "c")):
        expected = [(stem, f"{name}/{stem}.jpg", f"{name}/{stem}_mask.png")]
        assert found(root, ".", ".", split, Splits(), mask_ending="_mask") == expected


def test_cellpose_masks_lie_beside_their_images(made):
    root = made("a.png", "a_cp_masks.png", "more/b.tif", "more/b_cp_masks.tif")
    assert found(root, ".", ".", mask_ending="_cp_masks") == [
        ("a", "a.png", "a_cp_masks.png"),
        ("more/b", "more/b.tif", "more/b_cp_masks.tif"),
    ]


def test_a_mask_beside_the_images_whose_image_is_gone_is_counted(made):
    tree = OwnTree(made("a.png", "a_mask.png", "b_mask.png"), ".", ".", mask_ending="_mask")
    assert find_pairs(tree, "train", ALL).repairs == ("1 mask without an image left out (first: b_mask.png)",)


@pytest.mark.parametrize(("images", "masks"), [(".", "masks"), ("images", ".")])
def test_a_folder_inside_the_other_is_not_read_twice(made, images, masks):
    root = made(f"{images}/a.jpg", f"{masks}/a.png")
    assert [one[0] for one in found(root, images, masks)] == ["a"]


@pytest.mark.parametrize("inner", [True, False])
def test_images_of_a_split_may_lie_in_its_folder_and_their_masks_in_another(made, inner):
    masks = "masks/train/a.png" if inner else "train/masks/a.png"
    assert found(made("train/a.jpg", masks), ".", "masks", splits=Splits()) == [("a", "train/a.jpg", masks)]


def test_one_folder_without_an_ending_names_the_ending_that_is_there(made):
    root = made("a.png", "a_cp_masks.png", "a.jpg")
    with pytest.raises(ConfigError, match=r"(?s)are one folder.*a_cp_masks lies beside a: set data.mask_ending=_cp_ma"):
        found(root, ".", ".")
    (root / "a_cp_masks.png").unlink()
    with pytest.raises(ConfigError, match=r"(?s)are one folder.*Set data.mask_ending to what"):
        found(root, ".", ".")


def test_annotations_of_another_kind_are_found_by_the_same_splits(made):
    root = made("train/a.jpg", "train/b.jpg")
    write(root, "train/a.json", json.dumps({}))
    options = {"suffixes": frozenset({".json"}), "option": "annotations"}
    with pytest.raises(DatasetError, match=r"(?s)train/b.jpg has no annotation file in .*Add .*train/b.json"):
        found(root, ".", ".", splits=Splits(), **options)
    assert found(root, ".", ".", splits=Splits(), missing=True, **options) == [
        ("a", "train/a.jpg", "train/a.json"),
        ("b", "train/b.jpg", "train/b.json"),
    ]
    with pytest.raises(DatasetNotFoundError, match=r"There is JPEGImages/|There is no folder .*labels"):
        found(root, ".", "labels", splits=Splits(), **options)


@pytest.mark.parametrize("name", ["x.ome.tif", "x.OME.TIF", "x.tif"])
def test_the_mask_of_an_ome_tiff_has_its_stem(made, name):
    assert found(made(f"images/{name}", "masks/x.png"), "images", "masks") == [("x", f"images/{name}", "masks/x.png")]


def test_names_of_splits_are_taken_for_each_other(made):
    assert names_of_split("valid") == ("valid", "val", "validation")
    assert names_of_split("holdout") == ("holdout",)
    root = made("training/images/a.png", "training/masks/a.png", "images/testing/b.png", "masks/testing/b.png")
    assert [one[0] for one in found(root, "images", "masks", "train", Splits())] == ["a"]
    assert [one[0] for one in found(root, "images", "masks", "test", Splits())] == ["b"]
    write(root, "lists/validation.txt", "testing/b")
    assert [one[0] for one in found(root, "images", "masks", "val", Splits(lists="lists"))] == ["testing/b"]


def test_two_folders_that_may_be_the_split_are_named(made):
    root = made(*(f"{split}/{kind}/a.png" for split in ("valid", "validation") for kind in ("images", "masks")))
    with pytest.raises(DatasetError, match=r"valid and validation, both of which may be the split 'val'"):
        found(root, "images", "masks", "val", Splits())
    assert len(found(root, "images", "masks", "validation", Splits())) == 1
    for split in ("valid", "validation"):
        write(root, f"lists/{split}.txt", "valid/images/a")
    with pytest.raises(DatasetError, match=r"lists has valid.txt and validation.txt, both of which may list"):
        found(root, ".", ".", "val", Splits(lists="lists"))


def test_all_splits_are_by_the_lists_of_one_place(made):
    root = made(*(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "ab"))
    write(root, "train.txt", "a")
    write(root, "ImageSets/Segmentation/train.txt", "b")
    write(root, "ImageSets/Segmentation/val.txt", "a")
    assert [one[0] for one in found(root, "images", "masks", splits=Splits())] == ["a"]
    with pytest.raises(SplitNotFoundError, match=r"(?s)has no list val.txt.*Choices: train"):
        found(root, "images", "masks", "val", Splits())


@pytest.mark.parametrize("splits", [Splits(), Splits(lists="ImageSets/Segmentation"), Splits(split_by="lists")])
def test_lists_where_voc_keeps_them(made, splits):
    root = made(*(f"{kind}/{stem}.png" for kind in ("JPEGImages", "SegmentationClass") for stem in "ab"))
    write(root, "ImageSets/Segmentation/train.txt", "b")
    assert found(root, "JPEGImages", "SegmentationClass", splits=splits) == [
        ("b", "JPEGImages/b.png", "SegmentationClass/b.png")
    ]


@pytest.mark.parametrize("line", ["t/a", "t/a.jpg", "images/t/a.jpg", "./images/t/a.jpg", r"images\t\a.jpg", "/t/a"])
def test_a_line_of_a_list_is_a_stem_or_a_path(made, line):
    root = made("images/t/a.jpg", "masks/t/a.png")
    write(root, "train.txt", line)
    assert found(root, "images", "masks", splits=Splits()) == [("t/a", "images/t/a.jpg", "masks/t/a.png")]


@pytest.mark.parametrize(
    "line",
    ["/train/x y.jpg trainannot/x y.png", "train/x y.jpg\ttrainannot/x y.png", '"/train/x y.jpg" "trainannot/x y.png"'],
)
def test_datumaro_camvid_lists_name_an_image_and_its_mask(made, line):
    root = made("train/x y.jpg", "trainannot/x y.png")
    write(root, "train.txt", line)
    splits = Splits(split_by="lists")
    assert found(root, "images", "masks", splits=splits) == [("train/x y", "train/x y.jpg", "trainannot/x y.png")]
    (root / "trainannot/x y.png").unlink()
    with pytest.raises(DatasetError, match=r"train.txt, entry 1: the image .*x y.jpg has no mask .*trainannot/x y.png"):
        found(root, "images", "masks", splits=splits)
    (root / "train/x y.jpg").unlink()
    with pytest.raises(DatasetError, match=r"train.txt, entry 1: there is no image .*train/x y.jpg"):
        found(root, "images", "masks", splits=splits)


def test_a_list_of_all_images_is_split_by_a_fraction_or_folds(made):
    root = made(*(f"{kind}/{stem}.png" for kind in ("images", "masks") for stem in "abcdefgh"))
    write(root, "default.txt", *"abcdef")
    for by in ({"val_fraction": 0.5}, {"split_by": "fold", "folds": 2}):
        splits = Splits(lists="default.txt", **by)
        train, val = ({one[0] for one in found(root, "images", "masks", split, splits)} for split in ("train", "val"))
        assert train | val == set("abcdef")
        assert not train & val


def test_a_list_that_does_not_fit_the_way_to_split_is_told(made):
    root = made("images/a.png", "masks/a.png")
    write(root, "lists/default.txt", "a")
    for options, message in (
        ({"lists": "nowhere"}, r"There is no .*nowhere"),
        ({"lists": "lists", "split_by": "fraction"}, r"a folder of lists, which data.split_by=fraction does not read"),
        ({"lists": "lists/default.txt", "split_by": "lists"}, r"(?s)one list of images.*split_by=fraction or data.spl"),
        ({"lists": "lists"}, r"(?s)lists has no list train.txt.*set data.lists=lists/default.txt to split its images"),
    ):
        with pytest.raises(CoatsegError, match=message):
            found(root, "images", "masks", splits=Splits(**options))


def test_voc_with_a_list_of_all_images_alone_says_how_to_split_it(made):
    root = made("JPEGImages/a.png", "SegmentationClass/a.png")
    write(root, "ImageSets/Segmentation/default.txt", "a")
    with pytest.raises(SplitNotFoundError, match=r"set data.lists=ImageSets/Segmentation/default.txt to split"):
        found(root, "JPEGImages", "SegmentationClass", splits=Splits(split_by="lists"))
    assert len(found(root, "JPEGImages", "SegmentationClass")) == 1


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["JPEGImages/a.jpg", "SegmentationClass/a.png"],
            "There are JPEGImages/ and SegmentationClass/: set data.images=JPEGImages data.masks=SegmentationClass.",
        ),
        (["a.jpg", "Masks/a.png"], "There is Masks/: set data.masks=Masks data.images=."),
        (["a.jpg", "a_mask.png"], "a_mask lies beside a: set data.images=. data.masks=. data.mask_ending=_mask."),
        (
            ["imgs/a.jpg", "imgs/a_mask.png"],
            "a_mask lies beside a: set data.images=imgs data.masks=imgs data.mask_ending=_mask.",
        ),
        (["train/a.jpg", "train/a_mask.png"], "set data.images=. data.masks=. data.mask_ending=_mask."),
        (["default/a.jpg", "defaultannot/a.png"], "holds default/, defaultannot/. Make images/"),
        (["one/a.jpg", "other/a.png", "c.jpg", "d.jpg"], "holds c.jpg, d.jpg, one/, and 1 more. Make images/"),
    ],
)
def test_a_missing_folder_is_told_the_options_for_what_is_there(made, files, message):
    with pytest.raises(CoatsegError) as raised:
        found(made(*files), "images", "masks", splits=Splits())
    assert message in raised.value.mend


@pytest.mark.parametrize(
    ("mask", "options", "message"),
    [
        ("a_mask.png", {}, "There is a_mask.png: set data.mask_ending=_mask. Add "),
        ("a.png", {"mask_ending": "_mask"}, "There is a.png: leave data.mask_ending out. Add "),
        ("b.png", {}, "masks holds b.png. Add "),
    ],
)
def test_an_image_without_a_mask_is_told_what_is_there(made, mask, options, message):
    with pytest.raises(DatasetError) as raised:
        found(made("images/a.jpg", f"masks/{mask}"), "images", "masks", **options)
    assert message in raised.value.mend


def test_images_without_a_mask_may_be_left_out_and_are_counted(made):
    root = made("images/a.png", "images/b.png", "images/c.png", "masks/a.png", "masks/d.png")
    every = find_pairs(OwnTree(root, "images", "masks", leave_out=True), "train", ALL)
    assert [pair.id for pair in every.pairs] == ["a"]
    assert every.repairs == (
        "1 mask without an image left out (first: d.png)",
        "2 images without a mask left out (first: b)",
    )
    write(root, "train.txt", "c", "a")
    listed = find_pairs(OwnTree(root, "images", "masks", leave_out=True), "train", Splits())
    assert ([pair.id for pair in listed.pairs], listed.repairs) == (
        ["a"],
        ("1 image without a mask left out (first: c)",),
    )


def test_datumaro_camvid_lists_images_without_annotations_alone(made):
    root = made("train/a.jpg", "train/c.jpg", "trainannot/a.png")
    write(root, "train.txt", "/train/a.jpg trainannot/a.png", "/train/c.jpg ")
    with pytest.raises(
        DatasetError, match=r"(?s)entry 2: the image .*train/c.jpg is named without its mask.*leave_out"
    ):
        found(root, "images", "masks", splits=Splits())
    with pytest.raises(DatasetError, match=r"entry 2: the image .*train/c.jpg is named without its mask"):
        found(root, ".", ".", splits=Splits(split_by="lists"))
    expected = [("train/a", "train/a.jpg", "trainannot/a.png")]
    assert found(root, "images", "masks", splits=Splits(), leave_out=True) == expected
    assert found(root, ".", ".", splits=Splits(split_by="lists"), leave_out=True) == expected


def test_lists_beside_folders_that_hold_no_split_are_read(made):
    root = made("train/x.jpg", "trainannot/x.png")
    with pytest.raises(SplitNotFoundError, match=r"no split 'train': neither train/images nor images/train"):
        found(root, "images", "masks", splits=Splits())
    write(root, "train.txt", "/train/x.jpg trainannot/x.png")
    assert len(found(root, "images", "masks", splits=Splits())) == 1


@pytest.mark.parametrize("folder", ["", "train/"])
def test_an_empty_split_names_the_files_that_are_passed_over(made, folder):
    root = made(f"{folder}masks/a.png")
    write(root, f"{folder}images/a.abc")
    with pytest.raises(DatasetError, match=rf"(?s)is empty.*{folder}images holds a.abc; files end in .bmp"):
        found(root, "images", "masks", splits=Splits())


def test_what_cellpose_keeps_beside_an_image_is_none(made):
    root = made()
    for name in ("a.npy", "a_seg.npy"):
        write(root, name)
    assert files_by_stem(root, {".npy"}) == {"a": root / "a.npy"}


def test_images_of_kinds_that_are_not_read_are_counted(made):
    root = made("images/a.png", "masks/a.png")
    for name in ("images/b.dcm", "images/c.NII", "images/notes.txt", "images/.d.dcm"):
        write(root, name)
    repairs = find_pairs(OwnTree(root, "images", "masks"), "train", ALL).repairs
    assert repairs == ("2 files of a kind that is not read left out (first: b.dcm)",)
