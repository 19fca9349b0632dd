import datasets
import numpy as np
import pytest

from coatseg.data.datasets.hub import Columns, Hub, TableSplits
from coatseg.data.loading.balance import labels_of
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, ImageError, SplitNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.objects import PLACES, SIZE, picture_of
from tests.data.tables import (
    CLASSES,
    encoded,
    image_cell,
    label_map,
    object_features,
    objects_cell,
    write_masks,
    write_objects,
    write_table,
)

MASKS, OBJECTS = Columns(mask_column="annotation"), Columns(objects_column="objects")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


class TestMasks(DatasetContract):
    def make(self, root):
        return Hub(write_masks(root / "mine"), "train", columns=MASKS, classes=CLASSES)


class TestObjects(DatasetContract):
    def make(self, root):
        return Hub(write_objects(root / "mine"), "val", columns=OBJECTS)


class TestSavedToDisk(DatasetContract):
    def make(self, root):
        opened = datasets.load_dataset(str(write_objects(root / "mine")))
        opened.save_to_disk(root / "saved")
        return Hub(root / "saved", "train", columns=OBJECTS)


def objects_of(root, rows, features=None, **options):
    cells = {"image": [image_cell(row) for row in range(len(rows))], "objects": rows}
    write_table(root / "mine", cells, {"image": datasets.Image(), "objects": features or object_features()})
    return Hub(root / "mine", "train", columns=OBJECTS, splits=TableSplits(split_by="names"), **options)


def test_images_and_masks_are_those_of_the_bytes(tmp_path):
    dataset = Hub(write_masks(tmp_path / "mine"), "train", columns=MASKS, classes=CLASSES)
    sample = dataset[2]
    np.testing.assert_array_equal(sample.image, picture_of(PLACES, 2))
    np.testing.assert_array_equal(sample.label_map, label_map())
    np.testing.assert_array_equal(labels_of(dataset, 2), label_map())
    assert (sample.id, sample.file, sample.original_size) == ("picture2", "", SIZE)
    assert (dataset.info.name, dataset.info.classes, len(dataset)) == ("mine", CLASSES, 4)


def test_objects_are_those_of_the_column(tmp_path):
    dataset = Hub(write_objects(tmp_path / "mine"), "train", columns=OBJECTS)
    instances = dataset[1].instances
    np.testing.assert_array_equal(instances.boxes, np.array(PLACES[:2], np.float64))
    assert instances.labels.tolist() == [0, 1]
    assert instances.areas.tolist() == [400, 420]
    assert instances.masks is None
    assert dataset.info.classes == ("cat", "dog")
    assert [dataset.has_objects(index) for index in range(4)] == [True, True, False, True]
    assert len(dataset[2].instances) == 0


def test_objects_may_be_a_list_of_objects_with_names(tmp_path):
    rows = [[{"bbox": [2, 3, 22, 23], "label": "dog"}, {"bbox": [30, 5, 58, 20], "label": "cat"}], []]
    one = {"bbox": datasets.List(datasets.Value("int64")), "label": datasets.Value("string")}
    dataset = objects_of(tmp_path, rows, datasets.List(one), box_format="xyxy")
    np.testing.assert_array_equal(dataset[0].instances.boxes, np.array(PLACES[:2], np.float64))
    assert dataset.info.classes == ("cat", "dog")
    assert dataset[0].instances.labels.tolist() == [1, 0]


def test_numbers_without_names_are_named_by_the_option(tmp_path):
    features = object_features(datasets.Value("int64"))
    with pytest.raises(ConfigError, match=r"numbers without names.\nName them, that of 0 first"):
        objects_of(tmp_path, [objects_cell(0)], features)
    assert objects_of(tmp_path, [objects_cell(0)], features, classes=("a", "b")).info.classes == ("a", "b")
    with pytest.raises(DatasetError, match="row 0 has an object of the category 1, which is no class"):
        objects_of(tmp_path, [objects_cell(0)], features, classes=("a",))


def test_classes_are_chosen_and_left_out_by_name(tmp_path):
    rows = [objects_cell(0), objects_cell(1)]
    chosen = objects_of(tmp_path, rows, classes=("dog",))
    assert chosen[0].instances.labels.tolist() == [0]
    np.testing.assert_array_equal(chosen[0].instances.boxes, np.array(PLACES[1:2], np.float64))
    place = f"{tmp_path / 'mine'}, split train, row 0"
    assert chosen.repairs == (f"2 boxes of classes that are not chosen left out (first: {place})",)
    assert objects_of(tmp_path, rows, classes=("dog", "cat"))[0].instances.labels.tolist() == [1, 0]
    assert objects_of(tmp_path, rows, leave_out=("dog",)).info.classes == ("cat",)
    with pytest.raises(ConfigError, match=r"data.leave_out: no object is of 'doge'.\nDid you mean dog"):
        objects_of(tmp_path, rows, leave_out=("doge",))


def test_what_boxes_of_the_other_format_do_is_said(tmp_path):
    row = {**objects_cell(0), "bbox": [[2, 3, 22, 23], [30, 25, 58, 40]]}
    dataset = objects_of(tmp_path, [row])
    assert dataset.repairs[0].startswith("1 box reaching out of the image clipped")
    np.testing.assert_array_equal(dataset[0].instances.boxes[1], [30, 25, 64, 48])


@pytest.mark.parametrize("field", ["iscrowd", "difficult"])
def test_crowds_are_kept_apart(tmp_path, field):
    row = {**objects_cell(0), field: [1, 0]}
    features = {**object_features(), field: datasets.List(datasets.Value("int8"))}
    dataset = objects_of(tmp_path, [row], features)
    assert dataset[0].instances.crowd.tolist() == [True, False]
    assert dataset.has_objects(0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bbox": [[1, 2, 3]] * 2}, r"row 0 has the box \[1.0, 2.0, 3.0\], not four numbers"),
        ({"bbox": [[1, 2, 3, float("nan")]] * 2}, "not four numbers"),
        ({"category": [0]}, "row 0 has 2 of bbox, 1 of category"),
        ({"category": [0, -1]}, "row 0 has an object of the category -1, which is no class"),
    ],
)
def test_objects_that_make_no_sense_are_refused(tmp_path, change, said):
    features = {**object_features(), "bbox": datasets.List(datasets.List(datasets.Value("float32")))}
    with pytest.raises(DatasetError, match=said):
        objects_of(tmp_path, [{**objects_cell(0), **change}], features)


def test_stated_sizes_are_checked(tmp_path):
    cells = {"image": [image_cell(0)], "objects": [objects_cell(0)], "width": [64], "height": [99]}
    whole = datasets.Value("int32")
    features = {"image": datasets.Image(), "objects": object_features(), "width": whole, "height": whole}
    write_table(tmp_path / "mine", cells, features)
    dataset = Hub(tmp_path / "mine", "train", columns=OBJECTS, splits=TableSplits(split_by="names"))
    assert dataset.size(0) == (99, 64)
    with pytest.raises(DatasetError, match="row 0 states 99x64, and its image has 48x64"):
        dataset.verify(0)


def test_rows_without_bytes_are_refused(tmp_path):
    cells = {"image": [{"bytes": None, "path": "/nowhere/a.png"}], "objects": [objects_cell(0)]}
    features = {"image": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}}
    write_table(tmp_path / "mine", cells, {**features, "objects": object_features()})
    said = r"row 0 has no bytes in 'image' but the path /nowhere/a.png.\nWrite the files into the table"
    with pytest.raises(DatasetError, match=said):
        Hub(tmp_path / "mine", "train", columns=OBJECTS, splits=TableSplits(split_by="names"))


def test_columns_of_plain_bytes_are_images(tmp_path):
    cells = {"picture": [encoded(picture_of(PLACES, 0))], "label": [encoded(label_map())]}
    write_table(tmp_path / "mine", cells, dict.fromkeys(cells, datasets.Value("binary")))
    columns = Columns(image_column="picture", mask_column="label")
    names = TableSplits(split_by="names")
    dataset = Hub(tmp_path / "mine", "train", columns=columns, classes=CLASSES, splits=names)
    np.testing.assert_array_equal(dataset[0].image, picture_of(PLACES, 0))
    assert dataset[0].id == "0"


def test_damaged_bytes_name_their_row(tmp_path):
    cells = {"image": [{"bytes": image_cell(0)["bytes"][:900], "path": "a.png"}], "annotation": [image_cell(0)]}
    write_table(tmp_path / "mine", cells, dict.fromkeys(cells, datasets.Image()))
    dataset = Hub(tmp_path / "mine", "train", columns=MASKS, classes=CLASSES, splits=TableSplits(split_by="names"))
    with pytest.raises(ImageError, match=f"^{tmp_path / 'mine'}, split train, row 0 cannot be decoded"):
        dataset.verify(0)


def test_columns_that_are_not_there_are_answered_with_those_that_are(tmp_path):
    root = write_objects(tmp_path / "mine")
    there = r"there are image \(Image\), objects \(\{bbox, category, area, iscrowd, id\}\)"
    with pytest.raises(DatasetError, match=f"no column 'picture': {there}"):
        Hub(root, "train", columns=Columns(image_column="picture", objects_column="objects"))
    with pytest.raises(ConfigError, match=rf"named as the truth: {there}.\nSet data.objects_column=objects.$"):
        Hub(root, "train")
    with pytest.raises(DatasetError, match=f"'objects' of .* holds no images: {there}"):
        Hub(root, "train", columns=Columns(mask_column="objects"))
    with pytest.raises(DatasetError, match=f"'image' of .* holds no objects: {there}"):
        Hub(root, "train", columns=Columns(objects_column="image"))
    with pytest.raises(ConfigError, match="exclude each other"):
        Hub(root, "train", columns=Columns(mask_column="image", objects_column="objects"))


def test_labels_without_a_class_name_their_row(tmp_path):
    dataset = Hub(write_masks(tmp_path / "mine"), "train", columns=MASKS, classes=CLASSES[:2])
    with pytest.raises(DatasetError, match=r"The mask .*mine, split train, row 0, annotation holds the label 2"):
        dataset.verify(0)
    with pytest.raises(ConfigError, match="no column names their classes"):
        Hub(tmp_path / "mine", "train", columns=MASKS)


def test_classes_may_be_a_file_with_colours(tmp_path):
    root = write_masks(tmp_path / "mine")
    (root / "classes.txt").write_text("ground 0 0 0\ncat 255 0 0\n")
    painted = np.zeros((*SIZE, 3), np.uint8)
    painted[:5, :, 0] = 255
    cells = {"image": [image_cell(0)], "annotation": [{"bytes": encoded(painted), "path": None}]}
    write_table(root, cells, dict.fromkeys(cells, datasets.Image()))
    dataset = Hub(root, "train", columns=MASKS, classes="classes.txt", colour_masks=True)
    assert dataset.info.palette == ((0, 0, 0), (255, 0, 0))
    assert dataset[0].label_map.sum() == 5 * SIZE[1]


def test_splits_go_by_their_names_or_by_a_hash(tmp_path):
    root = write_masks(tmp_path / "mine", ("train", "validation", "test"))
    ids = {split: [sample.id for sample in _all(root, split)] for split in ("train", "val", "validation", "test")}
    assert all(len(names) == 4 for names in ids.values())
    with pytest.raises(SplitNotFoundError, match="has no split 'extra', but train, validation, test"):
        _all(root, "extra")
    half = TableSplits(split_by="fraction", val_fraction=0.5)
    parted = [{sample.id for sample in _all(root, split, half)} for split in ("train", "val")]
    assert parted[0] | parted[1] == set(ids["train"])
    assert not parted[0] & parted[1]
    assert len(_all(root, "test", half)) == 4
    single = write_masks(tmp_path / "single", ("test",))
    assert len(_all(single, "train", TableSplits(val_fraction=0.5))) in (1, 2, 3)


def _all(root, split, splits=None):
    return list(Hub(root, split, columns=MASKS, classes=CLASSES, splits=splits or TableSplits()))


def test_ids_may_be_a_column(tmp_path):
    masks = [{"bytes": encoded(label_map()), "path": None}] * 2
    cells = {"image": [image_cell(0)] * 2, "annotation": masks, "key": [7, 9]}
    features = {**dict.fromkeys(("image", "annotation"), datasets.Image()), "key": datasets.Value("int64")}
    write_table(tmp_path / "mine", cells, features)
    names = TableSplits(split_by="names")
    columns = Columns(mask_column="annotation", id_column="key")
    dataset = Hub(tmp_path / "mine", "train", columns=columns, classes=CLASSES, splits=names)
    assert [sample.id for sample in dataset] == ["7", "9"]
    numbered = Hub(tmp_path / "mine", "train", columns=MASKS, classes=CLASSES, splits=names)
    assert [sample.id for sample in numbered] == ["0", "1"]
    write_table(tmp_path / "mine", {**cells, "key": [7, 7]}, features)
    with pytest.raises(DatasetError, match=r"The column 'key' of .* has '7' twice"):
        Hub(tmp_path / "mine", "train", columns=columns, classes=CLASSES, splits=names)


def test_what_is_no_dataset_is_said(tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"There is no folder .*nowhere.\nPut parquet files there"):
        Hub(tmp_path / "nowhere", "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match="empty cannot be opened"):
        Hub(tmp_path / "empty", "train")


def test_options_that_would_do_nothing_are_refused(tmp_path):
    root = write_masks(tmp_path / "mine")
    with pytest.raises(ConfigError, match=r"data.leave_out goes with data.objects_column"):
        Hub(root, "train", columns=MASKS, classes=CLASSES, leave_out=("cat",))
    with pytest.raises(ConfigError, match=r"data.colour_masks goes with data.mask_column"):
        Hub(root, "train", columns=OBJECTS, colour_masks=True)
    with pytest.raises(ConfigError, match=r"data.revision=main is one of a repository, and .*mine is a folder"):
        Hub(root, "train", columns=MASKS, classes=CLASSES, revision="main")


def test_a_repository_that_cannot_be_had_is_said(tmp_path, monkeypatch):
    asked = []

    def unreachable(*given, **options):
        asked.append((given, options))
        raise ConnectionError("Couldn't reach 'owner/name' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    said = r"The repository owner/name cannot be had: Couldn't reach .*\nCheck data.repository, data.revision, the net"
    with pytest.raises(DatasetNotFoundError, match=said):
        Hub(tmp_path, "train", repository="owner/name", revision="v1", subset="small", columns=MASKS, classes=CLASSES)
    assert asked == [(("owner/name", "small"), {"revision": "v1"})]
