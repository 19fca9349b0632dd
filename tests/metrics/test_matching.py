import numpy as np
import pytest
import torch

from coatseg.metrics.matching import match
from coatseg.structures import InstancePrediction, InstanceTarget

NEAR, FAR = [10.0, 10, 20, 20], [50.0, 50, 60, 60]


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> InstancePrediction:
    return InstancePrediction(
        "a", (80, 80), torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels), torch.tensor(scores)
    )


def true(boxes: list[list[float]], labels: list[int], crowd: list[bool]) -> InstanceTarget:
    return InstanceTarget(torch.tensor(boxes).reshape(-1, 4), torch.tensor(labels), None, torch.tensor(crowd))


def test_by_hand() -> None:
    # Right; the same object again; another class; below the least score.
    prediction = found([NEAR, NEAR, FAR, FAR], [0, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])
    matches = match(prediction, true([NEAR, FAR], [0, 0], [False, False]))
    assert matches.right.tolist() == [True, False, False, False]
    assert matches.false.tolist() == [False, True, True, False]
    assert matches.missed.tolist() == [False, True]
    assert matches.f1 == pytest.approx(2 * 1 / (2 * 1 + 2 + 1))


def test_the_surest_comes_first_in_whatever_order() -> None:
    matches = match(found([NEAR, NEAR], [0, 0], [0.5, 0.9]), true([NEAR], [0], [False]))
    assert matches.right.tolist() == [False, True]


def test_crowds_are_neither_missed_nor_are_detections_in_them_false() -> None:
    matches = match(found([[55.0, 55, 58, 58], NEAR], [0, 0], [0.9, 0.8]), true([FAR], [0], [True]))
    assert matches.false.tolist() == [False, True]
    assert not matches.missed.any()


def test_nothing_found_where_nothing_is_has_no_score() -> None:
    nothing = torch.zeros(0, dtype=torch.int64)
    empty = InstancePrediction("a", (80, 80), torch.zeros(0, 4), nothing, torch.zeros(0))
    assert np.isnan(match(empty, InstanceTarget(torch.zeros(0, 4), nothing, None, nothing.bool())).f1)
    assert match(empty, true([NEAR], [0], [False])).f1 == 0
    assert match(found([NEAR], [0], [0.9]), InstanceTarget(torch.zeros(0, 4), nothing, None, nothing.bool())).f1 == 0


def test_masks_decide_where_both_have_them() -> None:
    left, right = (torch.zeros(1, 80, 80, dtype=torch.bool) for _ in range(2))
    left[0, 10:20, 10:15], right[0, 10:20, 15:20] = True, True
    box, label, score = torch.tensor([NEAR]), torch.tensor([0]), torch.tensor([0.9])
    prediction = InstancePrediction("a", (80, 80), box, label, score, left)
    assert match(prediction, InstanceTarget(box, label, right, torch.tensor([False]))).f1 == 0
    assert match(prediction, InstanceTarget(box, label, None, torch.tensor([False]))).f1 == 1
