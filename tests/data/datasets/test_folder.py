import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

from coatseg.config.read import read
from coatseg.data.annotations.classes import generated_palette, read_classes
from coatseg.data.datasets.folder import Folder
from coatseg.data.trees.splits import Splits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, ImageError
from coatseg.registry.options import construct
from coatseg.structures import IMAGENET_MEAN
from tests.contracts.dataset import DatasetContract, check_sample
from tests.data.generate import COLOURS, write_folder
from tests.data.rasters import write_tiff


class TestFolders(DatasetContract):
    def make(self, root):
        return Folder(write_folder(root, layout="folders"), "train")


class TestInnerFolders(DatasetContract):
    def make(self, root):
        return Folder(write_folder(root, layout="inner folders", suffix=".jpg"), "val")


class TestLists(DatasetContract):
    def make(self, root):
        return Folder(write_folder(root, layout="lists", suffix=".webp"), "val")


class TestFraction(DatasetContract):
    def make(self, root):
        return Folder(write_folder(root, suffix=".tif"), "train")


class TestFold(DatasetContract):
    def make(self, root):
        return Folder(write_folder(root, suffix=".bmp"), "val", splits=Splits(split_by="fold", folds=3))


class TestColourMasks(DatasetContract):
    def make(self, root):
        return Folder(write_folder(root, coloured=True), "train", colour_masks=True)


def ids(dataset):
    return [sample.id for sample in dataset]


@pytest.mark.parametrize("layout", ["folders", "inner folders", "lists"])
def test_given_splits_are_kept(tmp_path, layout):
    write_folder(tmp_path, layout=layout, count=2)
    assert ids(Folder(tmp_path, "train")) == ["train_00", "train_01"]
    assert ids(Folder(tmp_path, "val")) == ["val_00", "val_01"]


def test_a_fraction_splits_everything_once(tmp_path):
    write_folder(tmp_path, count=20, size=(4, 4))
    train, val = (ids(Folder(tmp_path, split, splits=Splits(val_fraction=0.25))) for split in ("train", "val"))
    assert len(train) + len(val) == len({*train, *val}) == 40
    assert 4 <= len(val) <= 16
    assert val != ids(Folder(tmp_path, "val", splits=Splits(val_fraction=0.25, seed=1)))


def test_hashed_splits_are_the_same_on_every_machine(tmp_path):
    write_folder(tmp_path, count=6, size=(4, 4))
    assert ids(Folder(tmp_path, "val", splits=Splits(val_fraction=0.3))) == ["train_00", "train_01", "train_04"]
    assert ids(Folder(tmp_path, "val", splits=Splits(split_by="fold", folds=4, fold=1))) == [
        "train_01",
        "val_01",
        "val_05",
    ]


@pytest.mark.parametrize("options", [{"val_fraction": 0.25}, {"split_by": "fold", "folds": 3}])
def test_new_images_leave_the_others_where_they_are(tmp_path, options):
    few, more = (
        write_folder(tmp_path / "few", count=8, size=(4, 4)),
        write_folder(tmp_path / "more", count=12, size=(4, 4)),
    )
    splits = Splits(**options)
    for split in ("train", "val"):
        assert set(ids(Folder(few, split, splits=splits))) <= set(ids(Folder(more, split, splits=splits)))


def test_folds_hold_every_image_once(tmp_path):
    write_folder(tmp_path, count=12, size=(4, 4))
    folds = [ids(Folder(tmp_path, "val", splits=Splits(split_by="fold", folds=3, fold=fold))) for fold in range(3)]
    everything = ids(Folder(tmp_path, "train", splits=Splits(split_by="fold", folds=3))) + folds[0]
    assert sorted(everything) == sorted(stem for fold in folds for stem in fold)
    assert len(set(everything)) == 24


def test_nested_folders_pair_by_their_path(tmp_path):
    write_folder(tmp_path, count=1)
    for kind in ("images", "masks"):
        (tmp_path / kind / "town").mkdir()
        for path in sorted((tmp_path / kind).glob("*.png")):
            shutil.copy(path, tmp_path / kind / "town")
    (tmp_path / "images" / ".trash.png").write_bytes(b"")
    found = {*ids(Folder(tmp_path, "train")), *ids(Folder(tmp_path, "val", splits=Splits(val_fraction=0.9)))}
    assert found >= {"town/train_00", "train_00"}


def test_16_bit_images_of_four_channels_and_16_bit_masks(tmp_path):
    write_folder(tmp_path, count=1)
    for path in (tmp_path / "images").iterdir():
        cv2.imwrite(str(path), np.full((32, 40, 4), 40000, np.uint16))
    for path in (tmp_path / "masks").iterdir():
        cv2.imwrite(str(path), np.full((32, 40), 3, np.uint16))
    dataset = Folder(tmp_path, "train", channels=4)
    check_sample(dataset[0], dataset.info)
    assert dataset[0].image.dtype == np.uint16
    assert (dataset[0].label_map == 3).all()
    assert dataset.info.mean == (0.5,) * 4


def test_thirteen_bands_and_some_of_them(tmp_path):
    write_folder(tmp_path, layout="folders", count=1)
    scene = np.random.default_rng(0).integers(0, 10000, (32, 40, 13)).astype(np.uint16)
    for split in ("train", "val"):
        (tmp_path / split / "images" / f"{split}_00.png").unlink()
        write_tiff(tmp_path / split / "images" / f"{split}_00.tif", scene, compress="deflate")
    every, some = Folder(tmp_path, "train", channels=13), Folder(tmp_path, "val", bands=[4, 3, 2, 8])
    for dataset in (every, some):
        check_sample(dataset[0], dataset.info)
        dataset.verify(0)
    np.testing.assert_array_equal(every[0].image, scene)
    np.testing.assert_array_equal(some[0].image, scene[..., [3, 2, 1, 7]])
    assert (every.info.channels, some.info.channels) == (13, 4)
    assert Folder(tmp_path, "train", bands=[4, 3, 2]).info.mean == IMAGENET_MEAN


def test_facts_come_from_the_files(tmp_path):
    info = Folder(write_folder(tmp_path / "roads", coloured=True), "train", colour_masks=True, ignore_index=99).info
    assert info.name == "roads"
    assert info.classes == ("background", "red", "green", "blue")
    assert info.palette == COLOURS
    assert info.ignore_index == 99
    assert info.mean == IMAGENET_MEAN


def test_colours_of_ignored_pixels(tmp_path):
    write_folder(tmp_path, coloured=True)
    with (tmp_path / "classes.txt").open("a") as file:
        file.write("ignore 255 255 255\n")
    for path in (tmp_path / "masks").iterdir():
        Image.new("L", (40, 32), 255).save(path)
    dataset = Folder(tmp_path, "train", colour_masks=True, ignore_index=4)
    assert len(dataset.info.classes) == 4
    assert (dataset[0].label_map == 4).all()


def test_a_missing_root_says_what_to_make(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"(?s)nowhere.*images/, masks/ and classes.txt.*data.root="):
        Folder(tmp_path / "nowhere", "train")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_missing_folder_is_named(tmp_path, kind):
    shutil.rmtree(write_folder(tmp_path) / kind)
    with pytest.raises(DatasetNotFoundError, match=f"There is no folder .*{kind}"):
        Folder(tmp_path, "train")


def test_an_image_without_a_mask_is_named_and_the_rest_counted(tmp_path):
    write_folder(tmp_path, layout="lists", count=3)
    for stem in ("train_00", "train_02"):
        (tmp_path / "masks" / f"{stem}.png").unlink()
    with pytest.raises(DatasetError, match=r"train_00.png has no mask in .*masks, and 1 more have none"):
        Folder(tmp_path, "train")


def test_masks_without_an_image_are_left_alone(tmp_path):
    write_folder(tmp_path, layout="folders", count=2)
    (tmp_path / "train" / "images" / "train_00.png").unlink()
    assert ids(Folder(tmp_path, "train")) == ["train_01"]


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_two_files_of_one_stem_are_named(tmp_path, kind):
    write_folder(tmp_path, count=1)
    shutil.copy(tmp_path / kind / "val_00.png", tmp_path / kind / "val_00.TIF")
    with pytest.raises(DatasetError, match=r"val_00.TIF and .*val_00.png have one stem, 'val_00'"):
        Folder(tmp_path, "train")


@pytest.mark.parametrize(("layout", "split"), [("folders", "vall"), ("inner folders", "vall"), ("lists", "vall")])
def test_a_split_that_is_not_there_is_told_the_nearest(tmp_path, layout, split):
    with pytest.raises(DatasetError, match=r"(?s)vall.*Did you mean val\?"):
        Folder(write_folder(tmp_path, layout=layout, count=1), split)


@pytest.mark.parametrize("named", ["val.txt", "valid.txt", "testing/images", "images/validation"])
def test_what_looks_like_splits_is_not_passed_over(tmp_path, named):
    write_folder(tmp_path, count=2)
    if named.endswith(".txt"):
        (tmp_path / named).write_text("val_00\n")
    else:
        (tmp_path / named).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"no list train.txt|no split 'train'"):
        Folder(tmp_path, "train")


def test_a_list_that_is_no_text_is_named(tmp_path):
    write_folder(tmp_path, layout="lists", count=1)
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DatasetError, match=r"train.txt is not in UTF-8"):
        Folder(tmp_path, "train")


@pytest.mark.parametrize("split_by", ["fraction", "fold"])
def test_a_hash_gives_train_and_val_only(tmp_path, split_by):
    with pytest.raises(ConfigError, match=r"train and val, not 'test'"):
        Folder(write_folder(tmp_path, count=1), "test", splits=Splits(split_by=split_by))


def test_an_empty_split_is_named(tmp_path):
    write_folder(tmp_path, count=1)
    with pytest.raises(DatasetError, match=r"(?s)split 'val' of .*split_by=fraction.* is empty.*data.val_fraction"):
        Folder(tmp_path, "val", splits=Splits(val_fraction=0.001))


def test_a_list_entry_without_an_image_is_named(tmp_path):
    write_folder(tmp_path, layout="lists", count=1)
    (tmp_path / "train.txt").write_text("train_00\ntrain_09.png\n")
    with pytest.raises(DatasetError, match=r"(?s)train.txt, entry 2: .*'train_09.png'.*without the suffix"):
        Folder(tmp_path, "train")


def test_a_list_that_repeats_itself_is_named(tmp_path):
    write_folder(tmp_path, layout="lists", count=1)
    (tmp_path / "train.txt").write_text("train_00\ntrain_00\n")
    with pytest.raises(DatasetError, match=r"train.txt lists 'train_00' twice"):
        Folder(tmp_path, "train")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_by": "folder"}, r"(?s)data.split_by=folder.*Did you mean folders\?"),
        ({"val_fraction": 1.5}, r"data.val_fraction=1.5"),
        ({"split_by": "fold", "fold": 5}, r"data.fold=5 of data.folds=5"),
        ({"ignore_index": 2}, r"(?s)data.ignore_index=2 is the class green.*from 4 on"),
        ({"channels": 17}, r"data.channels=17"),
        ({"bands": [4, 0]}, r"(?s)data.bands=\[4, 0\].*counted from 1"),
        ({"bands": []}, r"data.bands=\[\]"),
        ({"bands": [4, 3], "channels": 3}, r"data.channels=3, but data.bands picks 2"),
        ({"bands": [1, 2], "mean": [0.5]}, r"data.mean=\[0.5\] does not fit data.channels=2"),
        ({"window": [64]}, r"(?s)data.window=\[64\].*two integers"),
        ({"window": [64, 0]}, r"data.window=\[64, 0\]"),
        ({"window": [64, 64], "windows_per_image": 0}, r"data.windows_per_image=0"),
        ({"windows_per_image": 4}, r"(?s)data.windows_per_image=4 without a window.*data.window="),
        ({"mean": [0.5]}, r"(?s)data.mean=\[0.5\].*3 numbers"),
        ({"std": [0.5, 0, 0.5]}, r"(?s)data.std=.*above zero"),
    ],
)
def test_options_that_cannot_be_are_named(tmp_path, options, message):
    write_folder(tmp_path, count=1)
    with pytest.raises(ConfigError, match=message):
        construct(Folder, options, root=tmp_path, split="train")


def test_options_of_bands_and_windows_may_be_typed(composed):
    options = ("data.bands=[4,3,2]", "data.window=[640,640]", "data.windows_per_image=50")
    read(composed("data=folder", *options))
    with pytest.raises(ConfigError, match=r"data.window=640 does not fit"):
        read(composed("data=folder", "data.window=640"))


def test_images_of_other_channels_name_the_option(tmp_path):
    dataset = Folder(write_folder(tmp_path), "train", channels=4)
    with pytest.raises(ImageError, match=r"data.channels=3"):
        dataset.verify(0)


def test_classes_may_have_several_words_colours_and_comments(tmp_path):
    (tmp_path / "classes.txt").write_text("# ours\n\ntraffic light 1 2 3\nlane 2 4 5 6\n")
    listed = read_classes(tmp_path / "classes.txt")
    assert listed.names == ("traffic light", "lane 2")
    assert listed.colours == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"(?s)no classes file .*classes.txt.*road 128 64 128"),
        ("", "names no class"),
        ("ignore 0 0 0\n", "names no class"),
        ("a\nb\na\n", "has a twice"),
        ("a 1 1 1\nb 1 1 1\n", r"has \(1, 1, 1\) twice"),
        ("a 1 1 1\nb\n", "none to b"),
        ("a 1 1 256\n", "above 255"),
    ],
)
def test_a_bad_classes_file_is_told_the_format(tmp_path, text, message):
    if text is not None:
        (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_classes(tmp_path / "classes.txt")


def test_colour_masks_need_colours(tmp_path):
    with pytest.raises(DatasetError, match=r"(?s)colour_masks=true.*classes.txt has no colours.*road 128 64 128"):
        Folder(write_folder(tmp_path), "train", colour_masks=True)


def test_generated_colours_are_distinct():
    assert len(set(generated_palette(300))) == 300
    assert generated_palette(3) == ((0, 0, 0), (128, 0, 0), (0, 128, 0))


def test_masks_of_floats_with_nodata_are_class_numbers_and_ignored(tmp_path):
    """QGIS rasterizes to Float32, with nodata where no polygon is."""
    write_folder(tmp_path, layout="folders", count=1)
    path = tmp_path / "train" / "masks" / "train_00.png"
    labels = np.array(Image.open(path))
    floats = labels.astype(np.float32)
    floats[:4], floats[4:6] = -9999, np.nan
    path.unlink()
    write_tiff(path.with_suffix(".tif"), floats[..., None], nodata=-9999, tiled=True)
    whole, windowed = Folder(tmp_path, "train"), Folder(tmp_path, "train", window=(8, 9), windows_per_image=3)
    check_sample(whole[0], whole.info)
    assert (whole[0].label_map[:6] == 255).all()
    np.testing.assert_array_equal(whole[0].label_map[6:], labels[6:])
    for index in range(3):
        windowed.verify(index)
        y, x = map(int, windowed[index].id.rpartition("@")[2].split(","))
        np.testing.assert_array_equal(windowed[index].label_map, whole[0].label_map[y : y + 8, x : x + 9])


def test_arrays_of_numpy_are_images_and_masks(tmp_path):
    write_folder(tmp_path, layout="folders", count=1)
    before = Folder(tmp_path, "train")[0]
    for folder in ("images", "masks"):
        path = tmp_path / "train" / folder / "train_00.png"
        np.save(path.with_suffix(".npy"), np.array(Image.open(path)))
        path.unlink()
    after = Folder(tmp_path, "train", window=(64, 64))
    after.verify(0)
    np.testing.assert_array_equal(after[0].image, before.image)
    np.testing.assert_array_equal(after[0].label_map, before.label_map)


def test_a_signed_mask_may_ignore_a_negative_number(tmp_path):
    write_folder(tmp_path, layout="folders")
    path = sorted((tmp_path / "train" / "masks").iterdir())[0]
    labels = np.array(Image.open(path)).astype(np.int16)
    labels[labels == 255] = -9999
    path.unlink()
    write_tiff(path.with_suffix(".tif"), labels[..., None])
    sample = Folder(tmp_path, "train", ignore_index=-9999)[0]
    np.testing.assert_array_equal(sample.label_map, labels)
