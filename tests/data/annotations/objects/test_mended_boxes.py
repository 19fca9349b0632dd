import numpy as np
import pytest

from coatseg.data.annotations.objects.mended_boxes import mend_boxes

SIZES = np.array([[48, 64]])


def mended(box, **options):
    result = mend_boxes(np.array([box], np.float64), SIZES, **options)
    return result.boxes[0].tolist() if result.kept[0] else None, result.repairs(lambda number: "here")


@pytest.mark.parametrize(
    ("stated", "box", "said"),
    [
        ([2, 3, 22, 23], [2, 3, 22, 23], None),
        ([0, 0, 64, 48], [0, 0, 64, 48], None),
        ([2.5, 3, 2.75, 23], [2.5, 3, 2.75, 23], None),
        ([2, 3, 2, 23], None, "1 box without area left out (first: here)"),
        ([2, 3, 22, 3], None, "1 box without area left out (first: here)"),
        ([22, 3, 2, 23], [2, 3, 22, 23], "1 box with reversed corners swapped (first: here)"),
        ([2, 23, 22, 3], [2, 3, 22, 23], "1 box with reversed corners swapped (first: here)"),
        ([-5, 3, 22, 60], [0, 3, 22, 48], "1 box reaching out of the image clipped (first: here)"),
        ([-0.5, 3, 64.5, 23], [0, 3, 64, 23], None),
        ([64, 3, 70, 23], None, "1 box outside the image left out (first: here)"),
        ([3, -9, 20, -1], None, "1 box outside the image left out (first: here)"),
        ([70, 3, 66, 23], None, "1 box outside the image left out (first: here)"),
    ],
)
def test_edges(stated, box, said):
    assert mended(stated) == (box, (said,) if said else ())


@pytest.mark.parametrize(
    ("stated", "first", "box"),
    [
        ([1, 1, 64, 48], 1, [0, 0, 64, 48]),
        ([3, 4, 22, 23], 1, [2, 3, 22, 23]),
        ([22, 23, 3, 4], 1, [2, 3, 22, 23]),
        ([0, 0, 63, 47], 0, [0, 0, 64, 48]),
    ],
)
def test_pixels_that_are_included(stated, first, box):
    assert mended(stated, first_pixel=first)[0] == box


def test_a_pixel_0_where_they_count_from_1_is_clipped_and_said():
    box, said = mended([0, 0, 10, 10], first_pixel=1)
    assert box == [0, 0, 10, 10]
    assert said == ("1 box reaching out of the image clipped (first: here)",)


def test_several_are_counted_and_the_first_is_named():
    boxes = np.array([[1, 1, 5, 5], [4, 4, 4, 4], [2, 2, 9, 2], [5, 5, 1, 1]], np.float64)
    result = mend_boxes(boxes, SIZES.repeat(4, 0))
    assert result.kept.tolist() == [True, False, False, True]
    assert result.repairs("box {}".format) == (
        "2 boxes without area left out (first: box 1)",
        "1 box with reversed corners swapped (first: box 3)",
    )


def test_no_boxes():
    result = mend_boxes(np.zeros((0, 4)), np.zeros((0, 2), np.int64))
    assert result.boxes.shape == (0, 4)
    assert result.repairs(str) == ()
