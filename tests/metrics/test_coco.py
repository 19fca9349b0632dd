import contextlib
import copy
import io
import json
import os
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as official_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from coatseg.data.annotations.formats.coco import read_objects
from coatseg.data.loading.batching import target_of
from coatseg.metrics.average_precision import CocoScores
from coatseg.metrics.coco import CocoCounts, coco_scores
from coatseg.metrics.coco_format import encode, results
from coatseg.structures import DatasetInfo, InstancePrediction, InstanceTarget, Sample

NAMES, NUMBERS = ("cat", "dog", "owl"), (4, 0, 2)
"""Three of five classes, in an order of their own; there is never an owl."""

SIZE = (200, 240)
Example = tuple[InstancePrediction, InstanceTarget]


def filled(boxes: torch.Tensor) -> torch.Tensor:
    """Masks (N, *SIZE) that fill the ellipses in boxes."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]) + 0.5, torch.arange(SIZE[1]) + 0.5, indexing="ij")
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=1)
    across, down = (
        (at[None] - middle[:, axis, None, None]) / half[:, axis, None, None] for axis, at in ((0, x), (1, y))
    )
    return across**2 + down**2 <= 1


def random_boxes(count: int) -> torch.Tensor:
    corner = torch.rand(count, 2) * torch.tensor([80.0, 50.0])
    return torch.cat([corner, corner + 3 + torch.rand(count, 1) * torch.tensor([150.0, 140.0])], 1)


def truth_of(boxes: torch.Tensor, labels: list[int], crowd: list[bool], areas: Any = None) -> InstanceTarget:
    return InstanceTarget(
        boxes, torch.tensor(labels, dtype=torch.int64), filled(boxes), torch.tensor(crowd, dtype=torch.bool), areas
    )


def generated(images: int = 12, spread: float = 3.0) -> list[Example]:
    """Images of 0 to 9 objects, some of them crowds, and detections: most near an object, some anywhere."""
    examples = []
    for number in range(images):
        count = number % 10
        boxes, labels = random_boxes(count), torch.tensor([4, 0])[torch.randint(2, (count,))]
        truth = truth_of(boxes, labels.tolist(), [place % 4 == 3 for place in range(count)])
        near = (boxes + spread * torch.randn(boxes.shape)).repeat(2, 1)
        near[:, 2:] = near[:, 2:].maximum(near[:, :2] + 1)
        found = torch.cat([near, random_boxes(4)]).clamp(min=0)
        names = torch.cat([labels, labels.flip(0), torch.tensor([4, 0, 2, 0])])
        surest = torch.rand(len(found)).sort(descending=True).values.mul(20).round() / 20  # many of one score
        examples.append((InstancePrediction(str(number), SIZE, found, names, surest, filled(found)), truth))
    return examples


def returned(truth: InstanceTarget, number: int, size: tuple[int, int] = SIZE) -> InstancePrediction:
    """The truth itself, but for crowds, as a prediction."""
    kept = ~truth.crowd
    masks = None if truth.masks is None else truth.masks[kept]
    return InstancePrediction(
        str(number), size, truth.boxes[kept], truth.labels[kept], torch.ones(int(kept.sum())), masks
    )


def scored(examples: list[Example], masks: bool = True, **options: Any) -> CocoScores:
    counts = CocoCounts(NAMES, NUMBERS, masks=masks, **options)
    for prediction, truth in examples:
        counts.update(prediction, truth)
    return counts.scores()


def official(dataset: dict[str, Any], found: list[dict[str, Any]], kind: str) -> COCOeval:
    """What pycocotools makes of a dataset and results in COCO's formats."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        # With a box beside the mask it would take the area of the box.
        shapes = [{key: row[key] for key in row if kind == "bbox" or key != "bbox"} for row in copy.deepcopy(found)]
        evaluation = COCOeval(truth, truth.loadRes(shapes), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal(
    scores: CocoScores, numbers: Sequence[int], dataset: dict[str, Any], found: list[dict[str, Any]]
) -> None:
    """All twelve numbers, and those of each class, are pycocotools' own."""
    for kind, ours in scores.of.items():
        theirs = official(dataset, found, {"box": "bbox", "mask": "segm"}[kind])
        areas = ("small", "medium", "large")
        twelve = [ours.ap(), ours.ap(0.5), ours.ap(0.75), *(ours.ap(area=area) for area in areas)]
        twelve += [ours.ar(1), ours.ar(10), ours.ar(100), *(ours.ar(area=area) for area in areas)]
        np.testing.assert_allclose(twelve, np.where(theirs.stats < 0, np.nan, theirs.stats), rtol=0, atol=1e-9)
        order = [theirs.params.catIds.index(number) for number in numbers]
        precision = theirs.eval["precision"][:, :, order, 0, -1]
        precision = np.where(precision < 0, np.nan, precision)
        for iou, values in ((None, precision), (0.5, precision[:1]), (0.75, precision[5:6])):
            np.testing.assert_allclose(ours.class_ap(iou), values.mean((0, 1)), rtol=0, atol=1e-9)


def dataset_of(examples: list[Example]) -> dict[str, Any]:
    """The truth as a COCO json."""
    rows = []
    for prediction, truth in examples:
        assert truth.masks is not None
        for box, label, mask, crowd in zip(truth.boxes.double(), truth.labels, truth.masks, truth.crowd, strict=True):
            encoded = official_masks.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
            rows.append({
                "id": len(rows) + 1, "image_id": int(prediction.id), "category_id": int(label), "iscrowd": int(crowd),
                "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()], "segmentation": encoded,
                "area": float(mask.sum()),
            })  # fmt: skip
    images = [{"id": int(prediction.id), "height": SIZE[0], "width": SIZE[1]} for prediction, _ in examples]
    return {"images": images, "annotations": rows, "categories": [{"id": number} for number in NUMBERS]}


INFO = DatasetInfo("five", tuple("abcde"), ((0, 0, 0),) * 5, frozenset({"instances"}), things=NUMBERS)


def test_pycocotools_says_the_same_of_random_detections() -> None:
    examples = generated()
    assert any(bool(truth.crowd.any()) for _, truth in examples)
    found = [row for prediction, _ in examples for row in results(prediction, INFO)]
    scores = scored(examples)
    assert 0.05 < scores.of["mask"].ap() < 0.95
    assert_equal(scores, NUMBERS, dataset_of(examples), found)


def test_the_truth_itself_scores_one() -> None:
    examples = [(returned(truth, number), truth) for number, (_, truth) in enumerate(generated())]
    summary = scored(examples).summary()
    assert {name: summary[name] for name in ("box_AP", "mask_AP", "box_AR", "mask_APs")} == pytest.approx(
        {"box_AP": 1.0, "mask_AP": 1.0, "box_AR": 1.0, "mask_APs": 1.0}, abs=1e-12
    )


def test_by_hand() -> None:
    # Two dogs; detections, surest first: one right, one nowhere, one at IoU 0.8 (so right below 0.85).
    truth = truth_of(torch.tensor([[10.0, 10, 20, 20], [50, 50, 60, 60]]), [0, 0], [False, False])
    boxes = torch.tensor([[10.0, 10, 20, 20], [100, 100, 110, 110], [50, 50, 60, 58]])
    prediction = InstancePrediction("a", SIZE, boxes, torch.zeros(3, dtype=torch.int64), torch.tensor([0.9, 0.8, 0.7]))
    box = scored([(prediction, truth)], masks=False).of["box"]
    # Up to recall 1/2 (51 of 101 points) precision is 1, beyond it 2 of 3, or nothing if the last one is wrong.
    loose, strict = (51 + 50 * 2 / 3) / 101, 51 / 101
    np.testing.assert_allclose(box.class_ap(0.5), [np.nan, loose, np.nan])
    np.testing.assert_allclose(box.curves(0.5)[[0, 50, 51, 100], 1], [1, 1, 2 / 3, 2 / 3])
    assert box.ap() == pytest.approx((7 * loose + 3 * strict) / 10)
    assert box.ar() == pytest.approx((7 * 1 + 3 * 0.5) / 10)
    assert box.ar(1) == pytest.approx(0.5)


def test_a_crowd_forgives_what_is_found_in_it_and_need_not_be_found() -> None:
    truth = truth_of(torch.tensor([[10.0, 10, 20, 20], [50, 50, 100, 100]]), [0, 0], [False, True])
    boxes = torch.tensor([[55.0, 55, 65, 65], [70, 70, 80, 80], [10, 10, 20, 20]])
    prediction = InstancePrediction("a", SIZE, boxes, torch.zeros(3, dtype=torch.int64), torch.tensor([0.9, 0.8, 0.7]))
    scores = scored([(prediction, truth)], masks=False)
    assert scores.of["box"].ap() == pytest.approx(1)
    assert scores.objects.tolist() == [0, 1, 0]


def test_areas_are_those_stated_else_of_the_mask_else_of_the_box() -> None:
    boxes = torch.tensor([[10.0, 10, 44, 44]])  # 1156 pixels, of which the ellipse has about 908; small is below 1024
    for target, size in (
        (truth_of(boxes, [0], [False]), "small"),
        (truth_of(boxes, [0], [False], torch.tensor([5000.0])), "medium"),
        (InstanceTarget(boxes, torch.tensor([0]), None, torch.tensor([False])), "medium"),
    ):
        box = scored([(returned(target, 0), target)], masks=False).of["box"]
        assert [area for area in ("small", "medium", "large") if box.ap(area=area) == 1] == [size]


def test_neither_order_nor_processes_matter() -> None:
    examples = generated()
    one = CocoCounts(NAMES, NUMBERS, masks=True)
    shares = [CocoCounts(NAMES, NUMBERS, masks=True) for _ in range(3)]
    for number, (prediction, truth) in enumerate(examples):
        one.update(prediction, truth)
        shares[number % 3].update(prediction, truth)
    gathered = [image for share in reversed(shares) for image in pickle.loads(pickle.dumps(share.images))]
    together = coco_scores(gathered, NAMES, NUMBERS, masks=True)
    assert not np.isnan(list(together.summary().values())).any()
    assert together.summary() == one.scores().summary()
    assert together.table() == one.scores().table()


def test_images_with_nothing_in_them_count() -> None:
    nothing = truth_of(torch.zeros(0, 4), [], [])
    empty = returned(nothing, 0)
    examples = [(returned(truth, number), truth) for number, (_, truth) in enumerate(generated(), 1)]
    assert scored([(empty, nothing), *examples]).of["mask"].ap() == pytest.approx(1)
    false_alarms = InstancePrediction(
        "0", SIZE, *(getattr(generated()[9][0], key) for key in ("boxes", "labels", "scores", "masks"))
    )
    assert scored([(false_alarms, nothing), *examples]).of["mask"].ap() < 1
    missed = [
        (
            InstancePrediction(*(getattr(empty, key) for key in ("id", "size", "boxes", "labels", "scores"))),
            examples[5][1],
        )
    ]
    assert scored(missed).of["mask"].ap() == 0


@pytest.mark.parametrize(
    "examples", [[], [(returned(truth_of(torch.zeros(0, 4), [], []), 0), truth_of(torch.zeros(0, 4), [], []))]]
)
def test_without_objects_nothing_is_defined(examples: list[Example]) -> None:
    scores = scored(examples)
    assert all(np.isnan(value) for value in scores.summary().values())
    assert scores.table()[1] == ("cat", *["-"] * 6, "0")


def test_the_table_begins_with_the_best_class_and_says_how_many_objects_there_are() -> None:
    boxes = torch.tensor([[10.0, 10, 20, 20], [50, 50, 60, 60], [80, 80, 90, 90]])
    truth = truth_of(boxes, [4, 0, 0], [False] * 3)
    found = InstancePrediction("a", SIZE, boxes[1:], torch.tensor([0, 0]), torch.ones(2), filled(boxes[1:]))
    scores = scored([(found, truth)])
    assert scores.table() == [
        ("class", "mask AP", "mask AP50", "mask AP75", "box AP", "box AP50", "box AP75", "objects"),
        ("dog", *["100.00"] * 6, "2"),
        ("cat", *["0.00"] * 6, "1"),
        ("owl", *["-"] * 6, "0"),
    ]
    assert scores.headline().endswith("left out: owl")
    assert scores.headline().startswith("box AP 0.5000 (AP50 0.5000")


def test_more_detections_count_if_asked_for() -> None:
    boxes = random_boxes(150)
    truth = truth_of(boxes, [0] * 150, [False] * 150)
    example = (returned(truth, 0), truth)
    assert scored([example], masks=False).of["box"].ar() == pytest.approx(100 / 150)
    more = scored([example], masks=False, max_detections=300)
    assert more.of["box"].ar() == pytest.approx(1)
    assert "At most 300 detections" in more.definition
    fewer = scored([example], masks=False, max_detections=5)
    assert fewer.of["box"].ar() == pytest.approx(5 / 150)


def test_what_cannot_be_compared_is_refused() -> None:
    truth = truth_of(torch.tensor([[10.0, 10, 20, 20]]), [0], [False])
    counts = CocoCounts(NAMES, NUMBERS, masks=True)
    boxes_only = InstancePrediction("a", SIZE, truth.boxes, truth.labels, torch.ones(1))
    with pytest.raises(ValueError, match="a: the prediction has no masks"):
        counts.update(boxes_only, truth)
    with pytest.raises(ValueError, match="not of its size"):
        counts.update(InstancePrediction("a", (60, 80), truth.boxes, truth.labels, torch.ones(1), truth.masks), truth)
    with pytest.raises(ValueError, match=r"labels \[3\]"):
        counts.update(InstancePrediction("a", SIZE, truth.boxes, torch.tensor([3]), torch.ones(1), truth.masks), truth)


@pytest.mark.real
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_coco_tiny(split: str) -> None:
    path = Path(os.environ["COATSEG_REAL_DATA"]) / "coco_tiny" / "annotations" / f"instances_{split}.json"
    dataset = json.loads(path.read_text())
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    ids = sorted(coco.cats)
    counts, perfect = (CocoCounts([coco.cats[number]["name"] for number in ids], ids, masks=True) for _ in range(2))
    found = []
    info = DatasetInfo("coco", ("",) * 91, ((0, 0, 0),) * 91, frozenset({"instances"}), things=tuple(ids))
    for number, image in coco.imgs.items():
        rows, size = coco.imgToAnns[number], (image["height"], image["width"])
        boxes = torch.tensor([row["bbox"] for row in rows], dtype=torch.float64).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        masks = torch.from_numpy(np.array([coco.annToMask(row) for row in rows], bool).reshape(-1, *size))
        labels = torch.tensor([row["category_id"] for row in rows], dtype=torch.int64)
        areas = torch.tensor([row["area"] for row in rows], dtype=torch.float64)
        crowd = torch.tensor([bool(row["iscrowd"]) for row in rows], dtype=torch.bool)
        truth = InstanceTarget(boxes.float(), labels, masks, crowd, areas)
        perfect.update(returned(truth, number, size), truth)
        moved = (truth.boxes + 4 * torch.randn(len(rows), 4)).clamp(min=0)
        moved[:, 2:] = moved[:, 2:].maximum(moved[:, :2] + 1)
        rolled = torch.stack([mask.roll(number % 5, 1) for number, mask in enumerate(masks)]) if rows else masks
        wrong = torch.where(torch.rand(len(rows)) < 0.2, labels.flip(0), labels)
        prediction = InstancePrediction(
            str(number), size, moved, wrong, torch.rand(len(rows)).sort(descending=True).values, rolled
        )
        counts.update(prediction, truth)
        found += results(prediction, info)
    assert_equal(counts.scores(), ids, dataset, found)
    summary = perfect.scores().summary()
    assert [summary["box_AP"], summary["mask_AP"]] == pytest.approx([1, 1], abs=1e-9)


def test_an_evaluation_says_nothing(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        scored(generated(2))
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


@pytest.mark.parametrize(("side", "threshold"), [(10.2, 0.5), (10.9, 0.5), (0.7, 0.5)])
def test_an_iou_on_a_threshold_at_fractions_of_a_pixel_is_that_of_pycocotools(
    tmp_path: Path, side: float, threshold: float
) -> None:
    """Half a box in float32 is half of it or a little less in doubles, which its annotation is in."""
    corner = 3.3
    dataset = {
        "images": [{"id": 1, "file_name": "a.png", "height": SIZE[0], "width": SIZE[1]}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 4, "iscrowd": 0, "area": 10 * side, "bbox": [corner, 0, side, 10]}
        ],
        "categories": [{"id": number, "name": str(number)} for number in NUMBERS],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(dataset))
    instances = read_objects(path).instances(0)
    truth = target_of(Sample("1", np.zeros((*SIZE, 3), np.uint8), SIZE, instances=instances)).instances
    assert truth is not None
    for shift in (0.0, 1e-7, -1e-7):
        box = torch.tensor([[corner, 0, corner + side * threshold + shift, 10]], dtype=torch.float32)
        prediction = InstancePrediction("1", SIZE, box, torch.tensor([4]), torch.ones(1))
        counts = CocoCounts(("cat",), (0,), masks=False)
        counts.update(replace(prediction, labels=torch.tensor([0])), truth)
        ours = counts.scores().of["box"].ap(threshold)
        theirs = official(dataset, results(prediction, INFO), "bbox").stats[1]
        assert ours == pytest.approx(theirs, abs=1e-12)


def test_sides_of_boxes_are_those_that_were_stated() -> None:
    stated = np.random.default_rng(0).integers(1, 60_000, (2000, 4)) / 100
    corners = np.concatenate([stated[:, :2], stated[:, :2] + stated[:, 2:]], 1)
    assert ((corners[:, 2:] - corners[:, :2]) != stated[:, 2:]).any()
    truth = InstanceTarget(torch.from_numpy(corners), torch.zeros(2000, dtype=torch.int64), None, torch.zeros(2000))
    np.testing.assert_array_equal(encode(truth, False).boxes, stated)
