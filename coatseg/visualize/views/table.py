"""Which kind of prediction is shown how."""

from __future__ import annotations

from typing import Any

from coatseg.structures import InstancePrediction, MultilabelPrediction, SemanticPrediction
from coatseg.visualize.views.base import View
from coatseg.visualize.views.instances import InstanceView
from coatseg.visualize.views.label_maps import MultilabelView, SemanticView

VIEWS: dict[type, View] = {
    SemanticPrediction: SemanticView(),
    MultilabelPrediction: MultilabelView(),
    InstancePrediction: InstanceView(),
}


def view_of(prediction: Any) -> View | None:
    """Give the view of a prediction; None for those of a task of the user's own."""
    return VIEWS.get(type(prediction))
