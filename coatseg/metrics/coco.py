"""COCO's average precision of boxes and masks, evaluated by faster-coco-eval on objects in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch.distributed
from torch import Tensor

from coatseg.metrics.average_precision import MAX_DETECTIONS, CocoScores, PrecisionRecall
from coatseg.metrics.coco_format import EncodedObjects, box_areas, encode, image_order, mask_areas
from coatseg.metrics.means import Values
from coatseg.structures import InstancePrediction, InstanceTarget, Size

KINDS = {"box": "bbox", "mask": "segm"}
"""The shapes that can be compared, and the names that COCO's tools have for them."""


@dataclass(frozen=True)
class EvaluatedImage:
    """One image's truth, with the crowd flag and area of each object, and its detections with their scores."""

    id: str
    size: Size
    truth: EncodedObjects
    crowd: npt.NDArray[np.bool_]
    areas: npt.NDArray[np.float64]
    detected: EncodedObjects
    scores: npt.NDArray[np.float64]


class CocoCounts:
    """Collects detections and truth, one image at a time, for COCO's evaluation.

    `classes` are the names of the classes that have instances, `numbers` their class numbers. Masks are compared if
    `masks`, and are kept encoded. At most `max_detections` of a class count in an image, those with the highest scores.
    """

    def __init__(
        self, classes: Sequence[str], numbers: Sequence[int], *, masks: bool, max_detections: int = MAX_DETECTIONS
    ) -> None:
        if len(classes) != len(numbers):
            raise ValueError(f"{len(classes)} names and {len(numbers)} numbers of classes do not fit")
        self.classes = tuple(classes)
        self.numbers = tuple(numbers)
        self.masks = masks
        self.max_detections = max_detections
        self.images: list[EvaluatedImage] = []

    def reset(self) -> None:
        """Forget all images."""
        self.images = []

    def update(self, prediction: InstancePrediction, truth: InstanceTarget) -> None:
        """Add one image, both at its original size.

        The area of a true object, by which it is small, medium or large, is the annotated one, else that of its mask,
        else that of its box.

        Raises:
            ValueError: masks are to be compared and are missing or of another size, or a label is none of `numbers`.
        """
        self._check(prediction, truth)
        self.images.append(
            EvaluatedImage(
                prediction.id,
                prediction.size,
                encode(truth, self.masks),
                truth.crowd.cpu().numpy().astype(bool),
                _true_areas(truth).cpu().numpy().astype(np.float64),
                encode(prediction, self.masks),
                prediction.scores.cpu().numpy().astype(np.float64),
            )
        )

    def scores(self) -> CocoScores:
        """Evaluate the images of all processes; every process returns the same scores, however many there are."""
        images = self.images
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            gathered: list[Any] = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(gathered, images)
            images = [image for share in gathered for image in share]
        return coco_scores(images, self.classes, self.numbers, masks=self.masks, max_detections=self.max_detections)

    def _check(self, prediction: InstancePrediction, truth: InstanceTarget) -> None:
        for name, objects in (("truth", truth), ("prediction", prediction)):
            strange = set(objects.labels.tolist()) - set(self.numbers)
            if strange:
                raise ValueError(f"{prediction.id}: the {name} has labels {sorted(strange)}, none of {self.numbers}")
            if self.masks and objects.masks is None and len(objects):
                raise ValueError(f"{prediction.id}: the {name} has no masks to compare")
            if self.masks and objects.masks is not None and tuple(objects.masks.shape[1:]) != prediction.size:
                raise ValueError(f"{prediction.id}: the {name}'s masks are not of its size {prediction.size}")


def coco_scores(
    images: Iterable[EvaluatedImage],
    classes: Sequence[str],
    numbers: Sequence[int],
    *,
    masks: bool,
    max_detections: int = MAX_DETECTIONS,
) -> CocoScores:
    """Return the scores of images, in any order, for the classes of these names and class numbers."""
    ordered = sorted(images, key=lambda image: image_order(image.id))
    most = tuple(sorted({count for count in (1, 10) if count < max_detections} | {max_detections}))
    objects = [
        sum(int(((image.truth.labels == number) & ~image.crowd).sum()) for image in ordered) for number in numbers
    ]
    kinds = list(KINDS) if masks else ["box"]
    return CocoScores(
        tuple(classes), np.array(objects, np.int64), {kind: _evaluate(ordered, numbers, kind, most) for kind in kinds}
    )


def _evaluate(
    images: Sequence[EvaluatedImage], numbers: Sequence[int], kind: str, most: tuple[int, ...]
) -> PrecisionRecall:
    """Return the precision and recall that faster-coco-eval accumulates."""
    from faster_coco_eval import COCO, COCOeval_faster

    sizes = [{"id": number, "height": image.size[0], "width": image.size[1]} for number, image in enumerate(images)]
    about = {"images": sizes, "categories": [{"id": number, "name": str(number)} for number in numbers]}
    truth, detected = [], []
    for number, image in enumerate(images):
        truth += _annotations(number, image.truth, kind, area=image.areas, iscrowd=image.crowd.astype(int))
        detected += _annotations(number, image.detected, kind, area=_areas(image.detected, kind), score=image.scores)
    evaluation = COCOeval_faster(
        COCO({**about, "annotations": _numbered(truth)}),
        COCO({**about, "annotations": _numbered(detected)}),
        KINDS[kind],
        print_function=lambda line: None,  # its progress, a few lines an evaluation, in every process
    )
    evaluation.params.maxDets = list(most)
    evaluation.evaluate()
    evaluation.accumulate()
    # It sorts the classes by number, and marks what is undefined with -1.
    classes = np.argsort(np.argsort(numbers))
    precision, recall = (
        np.where(values < 0, np.nan, values)
        for values in (evaluation.eval["precision"][..., -1], evaluation.eval["recall"])
    )
    return PrecisionRecall(precision[:, :, classes], recall[:, classes], most)


def _annotations(number: int, objects: EncodedObjects, kind: str, **facts: npt.NDArray[Any]) -> list[dict[str, Any]]:
    """Return the objects of image `number` as the evaluation takes them: with box or mask, and other facts of each."""
    shape = {"bbox": objects.boxes.tolist()} if kind == "box" else {"segmentation": objects.masks or ()}
    columns = {
        "category_id": objects.labels.tolist(),
        **shape,
        **{key: of_each.tolist() for key, of_each in facts.items()},
    }
    return [{"image_id": number, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def _true_areas(truth: InstanceTarget) -> Tensor:
    """Return the areas (N,) of true objects; as in COCO they are those of the objects, also when boxes are compared."""
    if truth.areas is not None:
        return truth.areas
    if truth.masks is not None:
        return truth.masks.sum((1, 2))
    width, height = (truth.boxes[:, 2:] - truth.boxes[:, :2]).unbind(1)
    return width * height


def _areas(objects: EncodedObjects, kind: str) -> Values:
    return box_areas(objects.boxes) if kind == "box" else mask_areas(objects.masks or ())


def _numbered(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for number, annotation in enumerate(annotations, 1):
        annotation["id"] = number
    return annotations
