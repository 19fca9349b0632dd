"""The whole way from a dataset to its scores, with a model that reads the truth off the image."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coatseg.data.loading.module import DataModule
from coatseg.losses.base import WeightedSum
from coatseg.losses.cross_entropy import CrossEntropy
from coatseg.metrics.confusion import SemanticScores
from coatseg.structures import DatasetInfo, Outputs, Sample, Size
from coatseg.tasks.evaluation import evaluate
from coatseg.tasks.inference.options import WHOLE, Inference
from coatseg.tasks.semantic import BoundaryOption, SemanticTask
from coatseg.training.callbacks.worst import WorstImages
from coatseg.training.optimization.optimizers import adamw
from coatseg.training.trainer import make_trainer

INFO = DatasetInfo("three", ("a", "b", "c"), ((0, 0, 0),) * 3, frozenset({"semantic"}), mean=(0.5,) * 3, std=(0.5,) * 3)
STEP = 100
"""What a class number more adds to a pixel."""


class Painted:
    """Images of several sizes that show their label maps; an ignored stripe shows a class all the same."""

    info = INFO

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> Sample:
        random = np.random.default_rng(index)
        size = (30 + index, 40 - 3 * index)
        shown = random.integers(0, 3, (5, 5)).repeat(8, 0).repeat(8, 1)[: size[0], : size[1]].astype(np.uint8)
        labels = shown.copy()
        labels[3:7] = INFO.ignore_index
        return Sample(f"{index}", np.repeat(STEP * shown[..., None], 3, 2), size, labels)

    def verify(self, index: int) -> None:
        """There is nothing to check."""


class Reader(nn.Module):
    """Gives the class that is painted on a pixel the highest logit; with `wrong`, another one instead of `c`."""

    def __init__(self, wrong: bool = False) -> None:
        super().__init__()
        self.wrong = wrong

    def forward(self, images: Tensor, sizes: tuple[Size, ...] | None = None) -> Outputs:
        shown = ((images[:, :1] / 2 + 0.5) * 255 / STEP).round()
        if self.wrong:
            shown = shown.clamp_max(1)
        return Outputs(-10 * (shown - torch.arange(3.0)[:, None, None]).square())


def scores(
    model: nn.Module,
    inference: Inference = WHOLE,
    boundary_iou: BoundaryOption = True,
    resize: tuple[int, int] | None = None,
) -> tuple[SemanticScores, WorstImages]:
    loss = WeightedSum({"cross_entropy": CrossEntropy(INFO)}, {"cross_entropy": 1.0})
    task = SemanticTask(
        model,
        INFO,
        loss,
        optimizer=lambda model: adamw(model, lr=1e-3),
        schedule=lambda step: 1.0,
        inference=inference,
        boundary_iou=boundary_iou,
    )
    data = DataModule(
        lambda split: Painted(),
        lambda sample, seed: sample,
        INFO,
        evaluation_batch_size=2,
        evaluation_resize=resize,
        workers=0,
    )
    worst = WorstImages(INFO, count=2)
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}, [worst])
    found = evaluate(trainer, task, data, "val")
    assert isinstance(found, SemanticScores)
    return found, worst


WINDOWS = Inference(window=(16, 12), overlap=0.25, window_batch=3)
FLIPPED = Inference(window=(16, 12), flip=True)


@pytest.mark.parametrize("inference", [WHOLE, WINDOWS, FLIPPED], ids=["whole", "windows", "windows and flip"])
def test_truth_fed_back_scores_one_in_everything(inference: Inference) -> None:
    perfect, worst = scores(Reader(), inference)
    assert perfect.summary() == {"mIoU": 1.0, "mAcc": 1.0, "aAcc": 1.0, "mBIoU": 1.0}
    assert [ranked.score for ranked in worst.found] == [1.0, 1.0]


@pytest.mark.parametrize("inference", [WHOLE, FLIPPED], ids=["whole", "windows and flip"])
def test_of_resized_images_the_truth_is_compared_at_its_own_size(inference: Inference) -> None:
    larger, worst = scores(Reader(), inference, resize=(120, 160))
    assert larger.summary()["aAcc"] > 0.97  # bilinear images have a third class between two others
    assert int(larger.confusion.sum()) == int(scores(Reader())[0].confusion.sum())
    dataset = Painted()
    sizes = {f"{index}": dataset[index].original_size for index in range(len(dataset))}
    for ranked in worst.found:
        heights = {picture.shape[0] for picture in ranked.pictures}
        assert heights == {round(sizes[ranked.id][0] * 320 / sizes[ranked.id][1])}


def test_a_model_without_context_scores_the_same_by_windows() -> None:
    whole, windows = scores(Reader(wrong=True))[0], scores(Reader(wrong=True), WINDOWS)[0]
    assert whole.mean_iou < 0.9
    assert whole.boundary_iou is not None
    assert windows.boundary_iou is not None
    np.testing.assert_array_equal(whole.confusion, windows.confusion)
    np.testing.assert_array_equal(whole.boundary_iou, windows.boundary_iou)


def test_the_worst_image_has_the_most_of_what_is_wrong() -> None:
    found = scores(Reader(wrong=True))[1].found
    dataset = Painted()
    truths = {f"{index}": dataset[index].label_map for index in range(len(dataset))}

    def mean_iou(truth: np.ndarray) -> float:
        b, c = (truth == 1).sum(), (truth == 2).sum()
        present = [share for share, count in ((1.0, (truth == 0).sum()), (b / (b + c), b + c), (0.0, c)) if count]
        return float(np.mean(present))

    by_hand = sorted((mean_iou(truth), name) for name, truth in truths.items() if truth is not None)
    assert [(ranked.score, ranked.id) for ranked in found] == [
        (pytest.approx(score), name) for score, name in by_hand[:2]
    ]


def test_boundaries_are_counted_only_when_asked_for_and_at_any_distance() -> None:
    assert "mBIoU" not in scores(Reader(), boundary_iou=False)[0].summary()
    narrow, wide = (scores(Reader(wrong=True), boundary_iou=share)[0] for share in (0.02, 0.5))
    assert "within 2% of" in narrow.definition
    assert "within 50% of" in wide.definition
    assert wide.boundary_iou is not None
    np.testing.assert_allclose(wide.boundary_iou, wide.iou)  # every pixel is that near to a contour
