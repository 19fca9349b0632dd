"""The view of panoptic predictions: coloured segments with outlines and names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from coatseg.metrics.panoptic import image_panoptic_quality
from coatseg.metrics.segments import match_segments
from coatseg.structures import Colour, DatasetInfo, PanopticPrediction, PanopticTarget, Target
from coatseg.visualize.label_maps import Picture, faded
from coatseg.visualize.objects import FALSE, MISSED, RIGHT
from coatseg.visualize.segments import Segments, draw_layers, draw_segments, places_of
from coatseg.visualize.sheets import scaled
from coatseg.visualize.views.base import WIDTH, View


class PanopticView(View):
    """Draws segments over the image; pixels of no segment are dark."""

    captions = ("image", "truth", "prediction")
    mistakes = "missed (red), false (blue), both (purple)"
    measure = "PQ"
    meaning = (
        "the panoptic quality of the image alone: the mean of the PQ of the classes that its truth or prediction has"
    )

    def score(self, prediction: PanopticPrediction, target: Target, info: DatasetInfo) -> float:
        """Return the PQ of one image; NaN without a truth."""
        if target.panoptic is None:
            return float("nan")
        return image_panoptic_quality(prediction, target.panoptic, len(info.classes))

    def pictures(
        self, image: Picture, prediction: PanopticPrediction, target: Target, info: DatasetInfo
    ) -> list[Picture]:
        """Return the image, its true segments (crowds in grey; black without a truth) and its predicted segments."""
        small, truth = scaled(image, WIDTH), target.panoptic
        known = np.zeros_like(small)
        if truth is not None:
            known = draw_segments(image, _places(truth), truth.labels.tolist(), info, WIDTH, truth.crowd.tolist())
        found = draw_segments(image, _array(prediction.ids), prediction.labels.tolist(), info, WIDTH)
        return [small, known, found]

    def mistaken(self, image: Picture, prediction: PanopticPrediction, target: Target, info: DatasetInfo) -> Picture:
        """Draw false segments, and missed ones over them, beside right ones (green); the truth's void is dark.

        Crowds, and predicted segments that lie on them or on void, are not tinted.
        """
        assert target.panoptic is not None
        truth, matches = target.panoptic, match_segments(prediction, target.panoptic)
        ids, places = _array(prediction.ids), _places(truth)
        named = [info.classes[label] for label in prediction.labels.tolist()]
        missed = [info.classes[label] for label in truth.labels.tolist()]
        layers = (
            Segments(ids, _painted(matches.right, RIGHT), [""] * len(named)),
            Segments(ids, _painted(matches.false, FALSE), named),
            Segments(places, _painted(matches.missed, MISSED), missed),
        )
        return draw_layers(faded(image), layers, places == 0, WIDTH)


def _painted(marked: npt.NDArray[np.bool_], colour: Colour) -> Sequence[Colour | None]:
    return [colour if one else None for one in marked.tolist()]


def _places(truth: PanopticTarget) -> npt.NDArray[np.integer]:
    return places_of(_array(truth.ids), _array(truth.numbers))


def _array(tensor: Tensor) -> npt.NDArray[np.integer]:
    return np.asarray(tensor.cpu().numpy())
