import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_masks

from coatseg.data.annotations.objects.entries import ObjectEntries
from coatseg.data.annotations.objects.options import ClassChoice, ObjectOptions
from coatseg.data.annotations.objects.windowed import WindowedObjects
from coatseg.data.datasets.geojson import GeoJson
from coatseg.data.images.raster import Window
from coatseg.errors import DatasetError
from coatseg.structures import RandomDataset
from tests.contracts.dataset import DatasetContract, assert_same, check_sample
from tests.data.formats import closed, feature, write_geojson

OUTLINE = closed((10, 10, 30, 30))


class TestGeoJson(DatasetContract):
    def make(self, root):
        return GeoJson(write_geojson(root), "train")


class TestPainted(DatasetContract):
    def make(self, root):
        return GeoJson(write_geojson(root), "train", semantic=True)


class TestWindows(DatasetContract):
    def make(self, root):
        return GeoJson(write_geojson(root), "train", window=(24, 40), windows_per_image=2)


class TestPaintedWindows(DatasetContract):
    def make(self, root):
        return GeoJson(write_geojson(root), "train", window=(24, 40), semantic=True)


def one(root, content, size=(48, 64)):
    path = root / "train" / "x.png"
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size[::-1]).save(path)
    path.with_suffix(".geojson").write_text(json.dumps(content))
    return root


def masks_of(root, *features):
    return GeoJson(one(root, list(features)), "train")[0].instances.masks


def test_a_square_of_20_pixels_has_400(tmp_path):
    masks = masks_of(tmp_path, feature([OUTLINE], "a"))
    assert masks.sum() == 400
    assert masks[0, 10:30, 10:30].all()


def test_holes_stay_holes(tmp_path):
    holes = [closed((12, 12, 16, 20)), closed((20, 14, 28, 16))[::-1]]
    masks = masks_of(tmp_path, feature([OUTLINE, *holes], "a"))
    expected = np.zeros((48, 64), bool)
    expected[10:30, 10:30] = True
    expected[12:20, 12:16] = expected[14:16, 20:28] = False
    np.testing.assert_array_equal(masks[0], expected)


def test_outlines_less_their_holes_are_what_pycocotools_paints(tmp_path):
    random, features, expected = np.random.default_rng(0), [], []
    for _ in range(40):
        angles = np.sort(random.uniform(0, 2 * np.pi, 9))
        star = random.uniform(10, 22, (9, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
        rings = [(random.uniform(20, 30, 2) + share * star[::step]).round(2) for share, step in ((1, 1), (0.3, -1))]
        rings[1] += rings[0].mean(0).round(2) - rings[1].mean(0).round(2)
        outer, inner = (
            coco_masks.decode(coco_masks.frPyObjects([ring.ravel().tolist()], 48, 64))[..., 0] for ring in rings
        )
        if not (inner & ~outer & 1).any():
            features.append(feature([[*ring.tolist(), ring[0].tolist()] for ring in rings], "a"))
            expected.append((outer & ~inner & 1).astype(bool))
    assert len(features) > 20
    np.testing.assert_array_equal(masks_of(tmp_path, *features), expected)


def test_an_object_of_two_parts_is_one(tmp_path):
    parts = [[closed((1, 1, 5, 5)), closed((2, 2, 3, 3))], [closed((40, 30, 42, 32))]]
    objects = GeoJson(one(tmp_path, [feature(parts, "a", "MultiPolygon")]), "train")[0].instances
    assert objects.masks.sum((1, 2)).tolist() == [15 + 4]
    assert objects.boxes.tolist() == [[1, 1, 42, 32]]


def test_classes_and_colours_are_those_of_all_splits(tmp_path):
    write_geojson(tmp_path)
    older = feature([OUTLINE], None, classification={"name": "Tumor", "colorRGB": -3670016})
    newer = feature([OUTLINE], None, classification={"names": ["Tumor", "Positive"]})
    (tmp_path / "val" / "0100.geojson").write_text(json.dumps({"features": [older, newer]}))
    info = GeoJson(tmp_path, "train").info
    assert info.classes == ("Tumor", "Tumor: Positive", "person", "stop sign", "toothbrush")
    assert info.palette[0] == (200, 0, 0)  # -3670016 is 0xFFC80000
    assert info.palette[2] == (200, 0, len("person"))
    chosen = GeoJson(tmp_path, "train", choice=ClassChoice(leave_out=["person", "Tumor", "Tumor: Positive"]))
    assert chosen.info.classes == ("stop sign", "toothbrush")
    assert chosen[0].instances.labels.tolist() == [0, 1]


def test_objects_without_a_class_are_refused_or_of_one_that_is_named(tmp_path):
    one(tmp_path, [feature([OUTLINE], "a"), feature([closed((1, 1, 3, 3))], None)])
    with pytest.raises(DatasetError, match=r"x.geojson, feature 2 has no classification\.\n.*data.unclassified=cell"):
        GeoJson(tmp_path, "train")
    dataset = GeoJson(tmp_path, "train", unclassified="cell")
    assert dataset.info.classes == ("a", "cell")
    assert dataset[0].instances.labels.tolist() == [0, 1]
    left = GeoJson(tmp_path, "train", unclassified="cell", choice=ClassChoice(leave_out=["cell"]))
    assert left[0].instances.labels.tolist() == [0]


def test_points_lines_and_other_planes_are_left_out_and_counted(tmp_path):
    other = feature([OUTLINE], "a")
    other["geometry"]["plane"] = {"c": -1, "z": 2, "t": 0}
    features = [
        feature([OUTLINE], "a"),
        feature([[1, 1], [4, 4]], "b", "LineString"),
        feature([1, 1], "b", "Point"),
        other,
    ]
    dataset = GeoJson(one(tmp_path, features), "train")
    assert dataset.info.classes == ("a",)
    assert len(dataset[0].instances) == 1
    assert dataset.repairs == (
        "1 LineString left out (first: train/x.geojson, feature 2)",
        "1 Point left out (first: train/x.geojson, feature 3)",
        "1 object in another plane of its image left out (first: train/x.geojson, feature 4)",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([feature([OUTLINE[:-1]], "a")], "feature 1 has an outline that is not closed"),
        (
            [feature([OUTLINE], "a"), feature([OUTLINE, closed((1, 1, 2, 2))[:-1]], "a")],
            "feature 2 has an outline that",
        ),
        ([feature([OUTLINE, closed((1, 1, 20, 20))], "a")], "feature 1 has a hole that reaches out of its outline"),
        ([feature([[[1, 1], [2, "x"], [3, 3], [1, 1]]], "a")], "feature 1 has an outline that is no list of points"),
        ([feature([[[1, 1], [2, None], [3, 3], [1, 1]]], "a")], "feature 1 has an outline"),
        ([feature([], "a", "MultiPolygon"), feature([[]], "a", "MultiPolygon")], "feature 2 has no coordinates"),
        ([feature([OUTLINE], "a", "Sphere")], "feature 1 has a geometry of the type 'Sphere'"),
        ([feature([OUTLINE], None, classification={"name": "a", "color": [1, 2, 300]})], "feature 1 has the colour"),
        ({"type": "FeatureCollection", "crs": {"type": "name"}, "features": []}, "has a coordinate system, crs"),
        ({"features": [{"type": "Feature"}]}, "is no GeoJSON of features"),
        ({"features": 3}, "is no GeoJSON of features"),
        ([feature([[[-71.1, 42.3], [-71.0, 42.3], [-71.0, 42.4], [-71.1, 42.3]]], "a")], "no outline is in its image"),
        ([feature([[[11.1, 42.3], [11.2, 42.3], [11.2, 42.4], [11.1, 42.3]]], "a")], "no outline is in its image"),
        ([feature([closed((500000, 4600000, 500100, 4600100))], "a")], "x=500000, y=4.6e"),
    ],
)
def test_what_makes_no_sense_is_named(tmp_path, content, said):
    one(tmp_path, content)
    with pytest.raises(DatasetError, match=f"x.geojson.*{said}"):
        GeoJson(tmp_path, "train")


def test_windows_show_what_of_the_objects_lies_in_them(tmp_path):
    """The pixels are those of the whole image, cut; objects without a pixel in a window are not in it."""
    write_geojson(tmp_path)
    random = np.random.default_rng(0)
    for path in tmp_path.rglob("*.geojson"):  # at fractions of pixels, and out of the image
        content = json.loads(path.read_text())
        for _ in range(12):
            points = (random.uniform(-6, 60, (7, 2)) * 100).round() / 100
            content["features"].append(feature([[*points.tolist(), points[0].tolist()]], "person"))
        path.write_text(json.dumps(content))
    whole = GeoJson(tmp_path, "train")
    painted = GeoJson(tmp_path, "train", semantic=True)
    dataset = GeoJson(tmp_path, "train", window=(20, 30), windows_per_image=4)
    label_maps = GeoJson(tmp_path, "train", window=(20, 30), windows_per_image=4, semantic=True)
    assert isinstance(dataset, RandomDataset)
    assert dataset.draws
    assert len(dataset) == 4 * len(whole)
    for index in range(len(dataset)):
        sample = dataset.drawn(index, seed=3 * index)
        check_sample(sample, dataset.info)
        name, _, corner = sample.id.partition("@")
        y, x = map(int, corner.split(","))
        cut = np.s_[y : y + 20, x : x + 30]
        truth = whole[index % 3]
        assert truth.id == name
        np.testing.assert_array_equal(sample.image, truth.image[cut])
        masks = truth.instances.masks[:, *cut]
        seen = masks.any((1, 2))
        np.testing.assert_array_equal(sample.instances.masks, masks[seen])
        np.testing.assert_array_equal(sample.instances.labels, truth.instances.labels[seen])
        np.testing.assert_array_equal(sample.instances.areas, masks[seen].sum((1, 2)))
        for box, mask in zip(sample.instances.boxes, masks[seen], strict=True):
            rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
            assert box.tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        np.testing.assert_array_equal(label_maps.drawn(index, 3 * index).label_map, painted[index % 3].label_map[cut])
    assert GeoJson(tmp_path, "val", window=(20, 30))[0].original_size == (48, 64)
    assert_same(dataset[5], dataset.drawn(5, 5))


def test_an_object_of_a_huge_image_is_painted_in_its_window_alone(tmp_path):
    """A mask of the whole image would have 4e10 pixels, more than run lengths can count."""
    entries = ObjectEntries(["a"])
    entries.add_image("x", "x.tif", (200_000, 200_000))
    entries.add(0, "feature 1", bbox=[150_000, 150_000, 20, 20], segmentation=[
        [150_000, 150_000, 150_020, 150_000, 150_020, 150_020, 150_000, 150_020]
    ])  # fmt: skip
    windowed = WindowedObjects.of(entries.collected(tmp_path, ObjectOptions()))
    objects = windowed.instances(0, (200_000, 200_000), Window(149_990, 149_995, 64, 64))
    assert objects.masks.sum() == 400
    assert objects.boxes.tolist() == [[5, 10, 25, 30]]


def test_a_double_suffix_is_no_part_of_the_name(tmp_path):
    one(tmp_path, [feature([OUTLINE], "a")])
    image = tmp_path / "train" / "x.png"
    Image.open(image).save(tmp_path / "train" / "x.ome.tif")
    image.unlink()
    assert GeoJson(tmp_path, "train")[0].instances.masks.sum() == 400
