import pytest
from PIL import Image

from coatseg.data.datasets.yolo import Yolo, YoloOptions
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, SplitNotFoundError
from tests.contracts.dataset import DatasetContract
from tests.data.formats import relative, write_yolo


class TestPolygons(DatasetContract):
    def make(self, root):
        return Yolo(write_yolo(root), "train")


class TestBoxes(DatasetContract):
    def make(self, root):
        return Yolo(write_yolo(root, boxes=True), "val")


class TestPainted(DatasetContract):
    def make(self, root):
        return Yolo(write_yolo(root), "train", semantic=True)


def one(root, *lines, size=(48, 64), yaml="train: images\nnames: [a, b]\n", **options):
    """Read an image of zeros with these labels."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(exist_ok=True)
    Image.new("RGB", size[::-1]).save(root / "images" / "x.png")
    (root / "labels" / "x.txt").write_text("\n".join(lines))
    (root / "data.yaml").write_text(yaml)
    return Yolo(root, "train", options=YoloOptions(**options))


def test_a_square_of_20_pixels_has_400(tmp_path):
    objects = one(tmp_path, f"1 {relative([10, 10, 30, 10, 30, 30, 10, 30])}")[0].instances
    assert objects.masks.sum() == 400
    assert objects.masks[0, 10:30, 10:30].all()
    assert objects.labels.tolist() == [1]
    assert objects.boxes.tolist() == [pytest.approx([10, 10, 30, 30], abs=1e-4)]


def test_parts_joined_by_ultralytics_are_painted_without_the_line_between_them(tmp_path):
    """The line to the nearest points of the other part is walked there and back, and a painter by parity forgets it."""
    first, second = [16, 10, 16, 20, 6, 20, 6, 10, 16, 10], [20, 10, 30, 10, 30, 20, 20, 20, 20, 10]
    masks = one(tmp_path, f"0 {relative([*first, *second])}")[0].instances.masks
    assert masks.sum() == 200
    assert masks[0, 10:20, 6:16].all()
    assert masks[0, 10:20, 20:30].all()


def test_a_hole_that_supervision_joined_to_its_outline_stays_one(tmp_path):
    """The line is what supervision 0.31.2 writes for 30x20 pixels at (10, 40) with a hole of 10x5 at (20, 45).

    It walks through the centres of pixels, so that a square of 20 has 361 pixels; the file does not tell.
    """
    line = (
        "1 0.08333 0.40000 0.15833 0.45000 0.16667 0.44000 0.24167 0.44000 0.25000 0.45000 0.25000 0.49000 0.24167 "
        "0.50000 0.16667 0.50000 0.15833 0.49000 0.15833 0.45000 0.08333 0.40000 0.08333 0.59000 0.32500 0.59000 "
        "0.32500 0.40000"
    )
    (mask,) = one(tmp_path, line, size=(100, 120))[0].instances.masks
    assert mask[40:59, 10:39].sum() == mask.sum()
    assert not mask[45:49, 20:29].any()
    assert mask.sum() == pytest.approx(29 * 19 - 64, abs=2)


def test_boxes_are_of_their_centre(tmp_path):
    dataset = one(tmp_path, "0 0.5 0.5 0.25 0.5")
    assert dataset.info.annotates == {"boxes"}
    assert dataset[0].instances.boxes.tolist() == [[24, 12, 40, 36]]


@pytest.mark.parametrize(("policy", "masks"), [("stop", None), ("leave_out", [100]), ("box", [100, 384])])
def test_a_box_among_polygons(tmp_path, policy, masks):
    dataset = one(
        tmp_path, f"0 {relative([10, 10, 20, 10, 20, 20, 10, 20])}", "0 0.5 0.5 0.25 0.5", without_mask=policy
    )
    objects = dataset[0].instances
    assert (None if objects.masks is None else objects.masks.sum((1, 2)).tolist()) == masks
    assert len(objects) == (1 if policy == "leave_out" else 2)
    assert "(first: x.txt, line 2)" in dataset.repairs[0]


def test_label_maps_need_masks(tmp_path):
    write_yolo(tmp_path, boxes=True)
    with pytest.raises(DatasetError, match=r"has objects without a mask, and data.semantic=true paints masks"):
        Yolo(tmp_path, "train", semantic=True)
    painted = Yolo(tmp_path, "train", semantic=True, options=YoloOptions(without_mask="box"))[0].label_map
    assert [int((painted == label).sum()) for label in range(4)] == [3072 - 1300, 400 + 72, 420, 408]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 0.1 0.1 0.5 0.1 0.5", "x.txt, line 2 has 6 numbers"),
        ("0 0.1 0.1 0.5", "x.txt, line 2 has 4 numbers"),
        ("0 0.1 0.1 0.5 0.1 0.5 0.5 0.3", "x.txt, line 2 has 8 numbers"),
        ("2 0.5 0.5 0.1 0.1", "x.txt, line 2 has the class 2: .*data.yaml names 2 classes"),
        ("0.5 0.5 0.5 0.1 0.1", "x.txt, line 2 has the class 0.5"),
        ("-1 0.5 0.5 0.1 0.1", "x.txt, line 2 has the class -1"),
        ("0 0.5 1.5 0.1 0.1", "x.txt, line 2 has the coordinate 1.5, which is not between 0 and 1"),
        ("0 0.5 -0.1 0.7 0.1 0.7 0.7", "x.txt, line 2 has the coordinate -0.1"),
        ("0 20 10 40 10 40 30", "x.txt, line 2 has the coordinate 20"),
        ("0 nan 0.5 0.1 0.1", "x.txt, line 2 has the coordinate nan"),
        ("a 0.5 0.5 0.1 0.1", "x.txt, line 2: 'a 0.5 0.5 0.1 0.1' is not made of numbers"),
    ],
)
def test_lines_that_make_no_sense_are_named(tmp_path, line, said):
    with pytest.raises(DatasetError, match=said):
        one(tmp_path, "0 0.5 0.5 0.1 0.1", line)


def test_a_coordinate_outside_by_less_than_a_pixel_is_clipped_and_counted(tmp_path):
    dataset = one(tmp_path, "", "0 -0.01 0 1.01 0 1.01 1 -0.01 1")
    assert dataset[0].instances.masks.all()
    assert dataset.repairs == (
        "1 object reaching out of the image by less than a pixel clipped (first: x.txt, line 2)",
    )


def test_an_image_without_a_txt_has_no_objects_which_is_said(tmp_path):
    dataset = Yolo(write_yolo(tmp_path), "train")
    assert [len(sample.instances) for sample in dataset] == [4, 4, 0]
    assert dataset.repairs == ("1 image without a txt of labels taken to show no object (first: 0002.png)",)
    (tmp_path / "labels" / "train" / "0002.txt").write_text("")
    assert Yolo(tmp_path, "train").repairs == ()


def test_a_split_without_any_labels_is_refused(tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "labels").rename(tmp_path / "annotations")
    with pytest.raises(DatasetError, match=r"No image of the split 'train' .* would be .*labels/train/0000.txt"):
        Yolo(tmp_path, "train")


YAML = "names: [person, stop sign, toothbrush]\n"


@pytest.mark.parametrize(
    "yaml",
    [
        "path: .\ntrain: images/train\nvalid: images/val\n",
        "train: ../images/train\nval: ../images/val\n",  # as Roboflow writes it for a yaml beside the folders
        "path: /no/such/folder\ntrain: ./images/train\nval: [images/val]\nnc: 3\n",
        "train: train.txt\nval: [one.txt, two.txt]\n",
    ],
)
def test_where_the_images_of_a_split_are(tmp_path, yaml):
    write_yolo(tmp_path)
    (tmp_path / "train.txt").write_text("".join(f"./images/train/000{number}.png\n" for number in range(3)))
    (tmp_path / "one.txt").write_text("images\\val\\0100.png\n")
    (tmp_path / "two.txt").write_text(f"{tmp_path}/images/val/0101.png\n\nimages/val/0102.png\n")
    (tmp_path / "data.yaml").write_text(yaml + YAML)
    for split, ids in (("train", ["0000", "0001", "0002"]), ("val", ["0100", "0101", "0102"])):
        dataset = Yolo(tmp_path, split)
        assert [sample.id for sample in dataset] == ids
        assert [len(sample.instances) for sample in dataset] == [4, 4, 0]


def test_images_of_several_folders_have_ids_of_their_own(tmp_path):
    write_yolo(tmp_path)
    (tmp_path / "data.yaml").write_text(f"train: [images/train, images/val]\n{YAML}")
    assert [sample.id for sample in Yolo(tmp_path, "train")][::3] == ["train/0000", "val/0100"]


def test_labels_lie_beside_images_that_are_in_no_folder_of_that_name(tmp_path):
    write_yolo(tmp_path)
    for split in ("train", "val"):
        (tmp_path / "images" / split).rename(tmp_path / split)
        for path in (tmp_path / "labels" / split).iterdir():
            path.rename(tmp_path / split / path.name)
    (tmp_path / "data.yaml").write_text(f"train: train\nval: val\n{YAML}")
    assert [len(sample.instances) for sample in Yolo(tmp_path, "train")] == [4, 4, 0]


@pytest.mark.parametrize(
    ("yaml", "said"),
    [
        ("train: images\n", "data.yaml has no names"),
        ("train: images\nnames: {0: a, 2: b}\n", "numbers its names 0, 2, not from 0"),
        ("train: images\nnames: [a, a]\n", "names a twice"),
        ("train: images\nnames: [a]\nnc: 2\n", "states nc: 2, and has 1 names"),
        ("train: images\nnames: [a]\nkpt_shape: [17, 3]\n", "is of poses"),
        ("train: pictures\nnames: [a]\n", "states pictures, and there is no"),
        ("train: [images, images/x.png]\nnames: [a]\n", "has the image .*x.png twice"),
        ("train: labels\nnames: [a]\n", "holds no image"),
        ("names: [a\n", "is no yaml"),
    ],
)
def test_a_yaml_that_makes_no_sense_is_named(tmp_path, yaml, said):
    with pytest.raises(DatasetError, match=said):
        one(tmp_path, "0 0.5 0.5 0.1 0.1", yaml=yaml)


def test_what_is_missing_is_named_with_what_is_there(tmp_path):
    write_yolo(tmp_path).joinpath("data.yaml").rename(tmp_path / "coco8.yaml")
    with pytest.raises(DatasetNotFoundError, match=r"There is no .*data.yaml\.\nSet data.file=coco8.yaml"):
        Yolo(tmp_path, "train")
    with pytest.raises(SplitNotFoundError, match=r"states no images for the split 'test'\.\nChoices: train, val"):
        Yolo(tmp_path, "test", file="coco8.yaml")
    with pytest.raises(DatasetNotFoundError, match="There is no folder"):
        Yolo(tmp_path / "nowhere", "train")


def test_classes_are_chosen_by_name(tmp_path):
    dataset = Yolo(write_yolo(tmp_path), "train", options=YoloOptions(classes=["toothbrush", "person"]))
    assert dataset.info.classes == ("toothbrush", "person")
    assert dataset[0].instances.labels.tolist() == [1, 0, 1]
    with pytest.raises(ConfigError, match=r"data.leave_out names 'cat'"):
        Yolo(tmp_path, "train", options=YoloOptions(leave_out=["cat"]))
