from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.data.loading.batching import collate
from coatseg.metrics.panoptic import PanopticCounts
from coatseg.structures import Batch, DatasetInfo, PanopticPrediction, PanopticTarget, Sample, Target
from coatseg.training.callbacks.worst import WorstImages
from coatseg.training.records.report import write_report, write_scores
from coatseg.visualize.segments import draw_segments, places_of, segment_colours
from coatseg.visualize.views.panoptic import PanopticView

INFO = DatasetInfo(
    "street", ("car", "road", "sky"), ((0, 0, 200), (0, 160, 0), (200, 0, 0)), frozenset({"panoptic"}), things=(0,)
)
SIZE = (160, 320)
CAR, OTHER, ROAD, VOID, CROWD = ((40, 40), (40, 120), (120, 60), (40, 200), (40, 290))
"""A pixel (row, column) well within each segment of the picture."""


def truth() -> PanopticTarget:
    """Two cars, side by side, void, and a crowd of cars, in a row above a road."""
    ids = torch.zeros(SIZE, dtype=torch.int32)
    ids[:80, :80], ids[:80, 80:160], ids[:80, 260:], ids[80:] = 7, 70_000, 3, 9
    numbers = torch.tensor([9, 7, 70_000, 3], dtype=torch.int32)
    return PanopticTarget(ids, numbers, torch.tensor([1, 0, 0, 0]), torch.tensor([False, False, False, True]))


def found(cars: int = 2, road: int = 1, name: str = "a") -> PanopticPrediction:
    """The road, by its class or another one, and so many of the cars, the left one first."""
    ids = torch.zeros(SIZE, dtype=torch.int32)
    ids[80:] = 1
    for car in range(cars):
        ids[:80, 80 * car : 80 * (car + 1)] = 2 + car
    labels = torch.tensor([road, 0, 0][: 1 + cars])
    return PanopticPrediction(name, ids, labels, torch.ones(len(labels)))


def grey(level: int = 128) -> np.ndarray:
    return np.full((*SIZE, 3), level, np.uint8)


def test_things_have_shades_of_their_class_and_stuff_its_colour() -> None:
    first, second, road = segment_colours([0, 0, 1], INFO)
    assert first != second
    assert all(shade[2] > max(shade[:2]) + 40 for shade in (first, second))
    assert road == INFO.palette[1]


def test_segments_are_tinted_and_outlined_and_void_is_dark() -> None:
    image, known, predicted = PanopticView().pictures(grey(), found(), Target(panoptic=truth()), INFO)
    assert image.tolist() == grey().tolist()
    for picture in (known, predicted):
        car, other, road, void = (picture[place].astype(int) for place in (CAR, OTHER, ROAD, VOID))
        assert car[2] > car[0] + 30
        assert other[2] > other[0] + 30
        assert car.tolist() != other.tolist()
        assert road[1] > road[0] + 60
        assert void.tolist() == [32, 32, 32]
        assert picture[40, 79].sum() < 0.6 * car.sum()  # the outline between two cars
    crowd = known[CROWD].astype(int)
    assert np.ptp(crowd) == 0
    assert crowd[0] > 100
    assert predicted[CROWD].tolist() == [32, 32, 32]


def test_names_are_written_where_there_is_room_for_them() -> None:
    target = truth()
    places, labels = places_of(target.ids.numpy(), target.numbers.numpy()), target.labels.tolist()
    named = draw_segments(grey(), places, labels, INFO)
    unnamed = draw_segments(grey(), places, labels, replace(INFO, classes=("", "", "")))
    beside = [(named != unnamed)[where].any() for where in (np.s_[:80, :80], np.s_[:80, 80:160], np.s_[80:])]
    assert beside == [True, True, True]
    long = replace(INFO, classes=("a name much too long for a car", "road", "sky"))
    assert not (draw_segments(grey(), places, labels, long) != unnamed)[:80].any()
    outside = (named != unnamed)[:80, 160:260]
    assert not outside.any()


def test_a_picture_of_another_width_shows_the_same_segments() -> None:
    target = truth()
    places = places_of(target.ids.numpy(), target.numbers.numpy())
    small = draw_segments(grey(), places, target.labels.tolist(), replace(INFO, classes=("", "", "")), width=80)
    assert small.shape == (40, 80, 3)
    assert small[10, 50].tolist() == [32, 32, 32]
    assert small[30, 15, 1] > small[30, 15, 0] + 60


def test_ids_that_are_not_listed_belong_to_no_segment() -> None:
    ids = np.array([[5, 0, 70_000], [3, 4, 5]], np.int32)
    assert places_of(ids, np.array([70_000, 3, 5], np.int32)).tolist() == [[3, 0, 1], [2, 0, 3]]
    assert places_of(ids, np.array([], np.int32)).tolist() == [[0, 0, 0], [0, 0, 0]]


def test_missed_false_and_right_segments_are_told_apart() -> None:
    picture = PanopticView().mistaken(grey(), found(cars=1, road=2), Target(panoptic=truth()), INFO).astype(int)
    right, missed, both, void, crowd = (picture[place] for place in (CAR, OTHER, ROAD, VOID, CROWD))
    assert right[1] > right[0]
    assert missed[0] > max(missed[1], missed[2]) + 60
    assert min(both[0], both[2]) > both[1] + 15  # red and blue make purple
    assert void.max() < 60
    assert crowd.tolist() == picture[0, 300].tolist()
    assert np.ptp(crowd) == 0
    alone = PanopticView().mistaken(grey(), found(), Target(panoptic=road_alone()), INFO).astype(int)
    false = alone[CAR]
    assert false[2] > max(false[0], false[1]) + 30


def road_alone() -> PanopticTarget:
    ids = torch.full(SIZE, 9, dtype=torch.int32)
    return PanopticTarget(ids, torch.tensor([9], dtype=torch.int32), torch.tensor([1]), torch.tensor([False]))


def test_the_score_is_the_pq_of_the_image_alone() -> None:
    view, target = PanopticView(), Target(panoptic=truth())
    assert view.score(found(), target, INFO) == 1
    assert view.score(found(cars=1), target, INFO) == pytest.approx((1 + 1 / 1.5) / 2)
    assert view.score(found(cars=1, road=2), target, INFO) == pytest.approx((0 + 0 + 1 / 1.5) / 3)
    assert np.isnan(view.score(found(), Target(), INFO))
    assert not view.pictures(grey(), found(), Target(), INFO)[1].any()


def test_the_worst_images_by_pq_come_first_in_the_report(tmp_path: Path) -> None:
    callback: Any = WorstImages(INFO, count=2)
    trainer: Any = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.VALIDATING), world_size=1)
    counts = PanopticCounts(INFO.classes, INFO.things)
    callback.on_validation_epoch_start(trainer, None)
    for number, cars in enumerate((2, 0, 1)):
        batch: Batch = replace(
            collate([Sample(str(number), grey(), SIZE)], INFO, [False]), targets=(Target(panoptic=truth()),)
        )
        prediction = found(cars, name=str(number))
        callback.on_validation_batch_end(trainer, None, {"predictions": [prediction]}, batch, number)
        counts.update(prediction, truth())
    assert [(ranked.id, round(ranked.score, 4)) for ranked in callback.found] == [("1", 0.5), ("2", 0.8333)]
    scores = counts.scores()
    report = write_report(tmp_path, scores, "title", {}, worst=callback).read_text()
    assert "Worst images, by the panoptic quality of the image alone" in report
    assert "| car | thing | 66.67 | 100.00 | 66.67 | 3 | 0 | 3 | 6 |" in report
    assert "PQ as panopticapi computes it" in report
    assert "absent and left out: sky" in report
    for name in ("scores", "worst"):
        assert (tmp_path / "pictures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert '"sky": {\n      "kind": "stuff",\n      "PQ": null' in write_scores(tmp_path, scores, {}).read_text()


def test_scores_of_no_image_are_drawn_all_the_same(tmp_path: Path) -> None:
    write_report(tmp_path, PanopticCounts(INFO.classes, INFO.things).scores(), "title", {})
    assert (tmp_path / "pictures" / "scores.png").is_file()
