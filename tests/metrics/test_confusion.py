import numpy as np
import pytest
import torch

from coatseg.metrics.confusion import ConfusionMatrix, image_mean_iou, semantic_scores

NAMES = ("a", "b", "c", "d")


def matrix(prediction: list[list[int]], truth: list[list[int]]) -> ConfusionMatrix:
    confusion = ConfusionMatrix(len(NAMES), 255)
    confusion.update(torch.tensor(prediction), torch.tensor(truth))
    return confusion


def test_by_hand() -> None:
    # a: 2 right, 1 called b. b: 1 right, 1 called c. c: never true, once predicted. d: neither.
    counts = matrix([[0, 0, 1, 1, 2, 3]], [[0, 0, 0, 1, 1, 255]]).counts
    assert counts.tolist() == [[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    scores = semantic_scores(counts, NAMES)
    np.testing.assert_allclose(scores.iou, [2 / 3, 1 / 3, 0, np.nan])
    np.testing.assert_allclose(scores.accuracy, [2 / 3, 1 / 2, np.nan, np.nan])
    np.testing.assert_allclose(scores.share, [3 / 5, 2 / 5, 0, 0])
    assert scores.mean_iou == pytest.approx((2 / 3 + 1 / 3 + 0) / 3)
    assert scores.mean_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert scores.pixel_accuracy == pytest.approx(3 / 5)
    assert scores.absent == ("d",)


def test_images_add_up_whatever_their_sizes() -> None:
    together = matrix([[0, 1, 1, 2]], [[0, 1, 2, 2]])
    apart = matrix([[0], [1]], [[0], [1]])
    apart.update(torch.tensor([[1, 2]]), torch.tensor([[2, 2]]))
    assert torch.equal(together.counts, apart.counts)


def test_counts_are_exact_integers() -> None:
    confusion = ConfusionMatrix(2, 255)
    confusion.counts[0, 0] = 2**53
    confusion.update(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64))
    assert int(confusion.counts[0, 0]) == 2**53 + 1


def test_sizes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in size"):
        matrix([[0, 1]], [[0]])


def test_no_pixel_gives_no_number() -> None:
    scores = semantic_scores(ConfusionMatrix(4, 255).counts, NAMES)
    assert np.isnan(scores.mean_iou)
    assert scores.table()[1] == ("a", "-", "-", "-")


def test_the_headline_names_absent_classes() -> None:
    assert "left out: c, d" in semantic_scores(matrix([[0, 1]], [[0, 1]]).counts, NAMES).headline()


def test_the_table_begins_with_the_best_class_and_ends_with_absent_ones() -> None:
    scores = semantic_scores(np.array([[1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 5, 0], [0, 1, 0, 8]]), (*NAMES[:3], "z"))
    assert [row[0] for row in scores.table()] == ["class", "c", "z", "a", "b"]
    empty_first = semantic_scores(np.diag([0, 2, 3, 4]), NAMES)
    assert [row[0] for row in empty_first.table()[1:]] == ["b", "c", "d", "a"]


def test_an_image_by_itself_scores_over_the_classes_in_its_truth_or_prediction() -> None:
    prediction, truth = torch.tensor([[0, 0, 2, 3]]), torch.tensor([[0, 1, 2, 255]])
    assert image_mean_iou(prediction, truth, 4, 255) == pytest.approx((1 / 2 + 0 + 1) / 3)
    assert np.isnan(image_mean_iou(prediction, torch.full((1, 4), 255), 4, 255))
