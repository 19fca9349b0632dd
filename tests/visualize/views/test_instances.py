import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from pycocotools.coco import COCO

from coatseg.data.loading.batching import collate
from coatseg.metrics.coco import CocoCounts
from coatseg.structures import Batch, DatasetInfo, InstancePrediction, InstanceTarget, Sample, Target
from coatseg.training.callbacks.detections import NAMES, DetectionFiles
from coatseg.training.callbacks.pictures import ValidationPictures
from coatseg.training.callbacks.worst import WorstImages
from coatseg.training.records.report import write_report, write_scores
from coatseg.visualize.views.instances import InstanceView

PALETTE = ((200, 0, 0), (0, 0, 200), (9, 9, 9))
INFO = DatasetInfo("two things", ("car", "dog", "sky"), PALETTE, frozenset({"instances"}), things=(0, 1))
INFO = replace(INFO, category_ids=(3, 18, 99))
SIZE = (160, 320)
BOXES = torch.tensor([[20.0, 40, 120, 120], [200, 40, 300, 120]])


def masks_of(boxes: torch.Tensor) -> torch.Tensor:
    masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes.int().tolist(), strict=True):
        mask[top:bottom, left:right] = True
    return masks


def shown(name: str = "7", found: int = 2, shrink: int = 1, masks: bool = True) -> tuple[Batch, InstancePrediction]:
    """A grey image with a car and a dog, of which so many are found; in the batch it is smaller than on disk."""
    image = np.full((SIZE[0] // shrink, SIZE[1] // shrink, 3), 128, np.uint8)
    batch = collate([Sample(name, image, SIZE)], INFO, [False])
    truth = InstanceTarget(BOXES, torch.tensor([0, 1]), masks_of(BOXES), torch.tensor([False, False]))
    boxes = BOXES[:found]
    scores, some = torch.tensor([0.9, 0.8])[:found], masks_of(boxes) if masks else None
    prediction = InstancePrediction(name, SIZE, boxes, torch.tensor([0, 1])[:found], scores, some)
    return replace(batch, targets=(Target(instances=truth),)), prediction


def trainer(function: TrainerFn = TrainerFn.VALIDATING) -> Any:
    state = SimpleNamespace(fn=function)
    return SimpleNamespace(state=state, world_size=1, is_global_zero=True, num_val_batches=[3], global_step=5)


def watched(callback: Any, *images: tuple[Batch, InstancePrediction]) -> None:
    callback.on_validation_epoch_start(trainer(), None)
    for number, (batch, prediction) in enumerate(images):
        callback.on_validation_batch_end(trainer(), None, {"predictions": [prediction]}, batch, number)
    callback.on_validation_epoch_end(trainer(), None)


@pytest.mark.parametrize("shrink", [1, 2])
def test_masks_are_tinted_where_they_are_whatever_the_size_of_the_image_in_the_batch(shrink: int) -> None:
    batch, prediction = shown(shrink=shrink)
    callback = WorstImages(INFO)
    watched(callback, (batch, prediction))
    image, truth, found, mistakes = (picture.astype(int) for picture in callback.found[0].pictures)
    assert image.shape == truth.shape == found.shape == mistakes.shape == (*SIZE, 3)
    for picture in (truth, found):
        assert picture[100, 70, 0] > picture[100, 70, 2] + 40  # a car, in a shade of red
        assert picture[100, 250, 2] > picture[100, 250, 0] + 40  # a dog, in one of blue
        assert picture[140, 160].tolist() == [128, 128, 128]


def test_boxes_alone_leave_the_inside_as_it_is() -> None:
    batch, prediction = shown(masks=False)
    _, truth, found = InstanceView().pictures(np.full((*SIZE, 3), 128, np.uint8), prediction, batch.targets[0], INFO)
    assert truth[100, 70].tolist() == found[100, 70].tolist() == [128, 128, 128]
    assert found[100, 20].tolist() != [128, 128, 128]


def test_unsure_detections_are_not_drawn() -> None:
    batch, prediction = shown()
    unsure = replace(prediction, scores=torch.tensor([0.9, 0.2]))
    view, image = InstanceView(), np.full((*SIZE, 3), 128, np.uint8)
    found = view.pictures(image, unsure, batch.targets[0], INFO)[2]
    assert found[100, 250].tolist() == [128, 128, 128]
    assert "0.3" in view.captions[2]


def test_missed_objects_are_red_and_rank_an_image_first(tmp_path: Path) -> None:
    callback = WorstImages(INFO, count=2)
    watched(callback, shown("7"), shown("8", found=1), shown("9", found=0))
    assert [(ranked.id, round(ranked.score, 4)) for ranked in callback.found] == [("9", 0), ("8", 0.6667)]
    missed = callback.found[1].pictures[3].astype(int)[100, 250]
    assert missed[0] > missed[1] + 40
    assert missed[0] > missed[2] + 40
    counts = CocoCounts(("car", "dog"), (0, 1), masks=True)
    for batch, prediction in (shown("7"), shown("8", found=1)):
        assert batch.targets[0].instances is not None
        counts.update(prediction, batch.targets[0].instances)
    report = write_report(tmp_path, counts.scores(), "title", {}, worst=callback).read_text()
    assert "Worst images, by F1 = " in report
    assert "1. `9`: 0.0000\n2. `8`: 0.6667\n" in report
    assert "![scores](pictures/scores.png)" in report
    assert "| car | 100.00 |" in report


def test_scores_that_are_undefined_are_null_and_drawn_all_the_same(tmp_path: Path) -> None:
    for masks in (False, True):
        scores = CocoCounts(("car", "dog"), (0, 1), masks=masks).scores()
        write_report(tmp_path / str(masks), scores, "title", {})
        written = json.loads(write_scores(tmp_path / str(masks), scores, {}).read_text())
        assert written["summary"]["box_AP"] is None
        assert written["classes"]["dog"]["box AP50"] is None
        assert written["classes"]["dog"]["objects"] == 0
        assert "nan" not in scores.headline()


def test_a_training_writes_sheets_with_a_legend_of_things_alone(tmp_path: Path) -> None:
    callback = ValidationPictures(tmp_path, INFO, count=2)
    watched(callback, shown("7"), shown("8", shrink=2))
    callback.on_validation_end(trainer(TrainerFn.FITTING), None)  # type: ignore[arg-type]
    assert cv2.imread(str(tmp_path / "step_000005.png")).shape[1] > 3 * SIZE[1]
    assert list(InstanceView().named(INFO)) == [0, 1]


def test_masks_and_their_boxes_are_written_as_coco_does_into_two_files(tmp_path: Path) -> None:
    callback = DetectionFiles(INFO)
    watched(callback, shown("10"), shown("9", found=1))
    callback.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"detections.json", "detections_boxes.json"}
    masks, boxes = (json.loads((tmp_path / name).read_text()) for name in ("detections.json", "detections_boxes.json"))
    for rows in (masks, boxes):
        assert [(row["image_id"], row["category_id"]) for row in rows] == [(9, 3), (10, 3), (10, 18)]
        assert rows[0]["score"] == pytest.approx(0.9)
    assert boxes[0]["bbox"] == [20, 40, 100, 80]
    assert masks[0]["segmentation"]["size"] == list(SIZE)
    assert isinstance(masks[0]["segmentation"]["counts"], str)
    assert not any("bbox" in row for row in masks)
    assert not any("segmentation" in row for row in boxes)


def test_coco_s_tools_read_the_areas_of_masks_and_of_boxes(tmp_path: Path) -> None:
    batch, prediction = shown("7", found=1)
    assert prediction.masks is not None
    prediction.masks[:, :50] = False  # a mask of 100 x 70 in a box of 100 x 80
    callback = DetectionFiles(INFO)
    watched(callback, (batch, prediction))
    callback.write(tmp_path)
    truth = COCO()
    truth.dataset = {"info": {}, "images": [{"id": 7}], "categories": [{"id": 3}], "annotations": []}
    truth.createIndex()
    loaded = [truth.loadRes(str(tmp_path / name)) for name in ("detections.json", "detections_boxes.json")]
    assert [found.anns[1]["area"] for found in loaded] == [7000, 8000]


def test_where_only_boxes_are_predicted_there_is_one_file(tmp_path: Path) -> None:
    callback = DetectionFiles(INFO)
    watched(callback, shown("10", masks=False), shown("9", found=0, masks=False))
    callback.write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["detections.json"]
    rows = json.loads((tmp_path / "detections.json").read_text())
    assert [row["bbox"] for row in rows] == [[20, 40, 100, 80], [200, 40, 100, 80]]
    assert set(rows[0]) == {"image_id", "category_id", "bbox", "score"}


def test_where_no_object_was_found_both_files_are_empty(tmp_path: Path) -> None:
    callback = DetectionFiles(INFO)
    watched(callback, shown("9", found=0))
    callback.write(tmp_path)
    assert [json.loads((tmp_path / name).read_text()) for name in NAMES] == [[], []]


def test_other_tasks_write_no_detections(tmp_path: Path) -> None:
    callback = DetectionFiles(INFO)
    watched(callback)
    callback.write(tmp_path)
    assert list(tmp_path.iterdir()) == []
