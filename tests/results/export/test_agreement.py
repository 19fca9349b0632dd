from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from coatseg.models.heads.base import Segments
from coatseg.results.export.agreement import agreement, same_segments
from tests.results.checkpoints import OBJECTS, SEGMENTS, SEMANTIC, write_checkpoint

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


def segments(ids: list[list[int]], labels: list[int]) -> Segments:
    return Segments(torch.tensor(ids, dtype=torch.int32), torch.tensor(labels), torch.ones(len(labels)))


def test_pixels_are_in_the_same_segments_whatever_these_are_called() -> None:
    ours = segments([[1, 1, 2, 2, 0]], [4, 5])
    assert same_segments(ours, segments([[2, 2, 1, 1, 0]], [5, 4])).tolist() == [[True] * 5]
    assert same_segments(ours, segments([[2, 2, 1, 1, 0]], [4, 5])).tolist() == [[False] * 4 + [True]]
    split = segments([[1, 1, 2, 3, 0]], [4, 5, 5])
    assert same_segments(ours, split).sum() == same_segments(split, ours).sum() == 4
    assert same_segments(ours, segments([[0] * 5], [])).tolist() == [[False] * 4 + [True]]


def test_maps_and_segments_have_to_agree(composed: Composed, tmp_path: Path) -> None:
    task = write_checkpoint(tmp_path / "a.ckpt", composed(*SEGMENTS))
    classes, centres, offsets = torch.zeros(1, 9, 10, 20), torch.zeros(1, 1, 10, 20), torch.ones(1, 2, 10, 20)
    classes[:, 0], classes[:, 1] = 4.0, 3.999
    ours = [classes, centres, offsets]
    row = agreement(task, (10, 20), ours, [classes + 0.002, centres, offsets])
    assert (row.alike, row.compared, row.good) == (1, 200, True)
    assert row.difference == pytest.approx(0.002 / 4)
    assert not agreement(task, (10, 20), ours, [classes, centres, offsets + 0.002]).good
    other = classes.clone()
    other[0, 1, :, :10] = 4.001
    row = agreement(task, (10, 20), ours, [other, centres, offsets])
    assert row.alike == 0.5
    assert not row.good
    assert not agreement(task, (10, 20), ours, [classes * torch.nan, centres, offsets]).good
