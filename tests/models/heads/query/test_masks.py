"""What mask classification is made of, on numbers computed by hand: truth, points, losses, merge."""

import warnings

import pytest
import torch
from torch import Tensor

from coatseg.models.heads.query.masks.found import FindingOptions, FoundMasks, class_logits, tight_boxes
from coatseg.models.heads.query.masks.losses import (
    CROSS_ENTROPY,
    FOCAL,
    LossOptions,
    MaskLosses,
    PixelCost,
    Predictions,
    dice_of,
)
from coatseg.models.heads.query.masks.points import Sampling, draw, sampled
from coatseg.models.heads.query.masks.regions import Regions
from coatseg.structures import InstanceTarget, PanopticTarget

HALVES = torch.tensor([[True, True, False, False]] * 4)


def certain(*labels: int, classes: int = 3) -> Tensor:
    """Class logits (Q, classes + 1) of queries that are sure; the class `classes` is no object."""
    return 20.0 * torch.nn.functional.one_hot(torch.tensor(labels), classes + 1).float()


def logits_of(mask: Tensor, sure: float = 20.0) -> Tensor:
    return torch.where(mask, sure, -sure)


def found(classes: Tensor, masks: Tensor, **options: float) -> FoundMasks:
    size = (masks.shape[-2], masks.shape[-1])
    return FoundMasks(classes, masks, size, (0,), FindingOptions(**options))  # type: ignore[arg-type]


# Truth


def test_a_class_of_a_label_map_is_a_region_and_unknown_pixels_are_ignored() -> None:
    regions = Regions.of(torch.tensor([[2, 2, -1], [0, 0, 2]]))
    assert regions.labels.tolist() == [0, 2]
    assert regions.masks.int().tolist() == [[[0, 0, 0], [1, 1, 0]], [[1, 1, 0], [0, 0, 1]]]
    assert regions.ignored.int().tolist() == [[0, 0, 1], [0, 0, 0]]


def test_crowds_of_objects_are_ignored_where_no_object_is_and_objects_without_a_pixel_are_none() -> None:
    masks = torch.tensor([[[1, 1, 0, 0]], [[0, 1, 1, 0]], [[0, 0, 0, 0]]], dtype=torch.bool)
    target = InstanceTarget(
        torch.zeros(3, 4), torch.tensor([4, 5, 6]), masks, torch.tensor([False, True, False]), torch.zeros(3)
    )
    regions = Regions.of(target)
    assert regions.labels.tolist() == [4]
    assert regions.ignored.int().tolist() == [[0, 0, 1, 0]]


def test_void_and_crowds_of_segments_are_ignored() -> None:
    ids = torch.tensor([[7, 7, 0, 300]], dtype=torch.int32)
    target = PanopticTarget(
        ids, torch.tensor([300, 7], dtype=torch.int32), torch.tensor([1, 2]), torch.tensor([True, False])
    )
    regions = Regions.of(target)
    assert regions.labels.tolist() == [2]
    assert regions.masks.int().tolist() == [[[1, 1, 0, 0]]]
    assert regions.known().tolist() == [0, 1]


# Points


def unknown(ignored: Tensor) -> Regions:
    return Regions(torch.zeros(0, dtype=torch.int64), torch.zeros(0, *ignored.shape, dtype=torch.bool), ignored)


def test_points_lie_within_the_pixels_that_are_known_and_never_in_padding() -> None:
    ignored = torch.ones(4, 6, dtype=torch.bool)
    ignored[1, 2] = ignored[3, 5] = False
    points = draw(unknown(ignored), 2000, (32, 64))
    assert set(points.pixels.tolist()) == {8, 23}
    assert 900 < (points.pixels == 8).sum() < 1100
    x, y = (points.positions * torch.tensor([64, 32])).unbind(-1)
    assert torch.equal(y.floor().long() * 6 + x.floor().long(), points.pixels)


def test_the_points_of_a_mask_are_the_candidates_nearest_to_zero_and_the_others_that_were_drawn() -> None:
    sampling = Sampling.of(12544, 0.75, 8)
    assert (sampling.count, sampling.uncertain, sampling.candidates, sampling.total) == (8, 6, 24, 26)
    logits = torch.stack([torch.arange(26.0) - 10, torch.arange(26.0, 0, -1)])
    chosen = sampling.chosen(logits)
    assert chosen is not None
    assert [sorted(row) for row in chosen.tolist()] == [[7, 8, 9, 10, 11, 12, 24, 25], [18, 19, 20, 21, 22, 23, 24, 25]]


def test_without_importance_the_points_are_those_that_were_drawn() -> None:
    sampling = Sampling.of(100, 0.0, 1024)
    assert (sampling.count, sampling.total) == (100, 100)
    assert sampling.chosen(torch.randn(3, 100)) is None


def test_points_repeat_with_the_seed() -> None:
    known = unknown(torch.zeros(5, 5, dtype=torch.bool))
    torch.manual_seed(3)
    first = draw(known, 9, (32, 32))
    torch.manual_seed(3)
    assert torch.equal(first.positions, draw(known, 9, (32, 32)).positions)


def test_a_map_is_sampled_at_the_centres_of_its_cells_and_goes_on_beyond_the_outermost() -> None:
    maps = torch.arange(4.0).view(1, 2, 2)
    positions = torch.tensor([[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [0.0, 0.0], [1.0, 1.0]])
    assert sampled(maps, positions)[0].tolist() == [0.0, 1.0, 2.0, 1.5, 0.0, 3.0]


# Losses


def predictions(classes: Tensor, masks: Tensor) -> Predictions:
    """Predictions of one layer for one image whose masks (Q, h, w) are these logits."""
    queries = len(masks)
    return Predictions(classes[None, None], torch.eye(queries)[None, None], masks[None])


def losses_of(
    given: Predictions, *truth: Regions, cost: PixelCost = CROSS_ENTROPY, **options: float
) -> dict[str, Tensor]:
    losses = MaskLosses(given.classes.shape[-1] - 1, LossOptions(**options), cost)  # type: ignore[arg-type]
    return losses(given, truth, (4, 4))


TWO = Regions(torch.tensor([1, 0]), torch.stack([HALVES, ~HALVES]), torch.zeros(4, 4, dtype=torch.bool))


def test_queries_that_are_right_have_no_loss_whatever_their_order() -> None:
    given = predictions(certain(0, 3, 1), logits_of(torch.stack([~HALVES, HALVES, HALVES]), 1000.0))
    losses = losses_of(given, TWO)
    assert set(losses) == {"classes", "masks", "dice"}
    assert all(loss < 0.1 for loss in losses.values())  # between two pixels logits pass through 0


def test_losses_are_those_computed_by_hand() -> None:
    given = predictions(torch.zeros(3, 4), torch.zeros(3, 4, 4))
    losses = losses_of(given, TWO, importance=0.0)
    # Each class has a quarter; each point log 2; 16 points of 0.5, half of them inside: 1 - (2 * 4 + 1) / (8 + 8 + 1).
    torch.testing.assert_close(losses["classes"], 2 * torch.tensor(4.0).log())
    torch.testing.assert_close(losses["masks"], 5 * torch.tensor(2.0).log())
    assert float(losses["dice"]) == pytest.approx(5 * (1 - 9 / 17), rel=0.25)
    torch.testing.assert_close(dice_of(torch.tensor(4.0), torch.tensor(8.0), torch.tensor(8.0)), torch.tensor(8 / 17))


def test_a_query_without_a_region_counts_a_tenth() -> None:
    classes = torch.tensor([[0.0, 0, 0, 0], [20, 0, 0, 0]])  # the second is sure of an object that is not there
    one = Regions(TWO.labels[:1], TWO.masks[:1], TWO.ignored)
    losses = losses_of(predictions(classes, logits_of(torch.stack([HALVES, ~HALVES]))), one)
    expected = 2 * (torch.tensor(4.0).log() + 0.1 * 20) / 1.1
    torch.testing.assert_close(losses["classes"], expected, rtol=1e-4, atol=1e-4)


def test_what_is_predicted_where_nothing_is_known_does_not_matter() -> None:
    ignored, left = ~HALVES, torch.tensor([[True, False, False, False]] * 4)
    values = []
    for beyond in (-50.0, 50.0):
        mask = logits_of(left, 3.0)
        mask[:, 3] = beyond  # a pixel further than what is interpolated at points in the known half
        torch.manual_seed(0)
        values.append(losses_of(predictions(certain(1), mask[None]), Regions(TWO.labels[:1], left[None], ignored)))
    assert values[0] == values[1]


@pytest.mark.parametrize("cost", [CROSS_ENTROPY, FOCAL], ids=["cross entropy", "focal"])
def test_the_costs_of_matching_are_those_of_the_loss(cost: PixelCost) -> None:
    logits = torch.randn(5, 7)
    there, elsewhere = cost.apart(logits)
    torch.testing.assert_close(there, cost.loss(logits, torch.ones(5, 7)))
    torch.testing.assert_close(elsewhere, cost.loss(logits, torch.zeros(5, 7)))


def test_the_focal_loss_is_that_of_the_paper() -> None:
    # p = 0.8 of a point in the region: 0.25 * 0.2 ** 2 * -log 0.8; out of it 0.75 * 0.8 ** 2 * -log 0.2
    logit = torch.tensor([4.0]).log()
    there, elsewhere = FOCAL.apart(logit)
    torch.testing.assert_close(there, torch.tensor([0.25 * 0.04 * 0.223144]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(elsewhere, torch.tensor([0.75 * 0.64 * 1.609438]), rtol=1e-4, atol=1e-6)


def test_losses_of_layers_are_named_and_all_have_gradients_without_a_region() -> None:
    nothing = Regions(TWO.labels[:0], TWO.masks[:0], torch.ones(4, 4, dtype=torch.bool))
    given = Predictions(
        *(
            tensor.requires_grad_()
            for tensor in (torch.randn(3, 2, 5, 4), torch.randn(3, 2, 5, 8), torch.randn(2, 8, 1, 1))
        )
    )
    losses = MaskLosses(3, LossOptions(), CROSS_ENTROPY)(given, [nothing, nothing], (4, 4))
    names = ("classes", "masks", "dice")
    assert set(losses) == {*names, *(f"{name}_{layer}" for name in names for layer in (0, 1))}
    sum(losses.values()).backward()  # type: ignore[union-attr]
    assert all(tensor.grad is not None and tensor.grad.isfinite().all() for tensor in given)
    assert float(losses["masks"]) == float(losses["dice"]) == 0


def test_more_regions_than_queries_are_said_once_with_the_option() -> None:
    losses = MaskLosses(3, LossOptions(), CROSS_ENTROPY)
    given = predictions(certain(1), logits_of(HALVES[None], 1000.0))
    with pytest.warns(UserWarning, match=r"2 objects or segments for 1 queries(.|\n)*head\.queries"):
        assert losses(given, [TWO], (4, 4))["masks"] < 0.1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses(given, [TWO], (4, 4))


# Segments


def test_stuff_of_one_class_is_one_segment_and_things_are_apart() -> None:
    quarters = torch.zeros(4, 4, 4, dtype=torch.bool)
    quarters[0, :2, :2] = quarters[1, :2, 2:] = quarters[2, 2:, :2] = quarters[3, 2:, 2:] = True
    segments = found(certain(1, 0, 1, 0), logits_of(quarters)).segments((4, 4), (4, 4))
    assert segments.labels.tolist() == [1, 0, 0]
    assert segments.ids.dtype == torch.int32
    assert segments.ids.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [1, 1, 3, 3], [1, 1, 3, 3]]


def test_only_sure_queries_of_an_object_are_kept_and_a_weak_mask_leaves_pixels_to_none() -> None:
    classes = certain(1, 3, 2)
    classes[2] = torch.tensor([0.0, 0, 1, 0])  # its probability is less than a half
    masks = torch.stack([HALVES, ~HALVES, ~HALVES])
    segments = found(classes, logits_of(masks)).segments((4, 4), (4, 4))
    assert segments.labels.tolist() == [1]
    assert torch.equal(segments.ids > 0, HALVES)
    assert found(classes, logits_of(masks), score_threshold=0.3).segments((4, 4), (4, 4)).labels.tolist() == [1, 2]


def test_a_pixel_goes_to_the_best_product_and_only_above_one_half() -> None:
    # the first is likelier a class, the second has the better mask at the last pixel: 0.9 * 0.4 < 0.85 * 0.45, but 0.45
    # is less than one half, so that the pixel is nobody's
    chances = torch.tensor([[0.9, 0.9, 0.4], [0.2, 0.2, 0.45]])[:, None]
    classes = torch.tensor([[0.9, 0.05, 0.03, 0.02], [0.85, 0.05, 0.05, 0.05]]).log()
    segments = found(classes, chances.logit()).segments((1, 3), (1, 3))
    assert segments.ids.tolist() == [[1, 1, 0]]
    assert float(segments.scores[0]) == pytest.approx(0.9)


def test_a_segment_that_wins_less_than_four_fifths_of_its_mask_is_left_out_and_its_pixels_too() -> None:
    wide, narrow = torch.ones(1, 10, dtype=torch.bool), torch.arange(10)[None] < 3
    classes = torch.tensor([[0.1, 0.87, 0.01, 0.02], [0.99, 0.005, 0.003, 0.002]]).log()
    masks = logits_of(torch.stack([wide, narrow]))
    segments = found(classes, masks).segments((1, 10), (1, 10))  # the wide one wins 7 of 10
    assert segments.labels.tolist() == [0]
    assert segments.ids.tolist() == [[1, 1, 1, 0, 0, 0, 0, 0, 0, 0]]
    both = found(classes, masks, overlap_threshold=0.7).segments((1, 10), (1, 10))
    assert both.ids.tolist() == [[2, 2, 2, 1, 1, 1, 1, 1, 1, 1]]


def test_nothing_found_is_no_segment() -> None:
    segments = found(certain(3, 3), logits_of(torch.stack([HALVES, ~HALVES]))).segments((4, 4), (9, 5))
    assert segments.ids.shape == (9, 5)
    assert not segments.ids.any()
    assert len(segments.labels) == len(segments.scores) == 0


# Objects and classes


def test_objects_are_pairs_of_query_and_class_with_the_boxes_of_their_masks() -> None:
    classes = torch.tensor([[0.7, 0.2, 0.0001, 0.0999], [0.05, 0.05, 0.4, 0.5]]).log()
    objects = found(classes, logits_of(torch.stack([HALVES, ~HALVES])), detections=3).objects((4, 4), (4, 4))
    assert objects.labels.tolist() == [0, 2, 1]
    torch.testing.assert_close(objects.scores, torch.tensor([0.7, 0.4, 0.2]))
    assert objects.boxes.tolist() == [[0, 0, 2, 4], [2, 0, 4, 4], [0, 0, 2, 4]]
    assert objects.masks is not None
    assert torch.equal(objects.masks, torch.stack([HALVES, ~HALVES, HALVES]))


def test_a_score_is_less_where_the_mask_is_unsure_and_a_mask_without_a_pixel_is_no_object() -> None:
    masks = torch.stack([logits_of(HALVES, 1.0), torch.full((4, 4), -5.0)])
    objects = found(certain(1, 0), masks, detections=2).objects((4, 4), (4, 4))
    assert objects.labels.tolist() == [1]
    assert float(objects.scores[0]) == pytest.approx(float(torch.tensor(1.0).sigmoid()), rel=1e-4)


def test_masks_are_cut_to_the_image_before_they_are_resized_to_the_original() -> None:
    padded = torch.zeros(1, 8, 8, dtype=torch.bool)
    padded[0, :4, :2] = True  # of an image of 4x4, in a canvas of 8x8
    made = FoundMasks(certain(0), logits_of(padded), (8, 8), (0,), FindingOptions(detections=1))
    objects = made.objects((4, 4), (8, 8))
    assert objects.boxes.tolist() == [[0, 0, 4, 8]]
    assert made.segments((4, 4), (8, 8)).ids.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 8


def test_tight_boxes_hold_every_pixel_and_no_more() -> None:
    masks = torch.zeros(2, 5, 6, dtype=torch.bool)
    masks[0, 1:4, 2] = True
    assert tight_boxes(masks).tolist() == [[2, 1, 3, 4], [0, 0, 0, 0]]


def test_the_softmax_of_class_logits_are_the_scores_of_the_paper_normalised() -> None:
    classes = torch.tensor([[0.6, 0.3, 0.0999, 0.0001], [0.1, 0.1, 0.7, 0.1]]).log()[None]
    chances = torch.tensor([[0.9, 0.2], [0.1, 0.5]])[None, :, None]
    scores = torch.einsum("qk,qw->kw", classes[0].exp()[:, :3], chances[0, :, 0])
    logits = class_logits(classes, chances.logit(), (1, 2))
    torch.testing.assert_close(logits.softmax(1)[0, :, 0], scores / scores.sum(0))


def test_class_logits_are_finite_where_no_query_is() -> None:
    logits = class_logits(certain(3)[None], torch.full((1, 1, 2, 2), -100.0), (8, 8))
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.softmax(1), torch.full((1, 3, 8, 8), 1 / 3))
