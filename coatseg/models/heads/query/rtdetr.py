"""RT-DETRv2 (Lv et al., 2024): a detector of queries in real time, of transformers' modules, without suppression."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, clip_boxes_to_image

from coatseg.models.heads.base import ObjectHead, without_crowds
from coatseg.models.heads.detection.base import DIVISOR, share
from coatseg.models.heads.detection.detections import Detections
from coatseg.models.heads.query.box_losses import Guesses, Truth, matched
from coatseg.models.heads.query.deformable_detr import level_places
from coatseg.models.heads.query.highest import highest
from coatseg.models.heads.query.real_time.losses import layer_losses
from coatseg.models.heads.query.real_time.options import RTDETROptions
from coatseg.models.heads.query.surplus import FEWER_TOKENS, Surplus
from coatseg.models.precision import full_precision
from coatseg.registry.names import register
from coatseg.structures import InstanceTarget, Level, Size
from coatseg.system.extras import needs


class RTDETR(ObjectHead):
    """RT-DETRv2 on the levels of a backbone up to stride 32.

    In training, images that are padded to the same size run together and without the padding of the batch, so that
    every image is seen as if it were alone.
    """

    gives = frozenset({"boxes"})
    not_exported = ""
    divisor = DIVISOR

    def __init__(self, levels: Sequence[Level], classes: int, options: RTDETROptions) -> None:
        super().__init__()
        from coatseg.models.heads.query.real_time.network import Network

        self.places = level_places(levels, "rtdetr", options.finest)
        self.strides = tuple(levels[place].stride for place in self.places)
        self.levels_used = self.places[-1] + 1
        self.options = options
        self.surplus = Surplus(options.queries, FEWER_TOKENS)
        self.network = Network([levels[place] for place in self.places], classes, options)

    def forward(
        self,
        images: Tensor,
        pyramid: Sequence[Tensor],
        sizes: Sequence[Size],
        targets: Sequence[InstanceTarget] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Return the losses against `targets`, or without them the detections."""
        if targets is not None:
            return self.losses(pyramid, sizes, targets)
        said = self.network(self.maps(pyramid)).layers[-1]
        boxes = _corners(said.boxes, (images.shape[-2], images.shape[-1]))
        rows = zip(said.logits.sigmoid(), boxes, sizes, strict=True)
        return [self._kept(scores, corners, size) for scores, corners, size in rows]

    def losses(
        self, pyramid: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[InstanceTarget]
    ) -> dict[str, Tensor]:
        """Return the losses by name, means over the objects of the step.

        Those of the decoder's last layer have the bare names, of its others NAME_LAYER, of the queries as they were
        chosen NAME_proposals, and of the noisy queries NAME_denoising and NAME_denoising_LAYER.
        """
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), device=pyramid[0].device))
        count = torch.zeros((), device=pyramid[0].device)
        for features, truths in self._by_canvas(pyramid, sizes, targets):
            count += sum(len(truth.labels) for truth in truths)
            for name, loss in self._group_losses(features, truths).items():
                sums[name] = sums[name] + loss
        part = share(count) / count.clamp(min=1)
        return {name: part * loss for name, loss in sums.items()}

    def maps(self, pyramid: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of the encoder."""
        maps: list[Tensor] = self.network.encode([pyramid[place] for place in self.places])
        return maps

    def compilable(self) -> list[nn.Module]:
        """Return the encoder; what the decoder works on differs with the noisy queries."""
        return [self.network.encode]

    def _by_canvas(
        self, pyramid: Sequence[Tensor], sizes: Sequence[Size], targets: Sequence[InstanceTarget]
    ) -> Iterator[tuple[list[Tensor], list[Truth]]]:
        """Cut the batch into groups of images of one size with their own padding: their pyramid, and the objects."""
        groups: dict[Size, list[int]] = defaultdict(list)
        for row, (height, width) in enumerate(sizes):
            groups[(height + -height % DIVISOR, width + -width % DIVISOR)].append(row)
        for (height, width), chosen in groups.items():
            rows = torch.tensor(chosen, device=pyramid[0].device)
            own = list(pyramid)
            for place, stride in zip(self.places, self.strides, strict=True):
                own[place] = pyramid[place][rows, :, : height // stride, : width // stride]
            yield own, [_truth(targets[row], (height, width)) for row in chosen]

    def _group_losses(self, pyramid: Sequence[Tensor], truths: Sequence[Truth]) -> dict[str, Tensor]:
        """Return the sums of the losses of images of one size."""
        denoising = self.network.denoising
        noisy = None if denoising is None else denoising(truths)
        said = self.network(self.maps(pyramid), noisy)
        self.surplus.say((len(truth.labels) for truth in truths), said.proposals.logits.shape[1])
        layers = {"_proposals": said.proposals} | _numbered(said.layers)
        losses = {}
        with full_precision(pyramid[0].device):
            pairs = matched(list(layers.values()), truths)
            for (suffix, guesses), chosen in zip(layers.items(), pairs, strict=True):
                for name, loss in layer_losses(guesses, truths, chosen).items():
                    losses[name + suffix] = loss
            if noisy is not None:
                for suffix, guesses in _numbered(said.noisy).items():
                    for name, loss in layer_losses(guesses, noisy.truths, noisy.pairs()).items():
                        losses[f"{name}_denoising{suffix}"] = loss / noisy.groups
            elif denoising is not None:  # a gradient for its parameters too, in a step without objects
                losses["classes_denoising"] = 0 * denoising.content.weight.sum()
        return losses

    def _kept(self, scores: Tensor, boxes: Tensor, size: Size) -> Detections:
        """Choose among the queries' classes: scores (Q, classes), boxes (Q, 4) in pixels of an image of `size`."""
        best, pairs = highest(scores.flatten(), self.options.detections)
        classes, kept = scores.shape[1], best > self.options.score_threshold
        pairs = pairs[kept]
        return Detections(clip_boxes_to_image(boxes[pairs // classes], size), pairs % classes, best[kept])


def _corners(boxes: Tensor, canvas: Size) -> Tensor:
    """Return boxes (..., 4) of centre, width and height as shares of a canvas (height, width) as corners in pixels."""
    height, width = canvas  # numbers that a traced graph computes: none of them may go into a tensor of constants
    left, top, right, bottom = box_convert(boxes, "cxcywh", "xyxy").unbind(-1)
    return torch.stack([left * width, top * height, right * width, bottom * height], dim=-1)


def _truth(target: InstanceTarget, canvas: Size) -> Truth:
    """Return the objects to learn of an image padded to a canvas (height, width)."""
    objects = without_crowds(target)
    height, width = canvas
    scale = objects.boxes.new_tensor([width, height, width, height], dtype=torch.float32)
    return Truth(objects.labels, box_convert(objects.boxes.float(), "xyxy", "cxcywh") / scale)


def _numbered(layers: Sequence[Guesses]) -> dict[str, Guesses]:
    """Return the layers by the ends of their losses' names: the last has none."""
    return {"" if number == len(layers) else f"_{number - 1}": layer for number, layer in enumerate(layers, 1)}


@register("head", "rtdetr")
def rtdetr(levels: Sequence[Level], classes: int, options: RTDETROptions = RTDETROptions()) -> RTDETR:
    """Build RT-DETRv2.

    Raises:
        ConfigError: transformers is not installed, the backbone lacks one of the strides, or `heads` do not divide
            `width`.
    """
    needs("head=rtdetr", "query", "transformers")
    return RTDETR(levels, classes, options)
