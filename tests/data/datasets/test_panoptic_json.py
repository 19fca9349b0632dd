import json

import cv2
import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.ade20k_instances import THINGS
from coatseg.data.annotations.segment_maps import read_segment_ids
from coatseg.data.datasets.ade20k import ADE20K
from coatseg.data.datasets.panoptic_json import PanopticJson
from coatseg.data.inspection.segment_facts import segment_facts
from coatseg.data.trees.splits import HashedSplits
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError
from coatseg.structures import Segment
from tests.contracts.dataset import DatasetContract
from tests.data.official import CATEGORIES, write_ade20k_instances, write_panoptic_json, write_segment_ids

SIZE = (4, 6)
IDS = np.array([[0, 0, 5, 5, 5, 5], [0, 0, 5, 5, 5, 5], [70000, 70000, 70000, 9, 9, 9], [70000, 70000, 70000, 9, 9, 9]])
"""Void, a person, the floor, a crowd of persons."""
STATED = [
    {"id": 70000, "category_id": 118, "area": 6},
    {"id": 9, "category_id": 1, "iscrowd": 1, "area": 6},
    {"id": 5, "category_id": 1, "iscrowd": 0, "area": 8},
]


class TestPanopticJson(DatasetContract):
    def make(self, root):
        return PanopticJson(write_panoptic_json(root), "train")


class TestThingsAsObjects(DatasetContract):
    def make(self, root):
        return PanopticJson(write_panoptic_json(root), "train", instances=True)


def write_one(root, ids=IDS, stated=STATED, name="a", **changes):
    """Write an image of known segments."""
    for folder in ("images", "panoptic"):
        (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4)).save(root / "images" / f"{name}.png")
    write_segment_ids(root / "panoptic" / f"{name}.png", ids)
    content = {
        "images": [{"id": 31, "file_name": f"{name}.png", "height": 4, "width": 6}],
        "annotations": [{"image_id": 31, "file_name": f"{name}.png", "segments_info": stated}],
        "categories": CATEGORIES,
        **changes,
    }
    (root / "panoptic.json").write_text(json.dumps(content))
    return root


def opened(root, **options):
    stated = {"annotations": {"train": "panoptic.json"}, **options}
    return PanopticJson(root, "train", **stated)


def test_segments_are_those_of_the_json_in_its_order_with_crowds(tmp_path):
    sample = opened(write_one(tmp_path))[0]
    assert sample.id == "31"
    np.testing.assert_array_equal(sample.panoptic.ids, IDS)
    assert sample.panoptic.ids.dtype == np.int32
    assert sample.panoptic.segments == (
        Segment(70000, 2, area=6), Segment(9, 0, crowd=True, area=6), Segment(5, 0, area=8)
    )  # fmt: skip
    assert sample.label_map.tolist() == [[255, 255, 0, 0, 0, 0]] * 2 + [[2, 2, 2, 0, 0, 0]] * 2
    assert sample.instances is None


def test_things_are_objects_if_asked(tmp_path):
    dataset = opened(write_one(tmp_path), instances=True)
    objects = dataset[0].instances
    assert dataset.info.annotates == {"semantic", "panoptic", "boxes", "instances"}
    assert objects.labels.tolist() == [0, 0]
    assert objects.crowd.tolist() == [False, True]
    assert objects.boxes.tolist() == [[2, 0, 6, 2], [3, 2, 6, 4]]
    np.testing.assert_array_equal(objects.masks, [IDS == 5, IDS == 9])
    assert dataset.has_objects(0)
    assert not opened(write_one(tmp_path, stated=[{**one, "iscrowd": 1} for one in STATED])).has_objects(0)


def test_two_categories_of_one_id_are_refused(tmp_path):
    path = write_panoptic_json(tmp_path) / "panoptic.json"
    content = json.loads(path.read_text())
    content["categories"].append({**content["categories"][0], "name": "another"})
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match="has two categories of the id"):
        PanopticJson(tmp_path, "train")


def test_one_json_is_split_by_a_hash(tmp_path):
    write_panoptic_json(tmp_path, count=12)
    splits = {name: PanopticJson(tmp_path, name, splits=HashedSplits(val_fraction=0.5)) for name in ("train", "val")}
    ids = [{sample.id for sample in split} for split in splits.values()]
    assert ids[0] | ids[1] == {str(number) for number in range(1, 13)}
    assert not ids[0] & ids[1]
    assert all(ids)
    with pytest.raises(ConfigError, match=r"(?s)is split into train and val, not 'test'.*data.annotations.test=FILE"):
        PanopticJson(tmp_path, "test")


def test_the_word_split_stands_for_its_name_on_disk(tmp_path):
    write_one(tmp_path / "valid")
    paths = {"annotations": "SPLIT/panoptic.json", "images": "SPLIT/images", "masks": "SPLIT/panoptic"}
    assert PanopticJson(tmp_path, "val", **paths)[0].id == "31"


def test_folders_below_those_of_images_and_masks_are_found(tmp_path):
    sample = opened(write_one(tmp_path, name="street/a"))[0]
    assert len(sample.panoptic.segments) == 3


def test_images_without_annotations_are_left_out_and_counted(tmp_path):
    images = [{"id": 31, "file_name": "a.png"}, {"id": 32, "file_name": "b.png"}]
    dataset = opened(write_one(tmp_path, images=images))
    assert len(dataset) == 1
    assert dataset.repairs == ("1 image without annotations left out (first: b.png)",)


def test_what_is_missing_is_named(tmp_path):
    write_one(tmp_path)
    (tmp_path / "panoptic.json").rename(tmp_path / "segments.json")
    with pytest.raises(
        DatasetNotFoundError, match=r"(?s)no file .*panoptic.json, which names the segments.*data.annot"
    ):
        opened(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"(?s)no folder .*masks\..*data.masks="):
        opened(tmp_path, annotations={"train": "segments.json"}, masks="masks")
    (tmp_path / "panoptic" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"a.png has no mask"):
        opened(tmp_path, annotations={"train": "segments.json"}).verify(0)
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(DatasetError, match=r"segments.json has the image a.png, which is not in"):
        opened(tmp_path, annotations={"train": "segments.json"})


WRONG = {
    "segment 9 (person), of which": {"ids": np.where(IDS == 9, 0, IDS)},
    "the segment 6, first at (x=5, y=0), which": {"ids": np.where(np.arange(24).reshape(SIZE) == 5, 6, IDS)},
    "a.png is 3x6, its image": {"ids": IDS[:3]},
}


@pytest.mark.parametrize("said", WRONG)
def test_a_png_that_does_not_fit_its_json_or_image_is_named(tmp_path, said):
    write_one(tmp_path, **WRONG[said])
    with pytest.raises(DatasetError) as raised:
        opened(tmp_path).verify(0)
    assert said in raised.value.what
    assert str(tmp_path / "panoptic" / "a.png") in raised.value.what
    assert "panoptic_annotations_trainval2017" not in raised.value.mend


@pytest.mark.parametrize(("policy", "kept"), [("leave_out", [70000, 5]), ("keep", [70000, 9, 5])])
def test_a_segment_without_a_pixel_is_left_out_or_kept(tmp_path, policy, kept):
    write_one(tmp_path, ids=np.where(IDS == 9, 0, IDS))
    segments = opened(tmp_path, without_pixels=policy)[0].panoptic.segments
    assert [segment.id for segment in segments] == kept


def annotation(png="a.png", segments=()):
    return {"image_id": 31, "file_name": png, "segments_info": list(segments)}


CONTRADICTIONS = {
    "has the segment 5 of the category 77, which categories lacks": {"stated": [{"id": 5, "category_id": 77}]},
    "has the segment 16777216, and a PNG holds ids from 1": {"stated": [{"id": 2**24, "category_id": 1}]},
    "has no category": {"stated": [], "categories": []},
    "has two categories called person": {"categories": [*CATEGORIES, {**CATEGORIES[0], "id": 2}]},
    "b.png is the second PNG of the image 31": {"annotations": [annotation(), annotation("b.png")]},
    "a.png is there twice": {"annotations": [annotation(), annotation()]},
}


@pytest.mark.parametrize("said", CONTRADICTIONS)
def test_a_json_that_contradicts_itself_is_named_and_the_mend_is_its_own(tmp_path, said):
    write_one(tmp_path, **CONTRADICTIONS[said])
    with pytest.raises(DatasetError) as raised:
        opened(tmp_path)
    assert said in raised.value.what
    assert str(tmp_path / "panoptic.json") in raised.value.what
    assert "export the json and its PNG files again" in raised.value.mend


@pytest.mark.parametrize("mode", ["P", "L", "I;16"])
def test_other_pngs_than_colours_of_8_bit_are_refused(tmp_path, mode):
    write_one(tmp_path)
    path = tmp_path / "panoptic" / "a.png"
    picture = Image.open(path).quantize(16) if mode == "P" else Image.new(mode, (6, 4))
    picture.save(path)
    with pytest.raises(
        DatasetError, match=r"a.png has (a palette|1 channels of uint\d+): segment ids are coded in RGB"
    ):
        opened(tmp_path).verify(0)


def test_colours_of_16_bit_are_refused(tmp_path):
    path = write_one(tmp_path) / "panoptic" / "a.png"
    cv2.imwrite(str(path), np.zeros((4, 6, 3), np.uint16))
    with pytest.raises(DatasetError, match=r"a.png has 3 channels of uint16"):
        opened(tmp_path).verify(0)


def test_pillow_and_opencv_read_the_same_ids(tmp_path):
    ids = np.array([[0, 1, 255, 256, 65535, 65536, 2**24 - 1]])
    write_segment_ids(tmp_path / "a.png", ids)
    ours = read_segment_ids(tmp_path / "a.png")
    by_pillow = np.asarray(Image.open(tmp_path / "a.png")).astype(int) @ [1, 256, 65536]
    by_opencv = cv2.imread(str(tmp_path / "a.png")).astype(int) @ [65536, 256, 1]
    assert ours.tolist() == by_pillow.tolist() == by_opencv.tolist() == ids.tolist()


def write_prepared_ade20k(root):
    """Write what Mask2Former's preparation makes of ADE20K: stuff, its area before objects hide it, then objects."""
    top = write_ade20k_instances(root) / "ADEChallengeData2016"
    (top / "ade20k_panoptic_train").mkdir()
    images, annotations = [], []
    for mask in sorted(top.glob("annotations/training/*.png")):
        semantic = np.asarray(Image.open(mask)).astype(int) - 1
        kinds, numbers = np.asarray(Image.open(top / "annotations_instance/training" / mask.name)).transpose(2, 0, 1)[
            :2
        ]
        ids, segments = np.zeros(semantic.shape, int), []
        stuff = [(semantic == label, label) for label in np.unique(semantic) if label >= 0 and label not in THINGS]
        things = [(numbers == number, THINGS[kinds[numbers == number][0] - 1]) for number in np.unique(numbers)[1:]]
        for place, label in (*stuff, *things):
            ids[place] = 1000 * (len(segments) + 1)
            segments.append({"id": 1000 * (len(segments) + 1), "category_id": int(label), "area": int(place.sum())})
        write_segment_ids(top / "ade20k_panoptic_train" / mask.name, ids)
        images.append({"id": mask.stem, "file_name": f"{mask.stem}.jpg"})
        annotations.append({"image_id": mask.stem, "file_name": mask.name, "segments_info": segments})
    categories = [{"id": n, "name": name, "isthing": int(n in THINGS)} for n, name in enumerate(ADE20K.info.classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (top / "ade20k_panoptic_train.json").write_text(json.dumps(content))
    return top


def test_the_files_that_mask2former_prepares_of_ade20k_hold_the_segments_of_its_reader(tmp_path):
    top = write_prepared_ade20k(tmp_path)
    paths = {"images": "images/SPLIT", "annotations": "ade20k_panoptic_SPLIT.json", "masks": "ade20k_panoptic_SPLIT"}
    prepared = PanopticJson(top, "train", without_pixels="leave_out", **paths)
    official = ADE20K(top, "train", panoptic=True)
    assert prepared.info.things == official.info.things == THINGS
    for mine, its in zip(prepared, official, strict=True):
        assert mine.id == its.id
        shown = [[(part.label, *np.flatnonzero(one.panoptic.ids == part.id)) for part in one.panoptic.segments]
                 for one in (mine, its)]  # fmt: skip
        assert shown[0] == shown[1]
        np.testing.assert_array_equal(mine.panoptic.ids == 0, its.panoptic.ids == 0)
    facts = [segment_facts(sample.panoptic, prepared.info) for sample in prepared]
    assert any(fact.misstated for fact in facts)  # stuff of which objects hide a part
