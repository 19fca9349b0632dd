"""The losses of Panoptic-DeepLab, by hand."""

import math

import pytest
import torch

from coatseg.models.heads.panoptic.losses import Learning, panoptic_losses
from coatseg.models.heads.panoptic.maps import PanopticMaps
from coatseg.models.heads.panoptic.truth import UNKNOWN, TruthMaps


def row(classes: list[int], areas: list[int]) -> TruthMaps:
    """The truth of an image of one row, with no heat and ways of (1, -2)."""
    pixels = len(classes)
    ways = torch.tensor([1.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 1, pixels)
    return TruthMaps(
        torch.tensor(classes).view(1, 1, -1), torch.tensor(areas).view(1, 1, -1), torch.zeros(1, 1, pixels), ways
    )


def certain(probabilities: list[float], centres: list[float] | None = None) -> PanopticMaps:
    """Maps of two classes that give class 0 these probabilities."""
    shares = torch.tensor(probabilities)
    logits = torch.stack([shares, 1 - shares]).log().view(1, 2, 1, -1)
    heat = torch.tensor(centres or [0.0] * len(probabilities)).view(1, 1, 1, -1)
    return PanopticMaps(logits, heat, torch.zeros(1, 2, 1, len(probabilities)))


def test_only_the_hardest_pixels_teach_classes() -> None:
    maps, truth = certain([0.9, 0.5, 0.8, 0.2, 0.6]), row([0] * 5, [0] * 5)
    losses = panoptic_losses(maps, truth, Learning(hardest=0.4))
    assert losses["classes"].item() == pytest.approx((-math.log(0.2) - math.log(0.5)) / 2)
    everything = panoptic_losses(maps, truth, Learning(hardest=1.0))["classes"]
    assert everything.item() == pytest.approx(-sum(map(math.log, (0.9, 0.5, 0.8, 0.2, 0.6))) / 5)


def test_the_hardest_share_is_of_the_pixels_with_truth() -> None:
    maps, truth = certain([0.9, 0.5, 0.8, 0.2, 0.6]), row([0, 0, 0, UNKNOWN, UNKNOWN], [0] * 5)
    losses = panoptic_losses(maps, truth, Learning(hardest=1 / 3))
    assert losses["classes"].item() == pytest.approx(-math.log(0.5))


def test_pixels_of_small_things_weigh_more() -> None:
    maps, truth = certain([0.5, 0.5]), row([0, 1], [100, 99])
    losses = panoptic_losses(maps, truth, Learning(hardest=1.0, small=10, small_weight=3.0))
    assert losses["classes"].item() == pytest.approx(math.log(2) * (1 + 3) / 2)


def test_centres_and_ways_are_weighed_means_over_the_pixels_that_they_concern() -> None:
    maps = certain([0.5] * 4, centres=[0.5, 0.1, 0.0, 9.0])
    truth = row([0, 1, 1, UNKNOWN], [0, 2, 2, 0])
    losses = panoptic_losses(maps, truth, Learning(centres_weight=200.0, offsets_weight=0.01))
    assert losses["centres"].item() == pytest.approx(200 * (0.25 + 0.01) / 3)
    assert losses["offsets"].item() == pytest.approx(0.01 * 3)


def test_images_count_by_their_pixels_with_truth() -> None:
    pairs = [(certain([0.9, 0.5]), row([0, 0], [0, 0])), (certain([0.2, 0.3]), row([0, UNKNOWN], [0, 0]))]
    maps = PanopticMaps(*(torch.cat(rows) for rows in zip(*(maps for maps, _ in pairs), strict=True)))
    truth = TruthMaps(*(torch.cat(rows) for rows in zip(*(truth for _, truth in pairs), strict=True)))
    losses = panoptic_losses(maps, truth, Learning(hardest=0.5))
    assert losses["classes"].item() == pytest.approx((-math.log(0.5) - math.log(0.2)) / 2)
