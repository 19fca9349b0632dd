"""The table of views, one for each kind of prediction."""

from __future__ import annotations

from typing import Any

from coatseg.structures import InstancePrediction, MultilabelPrediction, PanopticPrediction, SemanticPrediction
from coatseg.visualize.views.base import View
from coatseg.visualize.views.instances import InstanceView
from coatseg.visualize.views.label_maps import MultilabelView, SemanticView
from coatseg.visualize.views.panoptic import PanopticView

VIEWS: dict[type, View] = {
    SemanticPrediction: SemanticView(),
    MultilabelPrediction: MultilabelView(),
    InstancePrediction: InstanceView(),
    PanopticPrediction: PanopticView(),
}


def view_of(prediction: Any) -> View | None:
    """Return the view of a prediction, or None for a prediction of a user's own task."""
    return VIEWS.get(type(prediction))
