import numpy as np
import torch

from coatseg.data.loading.batching import collate
from coatseg.metrics.multilabel import layer_scores
from coatseg.structures import DatasetInfo, MultilabelPrediction, Sample
from coatseg.training.records.report import write_report
from coatseg.visualize.views.base import original_image
from coatseg.visualize.views.label_maps import MultilabelView

RED, BLUE, BLACK = (200, 0, 0), (0, 0, 200), (0, 0, 0)
INFO = DatasetInfo("two", ("red", "blue"), (RED, BLUE), frozenset({"multilabel"}))


def test_later_classes_are_painted_over_earlier_ones_and_nothing_where_none_is() -> None:
    truth = np.array([[[1, 0], [1, 1], [0, 0], [0, 255]]], np.uint8)  # one row: red, both, none, unknown
    image = np.full((1, 4, 3), 100, np.uint8)
    batch = collate([Sample("a", image, (1, 4), layers=truth)], INFO, [False])
    layers = torch.tensor([[[False, True, True, False]], [[True, False, True, False]]])
    prediction = MultilabelPrediction("a", layers, layers.float())
    shown = MultilabelView().pictures(original_image(batch, 0, INFO), prediction, batch.targets[0], INFO)
    assert shown[0].tolist() == image.tolist()
    assert [tuple(pixel) for pixel in shown[1][0].tolist()] == [RED, BLUE, BLACK, BLACK]
    assert [tuple(pixel) for pixel in shown[2][0].tolist()] == [BLUE, RED, BLUE, BLACK]
    assert [tuple(pixel) for pixel in shown[3][0].tolist()] == [(50, 50, 150), (150, 50, 50), (50, 50, 150), (100,) * 3]


def test_the_report_draws_the_scores_of_classes_that_may_be_undefined(tmp_path) -> None:
    scores = layer_scores(torch.tensor([[2, 3, 3], [0, 0, 0]]), INFO.classes)
    report = write_report(tmp_path, scores, "two", {}).read_text()
    assert "| blue | - | - | - | - |" in report
    assert (tmp_path / "pictures" / "scores.png").read_bytes()[:4] == b"\x89PNG"
