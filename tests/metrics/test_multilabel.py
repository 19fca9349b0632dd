import numpy as np
import pytest
import torch

from coatseg.metrics.multilabel import LayerCounts, layer_scores

NAMES = ("a", "b", "c", "d")
PREDICTION = torch.tensor([[[1, 1, 1, 0, 1]], [[0, 0, 0, 0, 0]], [[1, 0, 0, 0, 0]], [[0, 0, 0, 0, 0]]]).bool()
TRUTH = torch.tensor([[[1, 1, 0, 1, 255]], [[1, 0, 0, 0, 0]], [[0, 0, 0, 255, 255]], [[0, 0, 0, 0, 0]]]).to(torch.uint8)


def test_by_hand() -> None:
    counted = LayerCounts(4, 255)
    counted.update(PREDICTION, TRUTH)
    # a: 2 right, 1 too many, 1 missed, one unknown. b: 1 missed. c: 1 too many. d: neither.
    assert counted.counts.tolist() == [[2, 3, 3], [0, 1, 0], [0, 0, 1], [0, 0, 0]]
    scores = layer_scores(counted.counts, NAMES)
    np.testing.assert_allclose(scores.iou, [2 / 4, 0, 0, np.nan])
    np.testing.assert_allclose(scores.dice, [4 / 6, 0, 0, np.nan])
    np.testing.assert_allclose(scores.precision, [2 / 3, np.nan, 0, np.nan])
    np.testing.assert_allclose(scores.recall, [2 / 3, 0, np.nan, np.nan])
    assert scores.summary() == pytest.approx({"mIoU": 1 / 6, "mDice": 2 / 9})
    assert scores.absent == ("d",)
    assert scores.headline() == "mIoU 0.1667, mean Dice 0.2222; absent and left out: d"
    assert scores.table()[:3] == [
        ("class", "IoU", "Dice", "precision", "recall"),
        ("a", "50.00", "66.67", "66.67", "66.67"),
        ("b", "0.00", "0.00", "-", "0.00"),
    ]


def test_images_add_up_whatever_their_sizes() -> None:
    together, apart = LayerCounts(4, 255), LayerCounts(4, 255)
    together.update(PREDICTION, TRUTH)
    apart.update(PREDICTION[..., :2], TRUTH[..., :2])
    apart.update(PREDICTION[..., 2:], TRUTH[..., 2:])
    assert torch.equal(together.counts, apart.counts)
    apart.reset()
    assert not apart.counts.any()


def test_counts_are_exact_integers() -> None:
    counted = LayerCounts(1, 255)
    counted.counts += 2**53
    counted.update(torch.ones(1, 1, 1, dtype=torch.bool), torch.ones(1, 1, 1, dtype=torch.uint8))
    assert counted.counts.tolist() == [[2**53 + 1] * 3]


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        LayerCounts(4, 255).update(PREDICTION, TRUTH[:1])


def test_no_pixel_gives_no_number() -> None:
    scores = layer_scores(LayerCounts(4, 255).counts, NAMES)
    assert np.isnan(scores.mean_iou)
    assert scores.table()[1] == ("a", "-", "-", "-", "-")
