"""Transformers' models get our truth, and their outputs become our predictions, as the library means them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from benchmarks.query_peers import PEERS
from coatseg.structures import Batch, DatasetInfo, InstanceTarget, PanopticTarget, Target

INFO = DatasetInfo(
    name="four",
    classes=("road", "sky", "car", "tree"),
    palette=((0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 3, 3)),
    annotates=frozenset({"panoptic"}),
    things=(2, 3),
)


def batch_of(target: Target) -> Batch:
    size = (40, 80)
    return Batch(torch.zeros(1, 3, *size), (size,), (target,), ("a",), (size,), (False,))


def test_boxes_are_shares_of_the_image_and_classes_places_among_the_numbers() -> None:
    corners = torch.tensor([[0.0, 10.0, 40.0, 30.0], [8.0, 0.0, 16.0, 40.0]], dtype=torch.float64)
    truth = InstanceTarget(corners, torch.tensor([3, 2]), None, torch.tensor([False, True]))
    (labels,) = PEERS["deformable_detr"].labels(batch_of(Target(instances=truth)), (2, 3))["labels"]
    assert labels["boxes"].tolist() == [[0.25, 0.5, 0.5, 0.5]]  # the crowd is left out
    assert labels["class_labels"].tolist() == [1]


@pytest.mark.parametrize("head", ["mask2former", "maskformer"])
def test_masks_are_those_of_segments_that_are_no_crowd(head: str) -> None:
    ids = torch.zeros(40, 80, dtype=torch.int32)
    ids[:20], ids[20:, :8], ids[20:, 8:16] = 7, 9, 11
    truth = PanopticTarget(
        ids, torch.tensor([7, 9, 11], dtype=torch.int32), torch.tensor([1, 2, 3]), torch.tensor([False, True, False])
    )
    labels = PEERS[head].labels(batch_of(Target(panoptic=truth)), (0, 1, 2, 3))
    assert labels["class_labels"][0].tolist() == [1, 3]
    assert labels["mask_labels"][0].sum(dim=(1, 2)).tolist() == [1600, 160]


def test_boxes_found_are_in_pixels_with_numbers_of_classes() -> None:
    logits = torch.full((1, 2, 2), -9.0)
    logits[0, 0, 1] = 4.0
    boxes = torch.tensor([[[0.25, 0.5, 0.5, 0.5], [0.5, 0.5, 0.1, 0.1]]])
    (found,) = PEERS["deformable_detr"].read(
        SimpleNamespace(logits=logits, pred_boxes=boxes), batch_of(Target()), INFO, (2, 3)
    )
    assert found.boxes[0].tolist() == [0, 10, 40, 30]
    assert (found.id, found.labels[0].item()) == ("a", 3)
    assert found.scores[0].item() == pytest.approx(torch.tensor(4.0).sigmoid().item())


def test_pieces_of_stuff_are_one_segment_and_things_are_several() -> None:
    classes = torch.full((1, 5, 5), -9.0)  # no object is the last
    for query, label in enumerate([2, 2, 0, 0, 4]):
        classes[0, query, label] = 9.0
    masks = torch.full((1, 5, 40, 80), -9.0)
    for query in range(4):
        masks[0, query, :, 20 * query : 20 * (query + 1)] = 9.0
    outputs = SimpleNamespace(class_queries_logits=classes, masks_queries_logits=masks)
    (found,) = PEERS["maskformer"].read(outputs, batch_of(Target()), INFO, (0, 1, 2, 3))
    assert sorted(found.labels.tolist()) == [0, 2, 2]
    areas = {(found.labels[number - 1].item(), (found.ids == number).sum().item()) for number in (1, 2, 3)}
    assert areas == {(0, 1600), (2, 800)}
