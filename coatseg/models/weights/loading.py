"""Load the weights of a whole model, backbone and head: released detectors and checkpoints of coatseg."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from coatseg.errors import WeightsError, listed
from coatseg.models.weights.catalogue import find_weights
from coatseg.models.weights.files import FIRST_CONV, State, adapt_channels, read_tensors
from coatseg.models.weights.mismatches import mismatches
from coatseg.models.weights.released import rename

TASK = "model."
"""The prefix of a model's names in a checkpoint of coatseg."""
BACKBONE, HEAD = "backbone.", "head."
CLASS_LAYERS = re.compile(
    r"head\.(classify|(decoder\.)?classes(\.4)?|.*classification_head\.cls_logits|.*mask_fcn_logits"
    r"|.*box_predictor\.(cls_score|bbox_pred)|.*class_embed\.\d+|network\.(first_classes|denoising\.content))"
    r"\.(weight|bias)$"
)
"""The tensors of heads whose first side depends on the number of classes."""
OF_A_LAYER = re.compile(r"head\.transformer\.(class|bbox)_embed\.\d+\.")
"""Those of Deformable DETR of which each decoder layer has its own where boxes are refined, or all share one."""


@dataclass(frozen=True)
class LoadedWeights:
    """What was loaded of the tensors of a file, and what was not.

    `count` of them were loaded. `left_over` are the names of those that have no counterpart in the model; `kept` those
    of the model's tensors that were left unchanged, since the file has them for another number of classes.
    """

    source: str
    count: int
    left_over: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the report of the loading in one to three lines."""
        lines = [f"starts from {self.source}: {self.count} tensors"]
        if self.kept:
            lines.append(
                f"{len(self.kept)} tensors are for another number of classes and start anew: {listed(self.kept)}"
            )
        if self.left_over:
            lines.append(
                f"{len(self.left_over)} tensors of the file have no place in this model: {listed(self.left_over)}"
            )
        return lines


def start_from(model: nn.Module, source: str | Path, *, whole: bool = False) -> LoadedWeights:
    """Load a released detector, or a checkpoint of coatseg, into a model: all of its tensors or, on an error, none.

    `source` is a name of the catalogue (models/weights/catalogue.py) or a path. The model's output layers may have
    another number of classes than the file's: they are then left unchanged, unless the `whole` model is wanted. Images
    may have other channels than 3 (see `adapt_channels`).

    Raises:
        ConfigError: the catalogue has no such name.
        WeightsError: the file is missing or damaged, or lacks tensors of the model, or has them in other shapes.
    """
    path = find_weights(source)
    state, unknown = _named_as_ours(read_tensors(path), path)
    expected = model.state_dict()
    _check_layers(state, expected, path)
    first = f"{BACKBONE}{FIRST_CONV}"
    if first in state and first in expected:
        state[first] = adapt_channels(state[first], expected[first].shape[1])
    kept = () if whole else tuple(key for key in expected if key in state and _other_classes(key, state, expected))
    fitting = {key: value for key, value in state.items() if key in expected and key not in kept}
    if found := mismatches(fitting, expected, kept):
        raise WeightsError(
            f"The weights of {path} are not those of this model: {found}.",
            "Choose the backbone, the head, the options and the classes that it was made with.",
        )
    model.load_state_dict(fitting, strict=False)
    left_over = (*unknown, *(key for key in state if key not in expected))
    return LoadedWeights(str(source), len(fitting), left_over, kept)


def _named_as_ours(tensors: State, path: Path) -> tuple[State, tuple[str, ...]]:
    """Return the tensors of a whole model by our names, and the names of those that have no counterpart in ours."""
    renamed = rename(tensors)
    if renamed is not None:
        return renamed.state, renamed.unknown
    prefix = TASK if any(key.startswith(TASK + BACKBONE) for key in tensors) else ""
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    if not all(any(key.startswith(part) for key in state) for part in (BACKBONE, HEAD)):
        raise WeightsError(
            f"{path} holds no backbone and head by the names of coatseg, MMDetection, Detectron2 or Deformable DETR.",
            "Weights of a backbone alone go to backbone.pretrained=PATH.",
        )
    return state, tuple(key for key in tensors if not key.startswith(prefix))


def _other_classes(key: str, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    """Return whether a tensor differs from the model's only in the number of classes."""
    theirs, ours = state[key].shape, expected[key].shape
    return CLASS_LAYERS.match(key) is not None and theirs != ours and theirs[1:] == ours[1:]


def _check_layers(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path) -> None:
    """Raise WeightsError if the file has class or box layers for more decoder layers than the model.

    What is left would fit all the same, and decode what another layer has learnt.
    """
    more = [key for key in state if key not in expected and OF_A_LAYER.match(key)]
    if more and any(OF_A_LAYER.match(key) for key in expected):
        raise WeightsError(
            f"{path} has class and box layers that this model lacks: {listed(more)}.",
            "Set head.refine, head.two_stage and head.decoder_layers as it was made with; refine=true has them.",
        )
