from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.data.loading.batching import collate
from coatseg.metrics.confusion import semantic_scores
from coatseg.structures import DatasetInfo, Sample, SemanticPrediction
from coatseg.training.callbacks.worst import Ranked, WorstImages, worst
from coatseg.training.records.report import write_report
from coatseg.visualize.label_maps import BLACK, mistakes
from coatseg.visualize.views.base import WIDTH

INFO = DatasetInfo("two", ("ground", "house"), ((10, 20, 30), (200, 100, 50)), frozenset({"semantic"}))
SIZE = (4, 8)


def trainer(function: TrainerFn = TrainerFn.VALIDATING) -> Any:
    return SimpleNamespace(state=SimpleNamespace(fn=function), world_size=1)


def show(callback: WorstImages, wrong: dict[str, int], repeated: tuple[str, ...] = (), **options: Any) -> None:
    """Let a callback see a batch of images, each predicted with so many wrong pixels of 32, all truly ground."""
    image, truth = np.full((*SIZE, 3), 128, np.uint8), np.zeros(SIZE, np.uint8)
    batch = collate([Sample(name, image, SIZE, truth) for name in wrong], INFO, [name in repeated for name in wrong])
    predictions = []
    for name, pixels in wrong.items():
        label_map = torch.zeros(SIZE[0] * SIZE[1], dtype=torch.int64)
        label_map[:pixels] = 1
        predictions.append(SemanticPrediction(name, label_map.reshape(SIZE), torch.ones(SIZE)))
    callback.on_validation_batch_end(trainer(**options), None, {"predictions": predictions}, batch, 0)  # type: ignore[arg-type]


def evaluated(callback: WorstImages, *batches: dict[str, int]) -> list[str]:
    callback.on_validation_epoch_start(trainer(), None)  # type: ignore[arg-type]
    for batch in batches:
        show(callback, batch)
    callback.on_validation_epoch_end(trainer(), None)  # type: ignore[arg-type]
    return [ranked.id for ranked in callback.found]


def test_it_keeps_the_worst_of_all_batches_worst_first() -> None:
    callback = WorstImages(INFO, count=3)
    assert evaluated(callback, {"a": 4, "b": 16}, {"c": 0, "d": 32}, {"e": 8}) == ["d", "b", "e"]
    # b: the ground has 16 of 32 pixels right, and the house that is not there counts as a class with no hit.
    assert callback.found[1].score == pytest.approx((16 / 32 + 0) / 2)
    assert evaluated(callback, {"z": 1}) == ["z"]  # the next evaluation begins anew


def test_images_of_one_score_stand_in_the_order_of_their_ids_whatever_order_they_came_in() -> None:
    assert evaluated(WorstImages(INFO, count=2), {"c": 5}, {"a": 5}, {"b": 5}) == ["a", "b"]
    assert evaluated(WorstImages(INFO, count=2), {"a": 5, "b": 5, "c": 5}) == ["a", "b"]


def test_what_the_processes_found_joins_to_what_one_would_have_found() -> None:
    images = [Ranked(name, score, ()) for name, score in (("a", 0.5), ("b", 0.1), ("c", 0.1), ("d", 0.9), ("e", 0.2))]
    shares = [worst(images[0::2], 2), worst(images[1::2], 2)]
    assert worst([*shares[0], *shares[1]], 2) == worst(images, 2) == [images[1], images[2]]


def test_repeated_and_wholly_ignored_images_are_not_ranked() -> None:
    callback = WorstImages(INFO)
    show(callback, {"a": 3, "b": 9}, repeated=("b",))
    assert [ranked.id for ranked in callback.found] == ["a"]
    ignored = Sample("i", np.zeros((*SIZE, 3), np.uint8), SIZE, np.full(SIZE, 255, np.uint8))
    prediction = SemanticPrediction("i", torch.zeros(SIZE, dtype=torch.int64), torch.ones(SIZE))
    batch = collate([ignored], INFO, [False])
    callback.on_validation_batch_end(trainer(), None, {"predictions": [prediction]}, batch, 0)  # type: ignore[arg-type]
    assert [ranked.id for ranked in callback.found] == ["a"]


def test_validations_of_a_training_cost_nothing() -> None:
    callback = WorstImages(INFO)
    show(callback, {"a": 3}, function=TrainerFn.FITTING)
    assert callback.found == []


def test_pictures_are_small_and_padding_is_not_in_them() -> None:
    callback = WorstImages(INFO, count=1)
    image, truth = np.zeros((1000, 2000, 3), np.uint8), np.zeros((1000, 2000), np.uint8)
    large = Sample("large", image, (1000, 2000), truth)
    small = Sample("small", image[:500], (500, 2000), truth[:500])
    predictions = [
        SemanticPrediction("large", torch.zeros(1000, 2000, dtype=torch.int64), torch.ones(1000, 2000)),
        SemanticPrediction("small", torch.ones(500, 2000, dtype=torch.int64), torch.ones(500, 2000)),
    ]
    batch = collate([large, small], INFO, [False, False])
    callback.on_validation_batch_end(trainer(), None, {"predictions": predictions}, batch, 0)  # type: ignore[arg-type]
    assert [picture.shape for picture in callback.found[0].pictures] == [(80, WIDTH, 3)] * 4


def test_wrong_pixels_are_red_right_ones_grey_ignored_ones_black() -> None:
    image = np.full((1, 3, 3), (0, 200, 0), np.uint8)
    right, wrong, ignored = mistakes(image, np.array([[False, True, True]]), np.array([[False, False, True]]))[
        0
    ].astype(int)
    assert right[0] == right[1] == right[2]
    assert wrong[0] > wrong[1] + 100
    assert wrong[1] == wrong[2]
    assert tuple(ignored) == BLACK


def test_a_report_lists_and_shows_them(tmp_path: Path) -> None:
    callback = WorstImages(INFO, count=2)
    evaluated(callback, {"street/1": 4, "street/2": 16, "street/3": 8})
    scores = semantic_scores(np.array([[68, 28], [0, 0]]), INFO.classes)
    report = write_report(tmp_path, scores, "title", {}, worst=callback).read_text()
    assert "1. `street/2`: 0.2500\n2. `street/3`: 0.3750\n" in report
    assert "![worst images](pictures/worst.png)" in report
    sheet = cv2.imread(str(tmp_path / "pictures" / "worst.png"))
    assert sheet.shape[0] > 2 * WIDTH * SIZE[0] / SIZE[1]
    assert sheet.shape[1] > 4 * WIDTH


def test_a_report_without_them_has_no_empty_list(tmp_path: Path) -> None:
    scores = semantic_scores(np.array([[68, 28], [0, 0]]), INFO.classes)
    for number, callback in enumerate((None, WorstImages(INFO))):
        report = write_report(tmp_path / str(number), scores, "title", {}, worst=callback)
        assert "orst" not in report.read_text()
        assert not (report.parent / "pictures" / "worst.png").exists()
