"""Map the names of Deformable DETR in its authors' code to ours.

Their decoder numbers the norm after cross-attention first; its self-attention has queries, keys and values in one
matrix. Where boxes are not refined, their state holds the one class layer and the one box layer again for every decoder
layer; where they are, it holds all of them again under `transformer.decoder`. On COCO their class layers have a row for
every number of a category up to 90, of which 80 are used.

Weights do not tell how images come: in RGB with ImageNet's mean and deviation, the shorter side 800 and the longer at
most 1333, as conf/data/coco.yaml has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from coatseg.errors import WeightsError
from coatseg.models.weights.files import State, to_ours

MARK = "transformer.level_embed"
"""The tensor that they are recognised by."""
FIRST_STAGE = "transformer.enc_output.weight"
"""A tensor that only a model of two stages has."""
BACKBONE = r"backbone\.0\.(body\.)?"
COPIES = r"transformer\.decoder\.(class_embed|bbox_embed)\."
"""Names of tensors that the file holds by a shorter name, too."""
HEADS = r"(class_embed|bbox_embed)\.(\d+)\.(.*)"
ROWS = 91
"""The rows of the class layers of models that were trained on COCO."""
UNUSED = frozenset({0, 12, 26, 29, 30, 45, 66, 68, 69, 71, 83})
"""Numbers below 91 that no category of COCO's objects has."""

PREFIX = "head.transformer."
PARTS = {
    r"input_proj\.": "input_proj.",
    r"query_embed\.": "query_position_embeddings.",
    r"transformer\.(level_embed$|reference_points\.)": r"\1",
    r"transformer\.((enc_output|pos_trans)(_norm)?\.)": r"\1",
    r"transformer\.(encoder\.layers\.\d+\.self_attn\.)": r"\1",
    r"transformer\.(encoder\.layers\.\d+)\.norm1\.": r"\1.self_attn_layer_norm.",
    r"transformer\.(encoder\.layers\.\d+)\.norm2\.": r"\1.final_layer_norm.",
    r"transformer\.(decoder\.layers\.\d+)\.cross_attn\.": r"\1.encoder_attn.",
    r"transformer\.(decoder\.layers\.\d+)\.norm1\.": r"\1.encoder_attn_layer_norm.",
    r"transformer\.(decoder\.layers\.\d+)\.norm2\.": r"\1.self_attn_layer_norm.",
    r"transformer\.(decoder\.layers\.\d+)\.norm3\.": r"\1.final_layer_norm.",
    r"transformer\.(decoder\.layers\.\d+\.self_attn)\.out_proj\.": r"\1.o_proj.",
    r"transformer\.((?:en|de)coder\.layers\.\d+)\.linear(\d)\.": r"\1.mlp.fc\2.",
}
"""What the beginning of a name becomes behind PREFIX, as by `re.sub`."""
JOINED = r"transformer\.(decoder\.layers\.\d+\.self_attn)\.in_proj_(weight|bias)$"
PROJECTIONS = ("q_proj", "k_proj", "v_proj")


def rename_detr(tensors: Mapping[str, Tensor]) -> tuple[State, tuple[str, ...]]:
    """Return the tensors by our names, and the names of those that have no counterpart in ours.

    Raises:
        WeightsError: names of one shared parameter hold different values.
    """
    backbone: State = {}
    state: State = {}
    unknown = []
    for key, value in tensors.items():
        if match := re.match(JOINED, key):
            parts = zip(PROJECTIONS, value.chunk(len(PROJECTIONS)), strict=True)
            state |= {f"{PREFIX}{match[1]}.{name}.{match[2]}": part.clone() for name, part in parts}
        elif re.match(COPIES, key):
            _check_copy(key, tensors)
        elif re.match(HEADS, key):
            state[PREFIX + key] = value
        elif (name := _our_name(key)) is not None:
            state[PREFIX + name] = value
        elif match := re.match(BACKBONE, key):
            backbone[key[match.end() :]] = value
        else:
            unknown.append(key)
    state = _of_used_classes(_heads_once(state), FIRST_STAGE in tensors)
    return state | {f"backbone.{key}": value for key, value in to_ours(backbone).items()}, tuple(unknown)


def _our_name(key: str) -> str | None:
    for pattern, ours in PARTS.items():
        if match := re.match(pattern, key):
            return match.expand(ours) + key[match.end() :]
    return None


def _check_copy(key: str, tensors: Mapping[str, Tensor]) -> None:
    other = key.removeprefix("transformer.decoder.")
    if other not in tensors or not torch.equal(tensors[key], tensors[other]):
        raise WeightsError(
            f"{key} and {other} are one parameter in Deformable DETR, and differ in the file.",
            "Give a file as its authors' code saves it.",
        )


def _heads_once(state: State) -> State:
    """Leave out the copies of the class layer and of the box layer of a model that does not refine boxes."""
    heads = {key: re.match(HEADS, key.removeprefix(PREFIX)) for key in state}
    later = {key: f"{PREFIX}{match[1]}.0.{match[3]}" for key, match in heads.items() if match and match[2] != "0"}
    shared = all(first in state and torch.equal(state[key], state[first]) for key, first in later.items())
    return {key: value for key, value in state.items() if key not in later} if shared else state


def _of_used_classes(state: State, two_stage: bool) -> State:
    """Leave out the rows of numbers that no category of COCO has, in models that were trained on it.

    The first of two stages learns all objects as the class of number 0: there that row is the first that is kept.
    """
    layers = {key: re.match(r"class_embed\.(\d+)\.", key.removeprefix(PREFIX)) for key in state}
    numbers = {key: int(match[1]) for key, match in layers.items() if match}
    used = [number for number in range(ROWS) if number not in UNUSED]
    chosen = {}
    for key, number in numbers.items():
        if len(state[key]) == ROWS:
            first_stage = two_stage and number == max(numbers.values())
            chosen[key] = state[key][[0, *used[1:]] if first_stage else used]
    return state | chosen
