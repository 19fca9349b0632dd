"""The options of inference, as a configuration states them: windows and views, and how the two are composed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from annotated_types import Ge, Gt, Lt, MinLen
from torch import Tensor

from coatseg.registry.options import PositiveInt, legal
from coatseg.structures import Size
from coatseg.tasks.inference.strips import LargeMap, Piece, by_windows, mean_of, mirrored, pieces, resized
from coatseg.tasks.inference.views import Activation, mean_of_views, scaled, views_of
from coatseg.tasks.inference.windows import slide, stride_of

WindowOption = Annotated[
    tuple[PositiveInt, PositiveInt] | None,
    legal("Give [height, width] in pixels, such as [512,512], or null for whole images"),
]
Overlap = Annotated[float, Ge(0), Lt(1), legal("Give the share of a window from 0 up to, not including, 1")]
Scales = Annotated[
    tuple[Annotated[float, Gt(0), Lt(math.inf)], ...],
    MinLen(1),
    legal("Give factors above 0, such as [0.75,1.0,1.25], or [1.0] for the image's own size"),
]

SUMS_BYTES = 3 * 2**28
"""The most bytes for the summed logits of the windows of all views, if an image is wider than a window."""


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a model predicts images: whole and once, unless it is told to use windows or views.

    `window`: (height, width) of sliding windows, of which neighbours share `overlap` and at most `window_batch` go
    through the model at once. `scales` and `flip`: the views whose probabilities are averaged; windows slide over the
    scaled image.
    """

    window: WindowOption = None
    overlap: Overlap = 1 / 3
    window_batch: PositiveInt = 4
    scales: Scales = (1.0,)
    flip: bool = False

    def __call__(self, model: Callable[[Tensor], Tensor], images: Tensor, activation: Activation) -> Tensor:
        """Return the float32 logits (B, K, H, W) of images (B, C, H, W), by a model that computes them for any size."""
        predict = model
        if self.window is not None:
            predict = partial(slide, model, window=self.window, overlap=self.overlap, batch=self.window_batch)
        if self._one_view:
            return predict(images)
        return mean_of_views(predict, images, activation, self.scales, self.flip)

    def stream(
        self,
        model: Callable[[Tensor], Tensor],
        image: LargeMap,
        activation: Activation,
        classes: int,
        size: Size | None = None,
    ) -> Iterator[Piece]:
        """Yield the logits of one image by windows, resized to `size`, in pieces: but for rounding, those of a call.

        The memory that this takes depends neither on the height nor on the width of the image.
        """
        assert self.window is not None
        views = []
        for scale, flipped in views_of(self.scales, self.flip):
            seen = resized(image, scaled(image.size, scale))
            turn = mirrored if flipped else lambda same: same
            logits = by_windows(model, turn(seen), self.window, self.overlap, self.window_batch, classes)
            views.append(resized(turn(logits), image.size))
        whole = resized(views[0] if self._one_view else mean_of(views, activation), size or image.size)
        return pieces(whole, self._columns(whole.size[1] / image.size[1], classes), classes)

    def _columns(self, enlarged: float, classes: int) -> int:
        """Return the width of a strip of the output, which is `enlarged` times as wide as the image."""
        assert self.window is not None
        rows = self.window[0] * sum(scale for scale, _ in views_of(self.scales, self.flip)) / enlarged
        columns = int(SUMS_BYTES / (4 * classes * rows))
        stride = stride_of(self.window[1], self.overlap)
        return max(columns // stride, 1) * stride  # cut where windows begin, so that fewer cross strips

    @property
    def plain(self) -> bool:
        """Whether every image goes through the model whole and once."""
        return self.window is None and self._one_view

    @property
    def _one_view(self) -> bool:
        return self.scales == (1.0,) and not self.flip

    @property
    def words(self) -> str:
        """The options in words, for a report."""
        seen = "whole images"
        if self.window is not None:
            height, width = self.window
            seen = f"windows of {height}x{width} that overlap by {self.overlap:.4g}"
        scales = "" if self.scales == (1.0,) else f", scales {', '.join(f'{scale:g}' for scale in self.scales)}"
        return f"{seen}{scales}{', mirrored too' if self.flip else ''}"


WHOLE = Inference()
"""Inference on each image whole, once, at its own size."""
