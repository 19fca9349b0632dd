import numpy as np
import torch

from coatseg.data.batching import collate
from coatseg.metrics.layers import layer_scores
from coatseg.structures import Batch, DatasetInfo, MultilabelPrediction, Sample, SemanticPrediction, Target
from coatseg.training.pictures import row_of_pictures
from coatseg.training.report import write_report

RED, BLUE, BLACK = (200, 0, 0), (0, 0, 200), (0, 0, 0)
INFO = DatasetInfo("two", ("red", "blue"), (RED, BLUE), frozenset({"multilabel"}))


def test_later_classes_are_painted_over_earlier_ones_and_nothing_where_none_is() -> None:
    truth = np.array([[[1, 0], [1, 1], [0, 0], [0, 255]]], np.uint8)  # one row: red, both, none, unknown
    image = np.full((1, 4, 3), 100, np.uint8)
    batch = collate([Sample("a", image, (1, 4), layers=truth)], INFO, [False])
    layers = torch.tensor([[[False, True, True, False]], [[True, False, True, False]]])
    shown = row_of_pictures(batch, MultilabelPrediction("a", layers, layers.float()), INFO)
    assert shown[0].tolist() == image.tolist()
    assert [tuple(pixel) for pixel in shown[1][0].tolist()] == [RED, BLUE, BLACK, BLACK]
    assert [tuple(pixel) for pixel in shown[2][0].tolist()] == [BLUE, RED, BLUE, BLACK]
    assert [tuple(pixel) for pixel in shown[3][0].tolist()] == [(50, 50, 150), (150, 50, 50), (50, 50, 150), (100,) * 3]


def test_the_report_draws_the_scores_of_classes_that_may_be_undefined(tmp_path) -> None:
    scores = layer_scores(torch.tensor([[2, 3, 3], [0, 0, 0]]), INFO.classes)
    report = write_report(tmp_path, scores, "two", {}).read_text()
    assert "| blue | - | - | - | - |" in report
    assert (tmp_path / "pictures" / "scores.png").read_bytes()[:4] == b"\x89PNG"


def test_an_image_that_was_resized_is_shown_at_the_size_of_its_truth() -> None:

    labels = torch.zeros(4, 6, dtype=torch.int64)
    batch = Batch(torch.zeros(1, 3, 10, 14), ((8, 12),), (Target(labels),), ("a",), ((4, 6),), (False,))
    shown = row_of_pictures(batch, SemanticPrediction("a", labels, torch.ones(4, 6)), INFO)
    assert [picture.shape for picture in shown] == [(4, 6, 3)] * 4
