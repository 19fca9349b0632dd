import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from coatseg.metrics.boundary import BoundaryCounts, boundary_region
from coatseg.metrics.confusion import ConfusionMatrix, semantic_scores, with_boundaries


def square(left: int, size: int = 12) -> Tensor:
    """A label map of class 0 with a 6x6 square of class 1, three pixels below its upper border."""
    labels = torch.zeros(size, size, dtype=torch.int64)
    labels[3:9, left : left + 6] = 1
    return labels


def counts(prediction: Tensor, truth: Tensor, distance: float = 1 / 17, classes: int = 2) -> list[list[int]]:
    """The counts of one image; 1/17 of the diagonal of 12x12 pixels is one pixel."""
    boundaries = BoundaryCounts(classes, 255, distance)
    boundaries.update(prediction, truth)
    listed: list[list[int]] = boundaries.counts.tolist()
    return listed


def test_a_shifted_square_by_hand() -> None:
    # Class 1: at one pixel, the region of a 6x6 square is its ring of 36 - 16 = 20 pixels. A shift by one to the right
    # keeps 5 + 5 pixels of the upper and lower sides; the left and right sides meet none of the other ring.
    intersections, unions = counts(square(4), square(3))
    assert (intersections[1], unions[1]) == (10, 20 + 20 - 10)
    # Class 0: its ring along the border, 144 - 100 = 44 pixels, and the 8x8 - 6x6 = 28 around the square. Of the
    # latter, those of the truth at columns 2 to 9 and of the prediction at 3 to 10 share the rows above and below
    # (7 + 7); the sides are apart. Only the square's rows 2 to 9 come near the border's ring, which they do not meet.
    assert (intersections[0], unions[0]) == (44 + 14, (44 + 28) * 2 - (44 + 14))


def test_two_pixels_wide_it_holds_more_of_a_square() -> None:
    # The region two pixels wide leaves out the inner 2x2: 32 pixels. Shifted by one the squares share 6x5, less what
    # is in the inner part of either: 2x2 and 2x2, of which 2x1 is common.
    intersections, unions = counts(square(4), square(3), distance=2 / 17)
    assert intersections[1] == 30 - (4 + 4 - 2)
    assert unions[1] == 32 + 32 - intersections[1]


def test_it_agrees_with_a_mask_eroded_class_by_class() -> None:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 4, (2, 6, 8)).astype(np.uint8)
    truth, prediction = (cv2.resize(part, (40, 30), interpolation=cv2.INTER_NEAREST) for part in coarse)
    truth[10:14, 5:20] = 255
    found = counts(torch.from_numpy(prediction).long(), torch.from_numpy(truth).long(), distance=0.06, classes=4)
    steps = 3  # 0.06 of a diagonal of 50
    for label in range(4):
        regions = []
        for labels in (truth, prediction):
            mask = np.pad(((labels == label) & (truth != 255)).astype(np.uint8), 1)  # zeros: the border is a contour
            regions.append((mask - cv2.erode(mask, np.ones((3, 3), np.uint8), iterations=steps))[1:-1, 1:-1] > 0)
        assert found[0][label] == (regions[0] & regions[1]).sum()
        assert found[1][label] == (regions[0] | regions[1]).sum()


def test_the_border_of_the_image_is_a_contour() -> None:
    region = boundary_region(np.zeros((5, 6), np.int64), np.ones((5, 6), np.bool_), steps=2)
    assert region.sum() == 5 * 6 - 1 * 2
    assert not region[2, 2:4].any()


def test_ignored_pixels_belong_to_no_class_in_either() -> None:
    truth = square(3)
    truth[:, 6:] = 255
    guess = square(3)
    intersections, unions = counts(guess, truth)
    assert intersections == unions  # what is predicted there does not matter
    guess[:, 6:] = 1
    assert counts(guess, truth) == [intersections, unions]


def test_an_object_smaller_than_the_distance_is_all_boundary() -> None:
    truth = torch.zeros(100, 100, dtype=torch.int64)
    truth[40:42, 40:42] = 1
    intersections, unions = counts(truth, truth, distance=0.02)
    assert (intersections[1], unions[1]) == (4, 4)


def test_at_least_one_pixel_wide() -> None:
    assert counts(square(3), square(3), distance=0.001)[1][1] == 20


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        counts(torch.zeros(2, 2, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64))


def test_scores_pool_over_images_and_stand_in_table_headline_and_definition() -> None:
    boundaries, confusion = BoundaryCounts(3, 255, 1 / 17), ConfusionMatrix(3, 255)
    for prediction, truth in ((square(4), square(3)), (square(3), square(3))):
        boundaries.update(prediction, truth)
        confusion.update(prediction, truth)
    plain = semantic_scores(confusion.counts, ("ground", "house", "absent"))
    scores = with_boundaries(plain, boundaries.counts, boundaries.definition)
    assert scores.boundary_iou is not None
    np.testing.assert_allclose(scores.boundary_iou, [(58 + 72) / (86 + 72), (10 + 20) / (30 + 20), np.nan])
    assert scores.mean_boundary_iou == pytest.approx(((58 + 72) / (86 + 72) + 30 / 50) / 2)
    assert scores.summary()["mBIoU"] == scores.mean_boundary_iou
    assert f"mBIoU {scores.mean_boundary_iou:.4f}" in scores.headline()
    assert scores.table()[0] == ("class", "IoU", "boundary IoU", "accuracy", "share of pixels")
    assert scores.table()[2][:3] == ("house", f"{100 * scores.iou[1]:.2f}", "60.00")
    assert scores.table()[3] == ("absent", "-", "-", "-", "0.00")
    assert "Cheng" in scores.definition
    assert "mBIoU" not in plain.summary()
    assert "Cheng" not in plain.definition
    boundaries.reset()
    assert not boundaries.counts.any()
