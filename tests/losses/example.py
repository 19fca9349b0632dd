"""One row of four pixels that losses are computed on by hand."""

import math

import torch

from coatseg.losses.base import SemanticLoss
from coatseg.structures import DatasetInfo

INFO = DatasetInfo("two", ("a", "b"), ((0, 0, 0), (255, 255, 255)), frozenset({"semantic"}))
ONE = DatasetInfo("one", ("b",), ((255, 255, 255),), frozenset({"multilabel"}))

# Softmax of (0, ln 3) is (1/4, 3/4), and so is the sigmoid of ln 3: b has 3/4 in every pixel.
LOGITS = torch.tensor([[0.0, 0.0, 0.0, 0.0], [math.log(3), math.log(3), math.log(3), math.log(3)]]).reshape(1, 2, 1, 4)
LABELS = torch.tensor([[[1, 1, 0, 255]]])
LAYER_LOGITS = LOGITS[:, 1:]
LAYER = LABELS.unsqueeze(1).to(torch.uint8)

RIGHT, WRONG = -math.log(3 / 4), -math.log(1 / 4)
"""The cross entropy of a pixel of b, and of one of a."""


def mean(loss: SemanticLoss, logits: torch.Tensor = LOGITS, labels: torch.Tensor = LABELS) -> float:
    return float(loss(logits, labels) / loss.weight(labels))


def layer_mean(loss: SemanticLoss) -> float:
    return mean(loss, LAYER_LOGITS, LAYER)
