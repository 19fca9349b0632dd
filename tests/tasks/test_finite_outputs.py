"""Predictions that are no numbers are never scored: the image is named instead."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from coatseg.data.loading.batching import collate
from coatseg.data.loading.module import DataModule
from coatseg.errors import ImageError
from coatseg.models.backbones.coat import CoaT
from coatseg.models.detector import Detector
from coatseg.registry.names import make
from coatseg.structures import DatasetInfo, Outputs, Sample, Size
from coatseg.tasks.detection import DetectionTask
from coatseg.tasks.evaluation import evaluate
from coatseg.tasks.finite_outputs import finite_outputs
from coatseg.tasks.inference.options import Inference
from coatseg.training.optimization.optimizers import adamw
from coatseg.training.trainer import make_trainer
from tests.contracts.detector import SMALL
from tests.tasks.test_semantic import INFO, Convolution, samples, task


class BrokenAt(Convolution):
    """A model whose logits are `value` at one pixel of the images that come second."""

    def __init__(self, value: float) -> None:
        super().__init__(1)
        self.value = value
        self.calls = 0

    def forward(self, images: Tensor, sizes: tuple[Size, ...] | None = None) -> Outputs:
        logits = super().forward(images).logits.clone()
        self.calls += 1
        if self.calls == 2:
            logits[:, 1, 2, 3] = self.value
        return Outputs(logits)


class Listed:
    info = INFO

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Sample:
        return samples([(8, 8)] * 3)[index]

    def verify(self, index: int) -> None:
        """There is nothing to check."""


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_evaluation_stops_at_logits_that_are_no_numbers(value: float) -> None:
    scored = task(BrokenAt(value))
    data = DataModule(lambda split: Listed(), lambda sample, seed: sample, INFO, workers=0)
    trainer = make_trainer({"accelerator": "cpu", "devices": 1, "enable_progress_bar": False}, [])
    with pytest.raises(ImageError, match="1: what the model gives is not finite"):
        evaluate(trainer, scored, data, "val")


@pytest.mark.parametrize("inference", [Inference(window=(4, 4)), Inference(flip=True)])
def test_windows_and_views_do_not_hide_them(inference: Inference) -> None:
    scored = task(BrokenAt(float("nan"))).eval()
    scored.inference = inference
    with torch.no_grad(), pytest.raises(ImageError, match="0: what the model gives is not finite"):
        scored.predict(collate(samples([(8, 8)]), INFO, [False]))


def detector(head: str) -> Detector:
    backbone = CoaT(SMALL)
    options = {"width": 16, "score_threshold": 0.0}
    return Detector(backbone, make("head", head, options, "head", levels=backbone.levels, classes=2))


THINGS = DatasetInfo("two", ("a", "b"), ((0, 0, 0),) * 2, frozenset({"boxes"}), things=(0, 1))


@pytest.mark.parametrize("head", ["faster_rcnn", "mask_rcnn", "cascade_rcnn", "retinanet", "fcos"])
def test_detectors_are_asked_before_boxes_without_a_score_are_dropped(head: str) -> None:
    torch.manual_seed(0)
    model = detector(head).eval()
    trained = DetectionTask(model, THINGS, optimizer=lambda model: adamw(model, lr=1e-3), schedule=lambda step: 1.0)
    batch = collate([Sample("x", np.full((64, 64, 3), 99, np.uint8), (64, 64))], THINGS, [False])
    with torch.no_grad():
        trained.predict(batch)
        predicting = [module for module in model.modules() if getattr(module, "predicts", False)]
        assert predicting
        hooks = [len(module._forward_hooks) for module in predicting]
        next(predicting[-1].parameters()).fill_(float("nan"))
        if head == "mask_rcnn":  # whose mask layer is the last, and is asked of boxes alone
            next(predicting[0].parameters()).fill_(float("nan"))
        with pytest.raises(ImageError, match="x: what the model gives is not finite"):
            trained.predict(batch)
        assert [len(module._forward_hooks) for module in predicting] == hooks


def test_a_model_that_says_of_no_layer_that_it_predicts_passes() -> None:
    with finite_outputs(nn.Identity(), ["x"]):
        pass
