"""Read weights files of CoaT and map the names of their layouts onto ours.

Three layouts hold the same parameters:
- ours: every parameter once, under the first name that `named_parameters` of the authors' model has for it;
- the authors': a shared module again under the name of every block that uses it;
- timm's: the authors' without the norms that no output uses.
A file may wrap the parameters under "model" or "state_dict" and put a prefix before their names, as training
checkpoints do.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from coatseg.errors import WeightsError, listed
from coatseg.models.weights.catalogue import fetch
from coatseg.models.weights.mismatches import mismatches

State = dict[str, Tensor]

FIRST_CONV = "patch_embed1.proj.weight"
WRAPPERS = ("model", "state_dict")
HEAD_PARTS = {"norm1", "norm2", "norm3", "norm4", "aggregate", "head"}
BLOCK = re.compile(r"serial_blocks\d\.\d+|parallel_blocks\.\d+")


def load_pretrained(model: nn.Module, name: str, pretrained: bool | str | Path) -> None:
    """Load the weights that `pretrained` asks for: none if False, the catalogue's for `name` if True, else a file's."""
    if pretrained is True:
        load_weights(model, fetch(name))
    elif pretrained is not False:
        load_weights(model, pretrained)


def load_weights(model: nn.Module, source: str | Path) -> None:
    """Load a file of any known layout into a CoaT backbone or classifier.

    For a backbone, the classifier's norms, `aggregate` and `head` are skipped. A classifier may lack the norms that
    timm leaves out. Weights for images of 3 channels are adapted to the model's (see `adapt_channels`).

    Raises:
        WeightsError: the file is missing or damaged, would run code, holds two values of one shared parameter, or its
            parameters are not those of the model; the error lists them.
    """
    state = to_ours(read(source))
    expected = model.state_dict()
    if "head.weight" not in expected:
        state = {key: value for key, value in state.items() if _part(key) not in HEAD_PARTS}
    if FIRST_CONV in state and FIRST_CONV in expected:
        state[FIRST_CONV] = adapt_channels(state[FIRST_CONV], expected[FIRST_CONV].shape[1])
    check_keys(state, expected, source)
    model.load_state_dict(state, strict=False)


def read(source: str | Path) -> State:
    """Read the parameters of one CoaT from a file, without a wrapper around them or a prefix before their names."""
    tensors = read_tensors(source)
    prefixes = [key.removesuffix(FIRST_CONV) for key in tensors if key.endswith(FIRST_CONV)]
    if len(prefixes) != 1:
        raise WeightsError(
            f"{source} does not hold one CoaT: {len(prefixes)} of its {len(tensors)} tensors are called {FIRST_CONV}.",
            "Give a file of the authors, of timm or of coatseg.",
        )
    return {key.removeprefix(prefixes[0]): value for key, value in tensors.items() if key.startswith(prefixes[0])}


def read_tensors(source: str | Path) -> State:
    """Read the named tensors of a .safetensors file, or of a torch file without running anything in it."""
    path = Path(source)
    if not path.is_file():
        mend = "Give the path of a .pth, .pt, .bin, .ckpt or .safetensors file."
        raise WeightsError(f"There is no weights file {path}.", mend)
    again = "Fetch it again from its publisher."
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # The authors' training left its parsed arguments in some files.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{path} is damaged or holds more than tensors: {reason}", again) from error
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"{path} cannot be read as weights: {error}", again) from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__} where named tensors were expected.", again)
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def to_ours(state: Mapping[str, Tensor]) -> State:
    """Return every parameter once, under our name; raises WeightsError if its names hold different values."""
    first: dict[str, str] = {}
    ours: State = {}
    conflicts = []
    for key, value in state.items():
        name = our_name(key)
        if name not in ours:
            first[name], ours[name] = key, value
        elif not torch.equal(ours[name], value):
            conflicts.append(f"{first[name]} and {key}")
    if conflicts:
        raise WeightsError(
            f"Names of one shared parameter hold different values: {listed(conflicts)}.",
            "The file was not saved from a CoaT whose blocks share their encodings; take another one.",
        )
    return ours


def to_authors(state: Mapping[str, Tensor]) -> State:
    """Return parameters of our layout in the authors': shared ones also under the name of each block that uses them."""
    blocks = {match[0] for match in map(BLOCK.match, state) if match}
    authors = dict(state)
    for block in sorted(blocks):
        for alias, name in block_aliases(block).items():
            authors |= {alias + key.removeprefix(name): value for key, value in state.items() if key.startswith(name)}
    return authors


def to_timm(state: Mapping[str, Tensor]) -> State:
    """Return parameters of our layout in timm's: the authors' without the norms that no output uses."""
    unused = unused_norms(state)
    return {key: value for key, value in to_authors(state).items() if _part(key) not in unused}


def our_name(key: str) -> str:
    """Return our name of the parameter that is called `key` in any layout."""
    block = BLOCK.match(key)
    aliases = block_aliases(block[0]) if block else {}
    for alias, name in aliases.items():
        if key.startswith(alias):
            return name + key.removeprefix(alias)
    return key


def block_aliases(block: str) -> dict[str, str]:
    """Map the prefixes under which a block repeats shared modules to the prefixes of our names."""
    if block.startswith("serial"):
        stage = block.removeprefix("serial_blocks")[0]
        return {f"{block}.cpe.": f"cpe{stage}.", f"{block}.factoratt_crpe.crpe.": f"crpe{stage}."}
    crpes = {f"{block}.factoratt_crpe{scale}.crpe.": f"crpe{scale}." for scale in (2, 3, 4)}
    return crpes | {f"{block}.mlp{scale}.": f"{block}.mlp2." for scale in (3, 4)}


def unused_norms(keys: Iterable[str]) -> set[str]:
    """Return the names of the final norms whose outputs the classifier does not use."""
    return {"norm1"} if any(_part(key) == "parallel_blocks" for key in keys) else {"norm1", "norm2", "norm3"}


def adapt_channels(weight: Tensor, in_channels: int) -> Tensor:
    """Adapt the (out, 3, h, w) weight of a first convolution to images with other channels, as timm does.

    For one channel it is the sum of the three, so that a grey image has the features that it would have as RGB. For any
    other number the three are repeated in turn and scaled by 3 / in_channels, so that activations keep their size.
    """
    if weight.ndim != 4 or weight.shape[1] != 3 or in_channels == 3:
        return weight
    if in_channels == 1:
        return weight.sum(1, keepdim=True)
    repeated = weight.repeat(1, -(-in_channels // 3), 1, 1)[:, :in_channels]
    return repeated * (3 / in_channels)


def check_keys(state: Mapping[str, Tensor], expected: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise WeightsError, which lists them, if keys are missing, unexpected or of another shape."""
    optional = {key for key in expected if _part(key) in unused_norms(expected)}
    if found := mismatches(state, expected, optional):
        raise WeightsError(
            f"The weights of {source} are not those of this model: {found}.",
            "Choose the variant and the options that the file was made with.",
        )


def _part(key: str) -> str:
    return key.partition(".")[0]
