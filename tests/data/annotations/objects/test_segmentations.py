import numpy as np
import pytest
from pycocotools import mask as coco_masks

from coatseg.data.annotations.objects.segmentations import SegmentationColumn, decode_counts
from coatseg.data.images.raster import Window


def counts_of(text):
    return decode_counts(np.frombuffer(text, np.uint8))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_run_lengths_that_pycocotools_wrote_are_decoded(share):
    mask = np.asfortranarray(np.random.default_rng(0).random((37, 53)) < share, np.uint8)
    flat = np.concatenate([[0], mask.ravel(order="F")])
    edges = np.flatnonzero(np.diff(flat))
    expected = np.diff(np.concatenate([[0], edges, [mask.size]]))
    np.testing.assert_array_equal(counts_of(coco_masks.encode(mask)["counts"]), expected)


def test_long_and_shrinking_runs():
    counts = [1_000_000, 3, 5, 700_000, 1, 1, 2_000_000, 0, 9]
    height = sum(counts)
    text = coco_masks.frPyObjects({"size": [height, 1], "counts": counts}, height, 1)["counts"]
    assert counts_of(text).tolist() == counts


def test_annotations_are_drawn_in_any_order():
    column = SegmentationColumn()
    squares = [[[x, 1, x + 2, 1, x + 2, 3, x, 3]] for x in (0, 4)]
    assert [column.add(part, (5, 8)) for part in (*squares, [], None)] == [True, True, False, False]
    masks = column.collected().masks([1, 0, 1], (5, 8))
    assert masks.dtype == np.bool_
    assert [np.argwhere(mask).min(0).tolist() for mask in masks] == [[1, 4], [1, 0], [1, 4]]
    assert masks.sum((1, 2)).tolist() == [4, 4, 4]
    assert column.collected().masks([], (5, 8)).shape == (0, 5, 8)


@pytest.mark.parametrize("counts", [[40], [40, 0], [0, 40], [0, 0, 40, 0], [39, 1], [0, 1, 39], [7, 5, 0, 9, 3, 0, 16]])
def test_runs_of_any_kind_are_painted(counts):
    column = SegmentationColumn()
    column.add({"size": [5, 8], "counts": counts}, (5, 8))
    drawn = column.collected().masks([0], (5, 8))[0]
    expected = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(8, 5).T
    np.testing.assert_array_equal(drawn, expected)


def test_a_window_has_the_pixels_of_the_whole_image():
    """Polygons at fractions of pixels, out of the image too, with ties of the painter's rounding; and run lengths."""
    random, size = np.random.default_rng(0), (40, 50)
    column = SegmentationColumn()
    for number in range(120):
        if number % 3 == 0:
            mask = np.asfortranarray(random.random(size) < random.random() ** 2, np.uint8)
            encoded = coco_masks.encode(mask)
            column.add({"size": list(size), "counts": encoded["counts"].decode()}, size)
        else:
            points = random.uniform(-20, 70, (random.integers(3, 9), 2)).round(1 + number % 2)
            column.add([points.ravel().tolist()], size)
    segmentations, numbers = column.collected(), list(range(120))
    whole = segmentations.masks(numbers, size)
    assert whole.any((1, 2)).sum() > 100
    for y, x, height, width in ((0, 0, 40, 50), (7, 9, 20, 20), (39, 0, 1, 50), (0, 49, 40, 1), (13, 21, 27, 29)):
        window = Window(y, x, height, width)
        np.testing.assert_array_equal(segmentations.masks(numbers, size, window), whole[:, y:, x:][:, :height, :width])
