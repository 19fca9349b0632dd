"""What is learnt of a panoptic truth, by hand."""

import math

import pytest
import torch

from coatseg.models.heads.panoptic.truth import UNKNOWN, TruthMaps, batch_truth, segment_of, truth_maps
from coatseg.structures import PanopticTarget

IS_THING = torch.tensor([False, True, False])
LABELS = {10: 0, 20: 1, 30: 1, 40: 1, 50: 2}


def target(ids: torch.Tensor, *, crowds: tuple[int, ...] = ()) -> PanopticTarget:
    numbers = [number for number in sorted(LABELS, reverse=True) if (ids == number).any()]
    return PanopticTarget(
        ids=ids.to(torch.int32),
        numbers=torch.tensor(numbers, dtype=torch.int32),
        labels=torch.tensor([LABELS[number] for number in numbers], dtype=torch.int64),
        crowd=torch.tensor([number in crowds for number in numbers], dtype=torch.bool),
    )


def maps_of(ids: torch.Tensor, *, crowds: tuple[int, ...] = (), sigma: float = 1.0) -> TruthMaps:
    return truth_maps(target(ids, crowds=crowds), IS_THING, sigma)


def test_every_pixel_finds_its_segment() -> None:
    ids = torch.tensor([[0, 50, 10], [20, 10, 7]])
    assert segment_of(target(ids)).tolist() == [[3, 0, 2], [1, 2, 3]]  # 50, 20, 10; 7 is in no list, as 0
    assert segment_of(target(torch.zeros(1, 2))).tolist() == [[0, 0]]


def test_a_thing_has_a_centre_that_its_pixels_point_to() -> None:
    ids = torch.full((6, 8), 10)
    ids[1:4, 2:5] = 20
    maps = maps_of(ids)
    assert maps.classes[2, 3] == 1
    assert maps.classes[0, 0] == 0
    assert maps.areas.unique().tolist() == [0, 9]
    assert maps.heat.argmax() == 2 * 8 + 3
    assert maps.heat[2, 3] == 1
    assert maps.heat[2, 5].item() == pytest.approx(math.exp(-2))
    assert maps.heat[3, 4].item() == pytest.approx(math.exp(-1))
    assert maps.offsets[:, 1, 2].tolist() == [1, 1]
    assert maps.offsets[:, 3, 3].tolist() == [-1, 0]
    assert not maps.offsets[:, ids == 10].any()


def test_the_warmest_pixel_is_whole_and_the_ways_lead_to_the_centre_itself() -> None:
    ids = torch.full((4, 8), 10)
    ids[1:3, 2:5] = 20  # the centre is at row 1.5, column 3
    maps = maps_of(ids)
    assert maps.heat.max() == 1
    assert maps.offsets[:, 1, 2].tolist() == [0.5, 1]
    assert maps.offsets[:, 2, 4].tolist() == [-0.5, -1]


def test_where_two_things_are_near_the_warmer_counts() -> None:
    both = torch.full((5, 9), 10)
    both[2, 2], both[2, 5] = 20, 30
    one, other = both.clone(), both.clone()
    one[both == 30], other[both == 20] = 10, 10
    assert torch.equal(maps_of(both).heat, torch.maximum(maps_of(one).heat, maps_of(other).heat))


def test_void_and_crowds_are_unknown_and_have_no_centre() -> None:
    ids = torch.full((6, 8), 10)
    ids[0], ids[4:, :3] = 0, 40
    maps = maps_of(ids, crowds=(40,))
    assert torch.equal(maps.classes == UNKNOWN, (ids == 0) | (ids == 40))
    assert not maps.heat.any()
    assert not maps.areas.any()
    assert not maps.offsets.any()


def test_a_segment_that_a_crop_left_nothing_of_has_no_centre() -> None:
    whole = target(torch.tensor([[10, 10, 20]]))
    cut = PanopticTarget(whole.ids[:, :2], whole.numbers, whole.labels, whole.crowd)
    assert not truth_maps(cut, IS_THING, 1.0).heat.any()


def test_the_number_of_things_does_not_bound_what_fits_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    ids = torch.full((12, 12), 10)
    ids[1, 1], ids[5, 9], ids[10, 4:8] = 20, 30, 40
    whole = maps_of(ids).heat
    monkeypatch.setattr("coatseg.models.heads.panoptic.truth.VALUES_AT_ONCE", 1)
    assert torch.equal(maps_of(ids).heat, whole)


def test_nothing_is_learnt_of_padding() -> None:
    ids = torch.full((2, 3), 20)
    maps = batch_truth([maps_of(ids), maps_of(torch.full((4, 2), 10))], (4, 5))
    assert maps.classes.shape == (2, 4, 5)
    assert maps.offsets.shape == (2, 2, 4, 5)
    assert (maps.classes[0] == UNKNOWN).sum() == 20 - 6
    assert (maps.classes[1] == UNKNOWN).sum() == 20 - 8
    assert not maps.areas[0, 2:].any()
    assert not maps.heat[0, :, 3:].any()
