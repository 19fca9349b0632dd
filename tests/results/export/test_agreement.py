from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coatseg.results.export.agreement import agreement
from tests.results.checkpoints import OBJECTS, SEMANTIC, write_checkpoint

Composed = Callable[..., dict[str, Any]]


def test_pixels_agree_where_their_classes_do(composed: Composed, tmp_path: Path) -> None:
    task = write_checkpoint(tmp_path / "a.ckpt", composed(*SEMANTIC))
    ours = torch.zeros(1, 9, 10, 20)
    ours[:, 1] = 4.0
    row = agreement(task, (10, 20), [ours], [ours + 0.002])
    assert (row.alike, row.compared, row.good) == (1, 200, True)
    assert row.difference == pytest.approx(0.002 / 4)
    assert not agreement(task, (10, 20), [ours], [ours + 0.006]).good
    other = ours.clone()
    other[0, 2, 0, 0] = 4.001
    row = agreement(task, (10, 20), [ours], [other])
    assert row.alike == pytest.approx(199 / 200)
    assert not row.good
    assert not agreement(task, (10, 20), [ours], [ours * torch.nan]).good


def test_objects_agree_if_each_has_a_match_of_its_own(composed: Composed, tmp_path: Path) -> None:
    task = write_checkpoint(tmp_path / "a.ckpt", composed(*OBJECTS))
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 10.0001], [20, 20, 30, 30]])
    ours = [boxes, torch.tensor([0, 0, 1]), torch.tensor([0.9, 0.8995, 0.5]), torch.zeros(3, 1, 28, 28)]

    def compared(rows: list[int], **changed: Any) -> tuple[float, bool]:
        found = [tensor[rows] for tensor in ours]
        for place, value in changed.items():
            found[int(place[1:])] = found[int(place[1:])] + value
        row = agreement(task, (40, 40), ours, found)
        return row.alike, row.good

    assert compared([2, 1, 0]) == (1, True)
    assert compared([2, 1, 0], _0=0.0005) == (1, True)
    assert compared([2, 1, 0], _0=0.002) == (0, False)
    assert compared([2, 1, 0], _1=1) == (0, False)
    assert compared([2, 1, 0], _2=0.01) == (0, False)
    assert compared([2, 1, 0], _3=0.01) == (0, False)
    assert compared([0, 1]) == (pytest.approx(2 / 3), False)
    assert compared([]) == (0, False)
    nothing = [tensor[:0] for tensor in ours]
    assert agreement(task, (40, 40), nothing, nothing).good
