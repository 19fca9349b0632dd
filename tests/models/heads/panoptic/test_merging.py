"""Maps become segments as the paper merges them, by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from coatseg.models.heads.base import Segments
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.models.heads.panoptic.merging import MergedMaps, Merging, find_centres

IS_THING = torch.tensor([False, True, False, True])
SIZE = (16, 24)


def street(centres: dict[tuple[int, int], float]) -> tuple[Tensor, PanopticMaps]:
    """Two things of class 1, side by side on stuff of class 0, which point to (7, 5) and (7, 15)."""
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[4:11, 2:20] = 1
    heat = torch.zeros(1, *SIZE)
    for (row, column), warmth in centres.items():
        heat[0, row, column] = warmth
    rows, columns = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in SIZE), indexing="ij")
    goal = torch.where(columns < 9, 5.0, 15.0)
    ways = torch.stack([7 - rows, goal - columns]) * (labels == 1)
    return labels, PanopticMaps(logits(labels), heat, ways)


def logits(labels: Tensor) -> Tensor:
    return 4 * functional.one_hot(labels, 4).permute(2, 0, 1).float()


BOTH = {(7, 5): 0.5, (7, 15): 0.8}
SURE = torch.tensor([4.0, 0, 0, 0]).softmax(0)[0].item()


def merged(maps: PanopticMaps, size: tuple[int, int] = SIZE, **options: float) -> Segments:
    return MergedMaps(maps, IS_THING, replace(Merging(), **options)).segments(SIZE, size)


def test_pixels_of_things_go_to_the_centre_that_they_point_to() -> None:
    labels, maps = street(BOTH)
    found = merged(maps)
    assert found.labels.tolist() == [1, 1, 0]
    assert (found.ids[labels == 0] == 3).all()
    assert (found.ids[4:11, 9:20] == 1).all()  # the surer centre first
    assert (found.ids[4:11, 2:9] == 2).all()
    assert found.scores.tolist() == pytest.approx([0.8 * SURE, 0.5 * SURE, SURE])


def test_a_group_is_of_the_class_of_most_of_its_pixels() -> None:
    labels, maps = street(BOTH)
    labels[4:11, 2:5] = 3  # 21 of 49 pixels
    assert merged(maps._replace(classes=logits(labels))).labels.tolist() == [1, 1, 0]
    labels[4:11, 2:6] = 3  # 28 of 49
    found = merged(maps._replace(classes=logits(labels)))
    assert found.labels.tolist() == [1, 3, 0]
    assert (found.ids == 2).sum() == 49


def test_things_without_a_centre_are_nothing() -> None:
    labels, maps = street({(7, 5): 0.1})
    found = merged(maps)
    assert found.labels.tolist() == [0]
    assert torch.equal(found.ids == 0, labels == 1)


def test_a_centre_that_nothing_points_to_is_no_segment() -> None:
    _, maps = street({**BOTH, (0, 0): 1.0})
    assert merged(maps).labels.tolist() == [1, 1, 0]


def test_only_the_surest_centres_are_kept() -> None:
    labels, maps = street(BOTH)
    found = merged(maps, top_k=1)
    assert found.labels.tolist() == [1, 0]
    assert torch.equal(found.ids == 1, labels == 1)


def test_stuff_of_few_pixels_is_nothing() -> None:
    labels, maps = street(BOTH)
    labels[0, :4] = 2
    maps = maps._replace(classes=logits(labels))
    assert merged(maps, stuff_share=4 / 384).labels.tolist() == [1, 1, 0, 2]
    found = merged(maps, stuff_share=5 / 384)
    assert found.labels.tolist() == [1, 1, 0]
    assert torch.equal(found.ids == 0, labels == 2)


def test_maps_of_stuff_alone_have_a_segment_a_class() -> None:
    labels = torch.zeros(SIZE, dtype=torch.int64)
    labels[::2] = 2
    found = merged(PanopticMaps(logits(labels), torch.zeros(1, *SIZE), torch.zeros(2, *SIZE)))
    assert found.labels.tolist() == [0, 2]
    assert torch.equal(found.ids, (labels // 2 + 1).int())


def test_an_image_of_no_class_that_is_enough_has_no_segment() -> None:
    found = merged(street({})[1], stuff_share=0.99)
    assert found.labels.shape == found.scores.shape == (0,)
    assert not found.ids.any()


def test_padding_is_cut_off() -> None:
    _, maps = street(BOTH)
    padded = PanopticMaps(*(functional.pad(each, (0, 8, 0, 16), value=0.7) for each in maps))
    alone, cut = merged(maps), merged(padded)
    assert torch.equal(alone.ids, cut.ids)
    assert torch.equal(alone.scores, cut.scores)


@pytest.mark.parametrize("size", [(32, 48), (48, 72), (32, 24)], ids=str)
def test_segments_have_the_original_size(size: tuple[int, int]) -> None:
    found, small = merged(street(BOTH)[1], size), merged(street(BOTH)[1])
    assert found.labels.tolist() == [1, 1, 0]
    enlarged = functional.interpolate(small.ids[None, None].float(), size)[0, 0].int()
    assert (found.ids == enlarged).float().mean() > 0.9


@pytest.mark.parametrize("size", [(37, 61), (11, 13)], ids=str)
def test_logits_are_resized_before_classes_are_decided(size: tuple[int, int]) -> None:
    given = torch.randn(4, *SIZE, generator=torch.Generator().manual_seed(0))
    given[[1, 3]] = -99.0
    found = merged(PanopticMaps(given, torch.zeros(1, *SIZE), torch.zeros(2, *SIZE)), size, stuff_share=0.0)
    wanted = functional.interpolate(given[None], size, mode="bilinear", align_corners=False)[0].argmax(0)
    assert torch.equal(found.labels[found.ids.long() - 1], wanted)


def test_strips_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = PanopticMaps(
        torch.randn(4, *SIZE, generator=generator),
        torch.rand(1, *SIZE, generator=generator),
        4 * torch.randn(2, *SIZE, generator=generator),
    )
    whole = merged(maps, (37, 61), kernel=3)
    monkeypatch.setattr("coatseg.models.heads.panoptic.merging.VALUES_AT_ONCE", 1)
    strips = merged(maps, (37, 61), kernel=3)
    assert len(whole.labels) > 8
    assert torch.equal(strips.labels, whole.labels)
    assert torch.equal(strips.ids, whole.ids)


def test_a_centre_is_the_greatest_of_its_surroundings() -> None:
    heat = torch.zeros(9, 9)
    heat[2, 2], heat[2, 4], heat[7, 7], heat[0, 8] = 0.9, 0.8, 0.3, 0.1
    centres, warmth = find_centres(heat, Merging(kernel=5))
    assert centres.tolist() == [[2, 2], [7, 7]]
    assert warmth.tolist() == pytest.approx([0.9, 0.3])
    assert find_centres(heat, Merging(kernel=3))[0].tolist() == [[2, 2], [2, 4], [7, 7]]


def test_a_flat_top_is_one_centre() -> None:
    heat = torch.zeros(9, 9)
    heat[3:5, 3:5] = 1.4
    centres, warmth = find_centres(heat, Merging(kernel=3))
    assert len(centres) == 1
    assert warmth.tolist() == [1.0]
