"""Objects through the augmentations: boxes, labels, masks and crowd flags stay together."""

from dataclasses import replace

import numpy as np
import pytest

from coatseg.data.augmentations.moves import Cut, Moved, Resized
from coatseg.data.augmentations.transform import Transform
from coatseg.errors import ConfigError
from coatseg.registry.names import table
from coatseg.structures import Instances, Sample
from tests.contracts.dataset import assert_same, check_instances
from tests.data.augmentations.test_transform import INFO, with_objects
from tests.data.generate import COLOURS, painted

BOXES_ALONE = replace(INFO, annotates=frozenset({"boxes"}))
STEPS = {
    "resize": {"short": [40, 56, 90], "long": 100},
    "resize_or_crop": {"short": [40, 56, 90], "long": 100, "crop": [40, 50], "crop_short": [50, 70]},
    "jitter": {"size": [64, 64]},
    "crop": {"size": [40, 90]},
    "scale": {},
    "flip": {},
    "vertical_flip": {},
    "rotate90": {},
    "photometric": {},
}


class Given(Moved):
    """A step of given moves."""

    def __init__(self, *moves):
        super().__init__(INFO)
        self.given = moves

    def moves(self, size, data):
        return self.given


def objects(boxes, *, size=(8, 10), masks=True):
    """A sample of rectangles, of class 1, 2, 3 and on."""
    planes = np.zeros((len(boxes), *size), bool)
    for plane, (x1, y1, x2, y2) in zip(planes, boxes, strict=True):
        plane[y1:y2, x1:x2] = True
    count = len(boxes)
    instances = Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.arange(1, count + 1),
        planes if masks else None,
        np.arange(count) % 2 == 1,
        np.full(count, 7.0),
    )
    return Sample("a", np.zeros((*size, 3), np.uint8), size, None, instances)


def moved(sample, *steps, seed=0):
    return Transform(steps, INFO)(sample, seed).instances


BOXES = [(0, 0, 4, 2), (4, 2, 10, 8), (9, 7, 10, 8)]


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Given(Cut((1, 2), (5, 6))), {1: (0, 0, 2, 1), 2: (2, 1, 6, 5)}),
        (Given(Cut((0, 0), (12, 12))), {1: (0, 0, 4, 2), 2: (4, 2, 10, 8), 3: (9, 7, 10, 8)}),
        (Given(Resized((16, 20))), {1: (0, 0, 8, 4), 2: (8, 4, 20, 16), 3: (18, 14, 20, 16)}),
        (Given(Resized((16, 20)), Cut((4, 8), (8, 8)), Resized((4, 4))), {2: (0, 0, 4, 4)}),
        (Given(Cut((2, 0), (2, 4))), {}),
        (table("augmentation")["flip"](INFO, probability=1), {1: (6, 0, 10, 2), 2: (0, 2, 6, 8), 3: (0, 7, 1, 8)}),
        (
            table("augmentation")["vertical_flip"](INFO, probability=1),
            {1: (0, 6, 4, 8), 2: (4, 0, 10, 6), 3: (9, 0, 10, 1)},
        ),
    ],
)
def test_boxes_and_masks_lie_where_they_do_by_hand(step, expected, masks):
    sample = objects(BOXES, masks=masks)
    done = moved(sample, step)
    assert done.labels.tolist() == list(expected)
    np.testing.assert_allclose(done.boxes, np.array(list(expected.values())).reshape(-1, 4), atol=1e-5)
    assert done.crowd.tolist() == [label == 2 for label in expected]
    assert done.areas is None
    if masks:
        for (x1, y1, x2, y2), mask in zip(done.boxes.astype(int), done.masks, strict=True):
            assert mask[y1:y2, x1:x2].all()
            assert mask.sum() == (y2 - y1) * (x2 - x1)


def test_turns_reach_all_four_sides():
    boxes = {tuple(moved(objects([(0, 0, 4, 2)]), table("augmentation")["rotate90"](INFO), seed=seed).boxes[0])
             for seed in range(40)}  # fmt: skip
    assert boxes == {(0, 0, 4, 2), (6, 6, 10, 8), (0, 6, 2, 10), (6, 0, 8, 4)}


@pytest.mark.parametrize("masks", [True, False])
def test_an_image_that_lost_its_objects_stays_as_a_negative(masks):
    done = Transform([Given(Cut((2, 0), (2, 4)))], INFO)(objects(BOXES, masks=masks), 0)
    assert done.image.shape == (2, 4, 3)
    assert done.instances.boxes.shape == (0, 4)
    assert (done.instances.masks is None) == (not masks)
    assert_same(Transform([table("augmentation")["flip"](INFO)], INFO)(done, 0), done)


def test_the_box_of_a_cut_object_is_that_of_what_is_left_of_its_mask():
    mask = np.zeros((1, 8, 10), bool)
    mask[0, 0, :] = mask[0, :, 0] = True  # an L upside down
    whole = Instances(np.array([[0, 0, 10, 8]], np.float32), np.array([1]), mask, np.zeros(1, bool))
    sample = replace(objects([]), instances=whole)
    assert moved(sample, Given(Cut((2, 0), (6, 10)))).boxes.tolist() == [[0, 0, 1, 6]]
    clipped = replace(sample, instances=replace(whole, masks=None))
    assert moved(clipped, Given(Cut((2, 0), (6, 10)))).boxes.tolist() == [[0, 0, 10, 6]]


def test_what_is_left_of_a_box_alone_has_a_tenth_of_a_pixel_at_least():
    boxes = np.array([(0, 0, 3.05, 5), (0, 0, 3.5, 5)], np.float32)
    two = Instances(boxes, np.array([1, 2]), None, np.zeros(2, bool))
    sample = replace(objects([], masks=False), instances=two)
    assert moved(sample, Given(Cut((0, 3), (8, 7)))).labels.tolist() == [2]


def test_rounding_drops_no_box_of_one_pixel():
    corners = np.random.default_rng(0).integers(0, (639, 479), (1000, 2))
    pixels = Instances(
        np.column_stack([corners, corners + 1]).astype(np.float32), np.ones(1000, np.int64), None, np.zeros(1000, bool)
    )
    sample = Sample("a", np.zeros((479, 639, 3), np.uint8), (479, 639), None, pixels)
    assert len(moved(sample, table("augmentation")["flip"](INFO, probability=1.0))) == 1000


@pytest.mark.parametrize("name", sorted(table("augmentation")))
def test_boxes_are_tight_labels_follow_and_the_image_shows_them(name):
    step = table("augmentation")[name](INFO, **STEPS[name])
    before = with_objects().instances
    seen = set()
    for seed in range(60):
        done = Transform([step], INFO)(with_objects(), seed)
        check_instances(done, INFO)
        after = done.instances
        seen.add(len(after))
        for box, label, mask, crowd in zip(after.boxes, after.labels, after.masks, after.crowd, strict=True):
            ys, xs = np.nonzero(mask)
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
            assert crowd == before.crowd[label - 1]
            np.testing.assert_array_equal(mask, done.label_map == label)
            np.testing.assert_array_equal(mask, done.panoptic.ids == 2**24 + label)
        assert {segment.label for segment in done.panoptic.segments} == set(after.labels.tolist())
        alone = moved(replace(with_objects(), instances=replace(before, masks=None)), step, seed=seed)
        check_instances(replace(done, instances=alone), BOXES_ALONE)
        assert set(alone.labels.tolist()) <= set(after.labels.tolist())
        tight = {int(label): box for label, box in zip(after.labels, after.boxes, strict=True)}
        for label, box in zip(alone.labels.tolist(), alone.boxes, strict=True):
            np.testing.assert_allclose(box, tight[label], atol=2)  # a pixel, which may be resized again
    assert 3 in seen


@pytest.mark.parametrize("name", sorted(table("augmentation")))
def test_packed_masks_move_as_each_would_by_itself(name):
    random = np.random.default_rng(0)
    masks = np.zeros((40, 60, 80), bool)
    for mask, (x, y, width, height) in zip(
        masks, random.integers((0, 0, 1, 1), (70, 50, 30, 25), (40, 4)), strict=True
    ):
        mask[y : y + height, x : x + width] = random.random(mask[y : y + height, x : x + width].shape) < 0.8
    instances = Instances(np.ones((40, 4), np.float32), random.integers(1, 4, 40), masks, random.random(40) < 0.3)
    sample = replace(with_objects(), instances=instances, label_map=None)
    transform = Transform([table("augmentation")[name](INFO, **STEPS[name])], INFO)
    for seed in range(5):
        together = transform(sample, seed).instances
        one_by_one = [
            transform(replace(sample, instances=Instances(
                instances.boxes[[n]], instances.labels[[n]], masks[[n]], instances.crowd[[n]]
            )), seed).instances
            for n in range(40)
        ]  # fmt: skip
        for part in ("boxes", "labels", "masks", "crowd"):
            np.testing.assert_array_equal(
                getattr(together, part), np.concatenate([getattr(alone, part) for alone in one_by_one])
            )


def sizes(name, size=(60, 80), seeds=150, **options):
    sample = Sample("a", painted(np.zeros(size, np.uint8), COLOURS, 0), size)
    transform = Transform([table("augmentation")[name](INFO, **options)], INFO)
    return [transform(sample, seed).image.shape[:2] for seed in range(seeds)]


def test_a_shorter_side_is_one_of_the_choices_or_any_of_a_range():
    assert set(sizes("resize", short=[30, 90], long=110)) == {(30, 40), (83, 110)}  # 120 would be too long
    assert set(sizes("resize", size=(80, 60), short=[30])) == {(40, 30)}
    drawn = sizes("resize", short=[30, 35], sampling="range")
    assert {height for height, _ in drawn} == set(range(30, 36))


def test_half_of_the_images_are_cut_before_they_are_resized():
    drawn = sizes("resize_or_crop", short=[60], long=800, crop=[20, 40], crop_short=[60])
    whole = drawn.count((60, 80))
    assert 50 < whole < 100
    shapes = {width / height for height, width in drawn}
    assert min(shapes) < 0.7
    assert max(shapes) > 1.6
    assert set(sizes("resize_or_crop", short=[60], probability=0)) == {(60, 80)}
    assert set(sizes("resize_or_crop", short=[60], probability=1, crop=[20, 20], seeds=20)) == {(60, 60)}


def test_windows_are_no_larger_than_the_image():
    drawn = sizes("resize_or_crop", short=[60], crop=[384, 600], crop_short=[40], probability=1, seeds=10)
    assert set(drawn) == {(60, 80)}  # 40 x 53, whole


def test_jitter_fills_its_range_and_always_has_one_size():
    position = np.ones((30, 40, 3), np.uint8)
    sample = Sample("a", position * 200, (30, 40), np.zeros((30, 40), np.uint8))
    jitter = Transform([table("augmentation")["jitter"](INFO, size=[60, 60])], INFO)
    widths = []
    for seed in range(200):
        done = jitter(sample, seed)
        assert done.image.shape == (60, 60, 3)
        filled = done.label_map == 0
        np.testing.assert_array_equal(filled, (done.image == 200).all(-1))
        rows, columns = np.flatnonzero(filled.any(1)), np.flatnonzero(filled.any(0))
        assert (rows[0], columns[0]) == (0, 0)
        widths.append(len(columns))
        if len(columns) < 60:
            assert len(rows) == pytest.approx(len(columns) * 3 / 4, abs=1)
    assert min(widths) < 12  # 0.1 of 60 is 6
    assert 0.4 < np.mean(np.array(widths) == 60) < 0.65  # the half above a factor of 1.05


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("resize", {"short": 480}, "resize.short=480"),
        ("resize", {"short": []}, "resize.short"),
        ("resize", {"short": [0, 480]}, "resize.short"),
        ("resize", {"short": [480, 800], "long": 640}, "resize.long=640 is less than 800"),
        ("resize", {"short": [480, 640, 800], "sampling": "range"}, "is no range"),
        ("resize", {"short": [800, 480], "sampling": "range"}, "is no range"),
        ("resize_or_crop", {"crop": [600, 384]}, "resize_or_crop.crop"),
        ("resize_or_crop", {"crop": [384]}, "resize_or_crop.crop"),
        ("resize_or_crop", {"crop_short": 400}, "resize_or_crop.crop_short"),
        ("resize_or_crop", {"probability": 50}, "resize_or_crop.probability=50"),
        ("jitter", {"size": [512]}, "jitter.size"),
        ("jitter", {"size": [512, 512], "low": 0}, "jitter.low=0"),
        ("jitter", {"size": [512, 512], "low": 2, "high": 1}, "jitter.low=2"),
        ("vertical_flip", {"probability": 2}, "vertical_flip.probability=2"),
    ],
)
def test_options_that_cannot_be_are_named(name, options, key):
    with pytest.raises(ConfigError, match=rf"^data\.augmentations\.{name}.*{key.removeprefix(name)}"):
        table("augmentation")[name](INFO, **options)
