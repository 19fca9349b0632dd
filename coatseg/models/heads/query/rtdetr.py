"""RT-DETRv2 (Lv et al., 2024): a detector of queries in real time, of transformers' modules, without suppression."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from coatseg.models.heads.base import ObjectHead
from coatseg.models.heads.detection.base import DIVISOR, check_doubling, share
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.query.boxes import Truth, corners, pair
from coatseg.models.heads.query.real_time.losses import layer_losses
from coatseg.models.heads.query.real_time.options import RTDETROptions
from coatseg.models.precision import full_precision
from coatseg.registry.names import register
from coatseg.structures import InstanceTarget, Level, Size
from coatseg.system.extras import needs

if TYPE_CHECKING:
    from coatseg.models.heads.query.real_time.network import Network

FINEST = 8
"""The stride of the finest map that it looks at."""


class RTDETR(ObjectHead):
    """RT-DETRv2 on the levels of a pyramid from stride 8 on.

    In training, images that are padded to the same size run together and without the padding of the batch, so that
    every image is seen as if it were alone.
    """

    gives = frozenset({"boxes"})
    divisor = DIVISOR

    def __init__(self, network: Network, levels: Sequence[Level], options: RTDETROptions) -> None:
        super().__init__()
        self.network = network
        self.levels_used = len(levels)
        self.first = len(levels) - len(network.encode.into)
        self.strides = tuple(level.stride for level in levels[self.first :])
        self.score_threshold, self.detections = options.score_threshold, options.detections
        self.warned = False

    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[InstanceTarget] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Return the losses against `targets`, or without them the detections."""
        canvas: Size = (images.shape[-2], images.shape[-1])
        if targets is not None:
            return self.losses(pyramid, sizes, targets)
        queries, _ = self.network(self.maps(pyramid))
        rows = zip(queries.logits[-1], queries.boxes[-1], sizes, strict=True)
        return [self._kept(logits, corners(boxes, canvas), size) for logits, boxes, size in rows]

    def losses(
        self, pyramid: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[InstanceTarget]
    ) -> dict[str, Tensor]:
        """Return the losses by name, means over the objects of the step.

        Those of the decoder's last layer have the bare names, of its others NAME_LAYER, of what the queries were chosen
        by NAME_first, and of the noisy queries NAME_denoising_LAYER.
        """
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=pyramid[0].device))
        count = torch.zeros((), device=pyramid[0].device)
        for features, truth in self._by_canvas(pyramid, sizes, targets):
            self._warn(truth, features)
            count += sum(map(len, truth))
            for name, loss in self._group_losses(features, truth):
                sums[name] = sums[name] + loss
        part = share(count) / count.clamp(min=1)
        return {name: part * loss for name, loss in sums.items()}

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of the encoder."""
        maps: list[Tensor] = self.network.encode(pyramid[self.first :])
        return maps

    def compilable(self) -> list[nn.Module]:
        """Return the encoder; what the decoder works on differs with the noisy queries."""
        return [self.network.encode]

    def _by_canvas(
        self, pyramid: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[InstanceTarget]
    ) -> Iterator[tuple[list[Tensor], list[Truth]]]:
        """Cut the batch into groups of images of one size with their own padding: their pyramid, and the objects."""
        groups: dict[Size, list[int]] = defaultdict(list)
        for place, (height, width) in enumerate(sizes):
            groups[(height + -height % DIVISOR, width + -width % DIVISOR)].append(place)
        strides = self.strides
        for (height, width), places in groups.items():
            rows = torch.tensor(places, device=pyramid[0].device)
            used = zip(pyramid[self.first :], strides, strict=True)
            cut = [features[rows, :, : height // stride, : width // stride] for features, stride in used]
            yield [*pyramid[: self.first], *cut], [Truth.of(targets[place], (height, width)) for place in places]

    def _group_losses(self, pyramid: Sequence[Tensor], truth: Sequence[Truth]) -> Iterator[tuple[str, Tensor]]:
        """Give the names and the sums of the losses of a group of images."""
        denoising = self.network.denoising
        noisy = denoising(truth) if denoising is not None else None
        queries, noise = self.network(self.maps(pyramid), noisy)
        last = len(queries) - 2
        with full_precision(pyramid[0].device):
            for name, rows in layer_losses(queries, pair(queries, truth), truth).items():
                for layer, loss in enumerate(rows, -1):
                    yield name if layer == last else f"{name}_{'first' if layer < 0 else layer}", loss
            if denoising is not None:
                yield "classes_denoising", 0 * denoising.content.weight.sum()  # a gradient in a step without objects
            if noise is None or noisy is None:
                return
            for name, rows in layer_losses(noise, noisy.pairs(last + 1), noisy.truth).items():
                for layer, loss in enumerate(rows / noisy.groups):
                    yield f"{name}_denoising" + (f"_{layer}" if layer < last else ""), loss

    def _warn(self, truth: Sequence[Truth], pyramid: Sequence[Tensor]) -> None:
        """Say once that an image has more objects than queries."""
        positions = sum(features.shape[-2] * features.shape[-1] for features in pyramid[self.first :])
        queries, most = min(self.network.queries, positions), max(map(len, truth))
        if most > queries and not self.warned:
            self.warned = True
            warnings.warn(
                f"An image has {most} objects and {queries} queries: the rest is not learnt. "
                "Raise head.queries, or train on larger images.",
                stacklevel=2,
            )

    def _kept(self, logits: Tensor, boxes: Tensor, size: Size) -> Detections:
        """Choose among the queries' classes: logits (Q, C), boxes (Q, 4) in pixels of an image of `size`."""
        scores, pairs = logits.float().sigmoid().flatten().topk(min(self.detections, logits.numel()))
        query, label = pairs // logits.shape[1], pairs % logits.shape[1]
        kept = scores > self.score_threshold
        height, width = size
        inside = torch.minimum(boxes.float()[query].clamp(min=0), boxes.new_tensor([width, height, width, height]))
        return Detections(inside[kept], label[kept], scores[kept])


@register("head", "rtdetr")
def rtdetr(levels: Sequence[Level], classes: int, options: RTDETROptions = RTDETROptions()) -> RTDETR:
    """Build RT-DETRv2.

    Raises:
        ConfigError: transformers is not installed; the backbone has no level of stride 8, or strides that do not double
            from level to level; a width that its heads do not divide.
    """
    needs("head=rtdetr", "query", "transformers", "scipy")
    first = check_doubling(levels, "rtdetr", FINEST)
    from coatseg.models.heads.query.real_time.network import Network

    return RTDETR(Network(levels[first:], classes, options), levels, options)
