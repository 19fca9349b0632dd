"""The view of predicted objects: boxes, masks, names and scores over the image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from coatseg.metrics.matching import LEAST_IOU, LEAST_SCORE, match
from coatseg.structures import Colour, DatasetInfo, InstancePrediction, Target
from coatseg.visualize.label_maps import Picture, faded
from coatseg.visualize.objects import FALSE, MISSED, RIGHT, draw_objects, draw_truth, names, shades
from coatseg.visualize.sheets import scaled
from coatseg.visualize.views.base import WIDTH, View


class InstanceView(View):
    """Draws objects over the image; detections with a lower score than LEAST_SCORE are left out."""

    captions = ("image", "truth", f"prediction (score {LEAST_SCORE:g} and more)")
    mistakes = "missed (red), false (blue)"
    measure = "F1"
    meaning = (
        f"F1 = 2 right / (2 right + false + missed) of detections of score {LEAST_SCORE:g} and more, which are right "
        f"with an IoU of at least {LEAST_IOU:g} with an object of their class that no surer one has"
    )

    def named(self, info: DatasetInfo) -> Sequence[int]:
        """Return the classes that have instances; none if there is only one, whose objects have any colour."""
        return info.things if len(info.things) > 1 else ()

    def score(self, prediction: InstancePrediction, target: Target, info: DatasetInfo) -> float:
        """Return the F1 of the detections on their image (see `meaning`); NaN without a truth."""
        return float("nan") if target.instances is None else match(prediction, target.instances).f1

    def pictures(
        self, image: Picture, prediction: InstancePrediction, target: Target, info: DatasetInfo
    ) -> list[Picture]:
        """Return the image, its truth (largest at the back) and its detections (highest score in front)."""
        kept = torch.nonzero(prediction.scores >= LEAST_SCORE).flatten()
        kept = kept[prediction.scores[kept].argsort(descending=True, stable=True)]
        labels, scores = prediction.labels[kept].tolist(), prediction.scores[kept].tolist()
        texts = [f"{names(info)[label]} {score:.2f}".strip() for label, score in zip(labels, scores, strict=True)]
        masks = None if prediction.masks is None else prediction.masks[kept]
        found = drawn(image, prediction.boxes[kept], masks, shades(labels, info), texts)
        return [scaled(image, WIDTH), self._truth(image, prediction, target, info), found]

    def _truth(self, image: Picture, prediction: InstancePrediction, target: Target, info: DatasetInfo) -> Picture:
        truth = target.instances
        if truth is None:
            return np.zeros_like(scaled(image, WIDTH))
        masks = None if prediction.masks is None or truth.masks is None else truth.masks.cpu().numpy()
        boxes, labels, crowd = (part.cpu().numpy() for part in (truth.boxes, truth.labels, truth.crowd))
        return draw_truth(image, boxes, labels, crowd, masks, info, WIDTH)

    def mistaken(self, image: Picture, prediction: InstancePrediction, target: Target, info: DatasetInfo) -> Picture:
        """Draw missed objects and false alarms, over the right detections, on a faded image."""
        assert target.instances is not None
        truth, matches = target.instances, match(prediction, target.instances)
        named = names(info)
        groups = (
            (truth, matches.missed, MISSED, named),
            (prediction, matches.false, FALSE, named),
            (prediction, matches.right, RIGHT, [""] * len(named)),
        )
        boxes, masks, colours, texts = [], [], [], []
        for objects, marked, paint, words in groups:
            chosen = torch.from_numpy(np.flatnonzero(marked))
            boxes.append(objects.boxes[chosen])
            masks += [] if objects.masks is None else [objects.masks[chosen]]
            colours += [paint] * len(chosen)
            texts += [words[label] for label in objects.labels[chosen].tolist()]
        shown = torch.cat(masks) if len(masks) == len(groups) and prediction.masks is not None else None
        return drawn(faded(image), torch.cat(boxes), shown, colours, texts)


def drawn(
    image: Picture, boxes: Tensor, masks: Tensor | None, colours: Sequence[Colour], texts: Sequence[str]
) -> Picture:
    """Draw objects given as tensors over an image (see `draw_objects`)."""
    pixels = None if masks is None else masks.cpu().numpy()
    return draw_objects(image, boxes.cpu().numpy(), pixels, colours, texts, WIDTH)
