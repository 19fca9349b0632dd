"""Predict images at their original size, in the same way as in evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from coatseg.data.images.normalization import normalise
from coatseg.data.images.raster import Window
from coatseg.data.images.size_limit import MAX_PIXELS
from coatseg.data.images.slides import scale_of
from coatseg.data.images.statements.nodata import NoData, NoDataOption
from coatseg.data.loading.batching import collate
from coatseg.data.loading.module import OBJECT_TRUTHS, with_image_resized
from coatseg.errors import ConfigError
from coatseg.results.predict.canvas import (
    Fields,
    Prediction,
    PredictionCanvas,
    Written,
    fields_to_write,
    full_fields,
    to_write,
)
from coatseg.results.predict.memory_limit import BY_WINDOWS, check_images_fit, check_maps_fit
from coatseg.results.predict.nodata import emptied
from coatseg.results.predict.opened_image import ImageLike, OpenedImage, open_given
from coatseg.results.predict.segments import only
from coatseg.structures import (
    DatasetInfo,
    InstancePrediction,
    MultilabelPrediction,
    PanopticPrediction,
    Sample,
    SemanticPrediction,
)
from coatseg.system.memory import BY_TILES, too_large
from coatseg.tasks.base import Task
from coatseg.tasks.dense import DenseTask
from coatseg.tasks.finite_outputs import not_finite
from coatseg.tasks.inference.strips import LargeMap, Rows


class Predictor:
    """Predicts images by a task: `predictor(image)` gives a prediction, `predictor([image, ...])` a list of them.

    An image is a path, an array (H, W) or (H, W, C) of uint8, uint16 or float32, or an image of Pillow; a prediction is
    a SemanticPrediction, MultilabelPrediction, InstancePrediction or PanopticPrediction at its size.
    `evaluation_resize`, `bands`, `nodata` and which level of a slide or pyramid is predicted, by its number or its
    `microns` a pixel, are those of the data that the task was trained on; where there is no data, there is no class
    either. `score_threshold` drops objects of a lower score, makes void of segments of a lower score, gives pixels of a
    lower probability the ignore index, and replaces the threshold of layers; None leaves all as in evaluation.
    `batch_size` images go through the model together; files of more than `max_pixels` are refused. `weights` identify
    what predicts, as hexadecimal digests, and `precision` is what a Trainer computes it in unless it is told otherwise.

    Where windows slide over an image, it is predicted and decoded piece by piece, and without `evaluation_resize` read
    so too: memory is bounded by a row of windows and by what comes out. Labels are those of the whole image's logits.

    Raises:
        ConfigError: a threshold on pixels of data whose ignore index no file can hold; windows or views for a task that
            sees whole images.
    """

    def __init__(
        self,
        task: Task,
        *,
        evaluation_resize: tuple[int, int] | None = None,
        bands: Sequence[int] | None = None,
        nodata: NoDataOption = None,
        level: int | None = None,
        microns: float | None = None,
        score_threshold: float | None = None,
        batch_size: int = 1,
        max_pixels: int = MAX_PIXELS,
        weights: Sequence[str] = (),
        precision: str = "32-true",
    ) -> None:
        self.task = task.eval()
        self.evaluation_resize = evaluation_resize
        self.bands = None if bands is None else tuple(bands)
        self.nodata = NoData.of(nodata, task.info.mean)
        self.scale = scale_of(level, microns)
        self.score_threshold = score_threshold
        self.batch_size = batch_size
        self.max_pixels = max_pixels
        self.weights = tuple(weights)
        self.precision = precision
        if not (isinstance(task, DenseTask) or task.inference.plain):
            raise ConfigError(
                f"inference: {task.inference.words}; what finds objects or segments sees whole images, once.",
                "Set inference=whole.",
            )
        semantic = task.needs == "semantic"
        if score_threshold and semantic and not len(self.info.classes) <= self.info.ignore_index < 2**16:
            raise ConfigError(
                f"score_threshold={score_threshold}: unsure pixels get the ignore index, and that is "
                f"{self.info.ignore_index}.",
                "Leave score_threshold out.",
            )

    @property
    def info(self) -> DatasetInfo:
        """The facts of the data that the task was trained on."""
        return self.task.info

    @property
    def settings(self) -> dict[str, Any]:
        """All that the predictions of an image depend on, as plain containers."""
        inference = self.task.inference
        options = {field.name: getattr(inference, field.name) for field in fields(inference)}
        return {
            "weights": list(self.weights),
            "inference": {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
            "score_threshold": self.score_threshold,
            "batch_size": self.batch_size,
            **self.scale.settings,
        }

    @overload
    def __call__(self, images: ImageLike) -> Prediction: ...

    @overload
    def __call__(self, images: list[ImageLike] | tuple[ImageLike, ...]) -> list[Prediction]: ...

    def __call__(self, images: ImageLike | list[ImageLike] | tuple[ImageLike, ...]) -> Prediction | list[Prediction]:
        """Predict one image, or a list or tuple of them in their order.

        Raises:
            ImageError: one is no image, cannot be read, or is too large.
        """
        if not isinstance(images, list | tuple):
            return self.predict([self._open(images, 0)])[0]
        predictions: list[Prediction] = []
        for begin in range(0, len(images), self.batch_size):
            given = images[begin : begin + self.batch_size]
            predictions += self.predict([self._open(image, begin + place) for place, image in enumerate(given)])
        return predictions

    def _open(self, given: ImageLike, place: int) -> OpenedImage:
        return open_given(
            given,
            place,
            self.info.channels,
            self.bands,
            max_pixels=self.max_pixels,
            windows=self.reads_windows,
            nodata=self.nodata,
            scale=self.scale,
        )

    @property
    def finds_objects(self) -> bool:
        """Whether objects are predicted, which may overlap, and no classes or segments of pixels."""
        return self.task.needs in OBJECT_TRUTHS

    @property
    def streams(self) -> bool:
        """Whether images are predicted piece by piece."""
        return isinstance(self.task, DenseTask) and self.task.inference.window is not None

    @property
    def reads_windows(self) -> bool:
        """Whether images are read by windows, where their files allow that."""
        return self.streams and self.evaluation_resize is None

    @torch.inference_mode()
    def predict(self, images: Sequence[OpenedImage]) -> list[Prediction]:
        """Predict opened images, in one batch where they are not read by windows.

        Raises:
            ImageError: one cannot be read, or is too large for the memory.
        """
        return self._streamed(images, full_fields) if self.streams else self._whole(images)

    @torch.inference_mode()
    def results(self, images: Sequence[OpenedImage]) -> list[Written]:
        """Predict opened images, and keep what files hold: labels in few bytes, no scores of pixels.

        Raises:
            ImageError: one cannot be read, or is too large for the memory.
        """
        kept = partial(fields_to_write, info=self.info)
        predictions = self._streamed(images, kept) if self.streams else self._whole(images)
        return [to_write(prediction, kept(type(prediction))) for prediction in predictions]

    def _whole(self, images: Sequence[OpenedImage]) -> list[Prediction]:
        if isinstance(self.task, DenseTask):
            check_images_fit(images, len(self.info.classes), self.task.device)
        elif self.evaluation_resize is None:
            check_maps_fit(images, self.task.device)
        mend = BY_WINDOWS if isinstance(self.task, DenseTask) else BY_TILES
        with too_large({image.id: image.size for image in images}, mend=mend):
            samples = [Sample(image.id, image.read(), image.size) for image in images]
            if self.evaluation_resize is not None:
                samples = [with_image_resized(sample, self.evaluation_resize) for sample in samples]
            batch = collate(samples, self.info, [False] * len(samples)).to(self.task.device)
            found = zip(self.task.predict(batch), images, strict=True)
            return [_on_cpu(self._decided(prediction, image.nowhere())) for prediction, image in found]

    def _streamed(self, images: Sequence[OpenedImage], kept: Callable[[type], Fields]) -> list[Prediction]:
        predictions: list[Prediction] = []
        for image in images:
            with too_large({image.id: image.size}, mend=BY_WINDOWS):
                canvas = PredictionCanvas(image.size)
                for top, left, piece in self._pieces(image):
                    canvas.paint(top, left, piece, kept(type(piece)))
                whole: Any = piece
                predictions.append(replace(whole, **canvas.painted))
        return predictions

    def _pieces(self, image: OpenedImage) -> Iterator[tuple[int, int, Prediction]]:
        """Yield the parts of an image's prediction with their corners (top, left)."""
        task: Any = self.task
        seen = image
        if self.evaluation_resize is not None:
            small = with_image_resized(Sample(image.id, image.read(), image.size), self.evaluation_resize).image
            seen = replace(image, size=(small.shape[0], small.shape[1]), pixels=small, nodata=None)

        def strip(left: int, right: int) -> Rows:
            def rows(top: int, bottom: int) -> Tensor:
                window = Window(top, left, bottom - top, right - left)
                return normalise(seen.read(window), self.info).to(task.device)

            return rows

        pieces = task.inference.stream(
            lambda images: task.model(images).logits,
            LargeMap(seen.size, strip),
            task.activation,
            len(self.info.classes),
            image.size,
        )
        for top, left, logits in pieces:
            place = Window(top, left, logits.shape[-2], logits.shape[-1])
            yield top, left, self._decided(task.decode(logits, image.id), image.nowhere(place))

    def _decided(self, prediction: Any, nowhere: npt.NDArray[np.bool_] | None = None) -> Any:
        """Apply the score threshold, and leave no class `nowhere`, (H, W) where the image holds no data.

        Raises:
            ImageError: the model gives no numbers.
        """
        if not prediction.scores.isfinite().all():
            raise not_finite(prediction.id)
        apply = THRESHOLDS.get(type(prediction))
        if self.score_threshold is not None and apply is not None:
            prediction = apply(prediction, self.score_threshold, self.info)
        return emptied(prediction, nowhere, self.info)


def _on_cpu(prediction: Any) -> Any:
    tensors = {field.name: getattr(prediction, field.name) for field in fields(prediction)}
    return replace(prediction, **{name: value.cpu() for name, value in tensors.items() if isinstance(value, Tensor)})


def _surer_pixels(prediction: SemanticPrediction, threshold: float, info: DatasetInfo) -> SemanticPrediction:
    unsure = prediction.scores < threshold
    return replace(prediction, label_map=prediction.label_map.masked_fill(unsure, info.ignore_index))


def _surer_layers(prediction: MultilabelPrediction, threshold: float, info: DatasetInfo) -> MultilabelPrediction:
    return replace(prediction, layers=prediction.scores > threshold)


def _surer_objects(prediction: InstancePrediction, threshold: float, info: DatasetInfo) -> InstancePrediction:
    kept = prediction.scores >= threshold
    masks = None if prediction.masks is None else prediction.masks[kept.to(prediction.masks.device)]
    boxes, labels, scores = prediction.boxes[kept], prediction.labels[kept], prediction.scores[kept]
    return replace(prediction, boxes=boxes, labels=labels, scores=scores, masks=masks)


def _surer_segments(prediction: PanopticPrediction, threshold: float, info: DatasetInfo) -> PanopticPrediction:
    return only(prediction, prediction.scores.cpu() >= threshold)


THRESHOLDS: Mapping[type, Callable[[Any, float, DatasetInfo], Any]] = {
    SemanticPrediction: _surer_pixels,
    MultilabelPrediction: _surer_layers,
    InstancePrediction: _surer_objects,
    PanopticPrediction: _surer_segments,
}
"""For each kind of prediction, a function that applies a score threshold, given the facts of the data."""
