import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from coatseg.metrics.panoptic import PanopticCounts, PanopticScores, image_panoptic_quality, panoptic_scores
from coatseg.metrics.segments import match_segments
from coatseg.structures import PanopticPrediction, PanopticTarget
from tests.metrics.panoptic_cases import CASES, CLASSES, THINGS, Case, example

Example = tuple[PanopticPrediction, PanopticTarget]


def counted(*examples: Example) -> PanopticCounts:
    counts = PanopticCounts(CLASSES, THINGS)
    for prediction, truth in examples:
        counts.update(prediction, truth)
    return counts


def generated(images: int = 12) -> list[Example]:
    """Images of blotches, some of them void or crowds, and predictions that are about half right."""
    random = np.random.default_rng(0)
    examples = []
    for number in range(images):
        ids = np.kron(random.integers(0, 9, (6, 6)), np.ones((7, 7), int))
        found = np.where(random.random(ids.shape) < 0.75, ids, np.roll(ids, 7, 1))
        labels, wrong = random.integers(0, 4, 8), random.integers(0, 4, 8)
        present = np.unique(found[found > 0])
        places = np.zeros(9, np.int32)
        places[present] = np.arange(1, len(present) + 1)
        predicted = np.where(random.random(8) < 0.7, labels, wrong)[present - 1]
        examples.append((
            PanopticPrediction(
                str(number), torch.from_numpy(places[found]), torch.from_numpy(predicted), torch.ones(len(present))
            ),
            PanopticTarget(
                torch.from_numpy(ids.astype(np.int32) * 1000),
                torch.arange(1, 9, dtype=torch.int32) * 1000,
                torch.from_numpy(labels),
                torch.from_numpy(random.random(8) < 0.2),
            ),
        ))  # fmt: skip
    return examples


@pytest.mark.parametrize("case", CASES, ids=str)
def test_by_hand(case: Case) -> None:
    scores = counted(*case.examples).scores()
    counts = dict(zip(CLASSES, map(tuple, scores.counts.tolist()), strict=True))
    assert counts == {"person": (0, 0, 0), "car": (0, 0, 0), "sky": (0, 0, 0), "road": (1, 0, 0), **case.counts}
    road = CLASSES.index("road")
    assert scores.iou[road] == counts["road"][0]
    assert scores.iou.sum() - scores.iou[road] == pytest.approx(case.iou, abs=1e-15)
    summary = scores.summary()
    assert [summary[name] for name in ("PQ", "SQ", "RQ")] == pytest.approx(case.means, abs=1e-12)


def test_a_group_without_a_class_has_no_mean() -> None:
    road = counted(example("a", [])).scores()
    assert road.summary() == {
        "PQ": 1, "SQ": 1, "RQ": 1, "PQ_things": pytest.approx(np.nan, nan_ok=True),
        "SQ_things": pytest.approx(np.nan, nan_ok=True), "RQ_things": pytest.approx(np.nan, nan_ok=True),
        "PQ_stuff": 1, "SQ_stuff": 1, "RQ_stuff": 1,
    }  # fmt: skip
    assert "things PQ - (SQ -, RQ -); stuff PQ 1.0000" in road.headline()
    nothing = PanopticCounts(("only",), ()).scores()
    assert all(np.isnan(value) for value in nothing.summary().values())
    assert nothing.table()[1:] == [("only", "stuff", "-", "-", "-", "0", "0", "0", "0")]


def test_means_of_things_and_of_stuff() -> None:
    person, sky = [(60, "person", "person"), (40, "person", "")], [(100, "sky", "")]
    scores = counted(example("a", [*person, *sky])).scores()
    assert scores.summary() == pytest.approx({
        "PQ": 1.6 / 3, "SQ": 1.6 / 3, "RQ": 2 / 3, "PQ_things": 0.6, "SQ_things": 0.6, "RQ_things": 1,
        "PQ_stuff": 0.5, "SQ_stuff": 0.5, "RQ_stuff": 0.5,
    })  # fmt: skip


def test_the_table_tells_things_from_stuff_and_begins_with_the_best_of_each() -> None:
    runs = [(60, "car", "car"), (40, "car", ""), (20, "person", ""), (9, "car-2", ""), (9, "car-crowd", "")]
    scores = counted(example("a", runs)).scores()
    assert scores.table() == [
        ("class", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN", "segments"),
        ("car", "thing", "40.00", "60.00", "66.67", "1", "0", "1", "2"),
        ("person", "thing", "0.00", "0.00", "0.00", "0", "0", "1", "1"),
        ("road", "stuff", "100.00", "100.00", "100.00", "1", "0", "0", "1"),
        ("sky", "stuff", "-", "-", "-", "0", "0", "0", "0"),
    ]
    assert scores.absent == ("sky",)
    assert scores.headline().startswith("PQ 0.4667 (SQ 0.5333, RQ 0.5556); things PQ 0.2000")
    assert scores.headline().endswith("; absent and left out: sky")


def test_neither_order_nor_processes_matter() -> None:
    examples = generated()
    one = counted(*examples).scores()
    assert 0.1 < one.summary()["PQ"] < 0.9
    assert not np.isnan(list(one.summary().values())).any()
    shares = [counted(*examples[first::3]).share for first in (2, 0, 1)]
    assert_same(panoptic_scores(pickle.loads(pickle.dumps(shares)), CLASSES, THINGS), one)
    assert_same(counted(*reversed(examples)).scores(), one)


def test_sums_of_iou_are_exactly_rounded() -> None:
    examples = generated(60)
    matches = [(match_segments(*one).iou, one[0].labels.numpy()) for one in examples]
    for label, total in enumerate(counted(*examples).scores().iou):
        assert total == math.fsum(np.concatenate([iou[labels == label] for iou, labels in matches]))


def work(rank: int, folder: Path) -> None:
    """Count half of the images in one of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=2)
    torch.save(vars(counted(*generated()[rank::2]).scores()), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_give_the_scores_of_one(tmp_path: Path) -> None:
    # Forked, they need not load torch again, which takes seconds.
    multiprocessing.start_processes(work, (tmp_path,), nprocs=2, start_method="fork")
    for rank in range(2):
        scores = PanopticScores(**torch.load(tmp_path / f"{rank}.pt", weights_only=False))
        assert_same(scores, counted(*generated()).scores())


def assert_same(scores: PanopticScores, others: PanopticScores) -> None:
    """To the last bit."""
    assert scores.counts.tolist() == others.counts.tolist()
    assert scores.iou.tolist() == others.iou.tolist()
    assert scores.table() == others.table()


def test_forgotten_images_do_not_count() -> None:
    counts = counted(*generated())
    counts.reset()
    assert np.isnan(counts.scores().summary()["PQ"])


def test_an_image_by_itself_scores_over_its_own_classes() -> None:
    halves = example("a", [(60, "person", "person"), (40, "person", "")])
    assert image_panoptic_quality(*halves, len(CLASSES)) == pytest.approx(0.8)
    crowd = PanopticTarget(*(getattr(halves[1], name) for name in ("ids", "numbers", "labels")), torch.ones(2).bool())
    assert np.isnan(image_panoptic_quality(halves[0], crowd, len(CLASSES)))


def test_a_truth_that_lists_nothing_is_all_void() -> None:
    prediction, truth = example("a", [(60, "person", "person")])
    empty = PanopticTarget(
        torch.zeros_like(truth.ids), *(part[:0] for part in (truth.numbers, truth.labels, truth.crowd))
    )
    assert counted((prediction, empty)).counts.tolist() == [[0, 0, 0]] * 4
    nothing = PanopticPrediction("a", torch.zeros_like(prediction.ids), prediction.labels[:0], prediction.scores[:0])
    assert counted((nothing, truth)).counts[:, 2].tolist() == [1, 0, 1, 0]


def test_what_cannot_be_compared_is_refused() -> None:
    prediction, truth = example("a", [(60, "person", "person")])
    ids, labels, scores = prediction.ids, prediction.labels, prediction.scores
    with pytest.raises(ValueError, match=r"a: .* differ in size: \(20, 10\) and \(20, 20\)"):
        counted((PanopticPrediction("a", ids[:, :10], labels, scores), truth))
    with pytest.raises(ValueError, match=r"the prediction has labels \[4\], with 4 classes"):
        counted((PanopticPrediction("a", ids, torch.tensor([4, 2]), scores), truth))
    with pytest.raises(ValueError, match="has ids up to 2, with 1 segments"):
        counted((PanopticPrediction("a", ids, labels[:1], scores[:1]), truth))
    with pytest.raises(ValueError, match="the predicted segment 3 has no pixel"):
        counted((PanopticPrediction("a", ids, torch.tensor([0, 2, 2]), torch.ones(3)), truth))
