"""The network that makes feature maps, from a backbone's name or from a checkpoint, and how its images are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from coatseg.config.restore import read_trained
from coatseg.data.images.slides import FULL, Scale, scale_of
from coatseg.data.images.statements.nodata import NoData
from coatseg.models.backbones.coat import CoaT
from coatseg.registry.names import make
from coatseg.results.features.images import normalised_by
from coatseg.results.features.maps import BackboneMaps, Extractor, head_maps
from coatseg.structures import DatasetInfo, parameter_count

MapsKind = Literal["backbone", "head"]


@dataclass(frozen=True)
class FeatureModel:
    """A network in evaluation mode, with what makes and describes its maps.

    `info` says how images are normalised, `sides` and `bands` how they are resized and which of their bands are read,
    `nodata` what their pixels without data hold, and `scale` which level of slides and pyramids is read, as in the
    checkpoint's evaluation; `made` describes the maps for features.json; `config` is the checkpoint's, or None.
    """

    network: nn.Module
    extractor: Extractor
    info: DatasetInfo
    made: Mapping[str, Any]
    sides: tuple[int, int] | None = None
    bands: Sequence[int] | None = None
    nodata: NoData | None = None
    config: Mapping[str, Any] | None = None
    scale: Scale = FULL

    @property
    def coat(self) -> CoaT | None:
        """The CoaT whose levels are kept; None for other networks and for a head's maps."""
        backbone = self.extractor.backbone if isinstance(self.extractor, BackboneMaps) else None
        return backbone if isinstance(backbone, CoaT) else None

    @property
    def words(self) -> str:
        """The model, its size and the strides of its maps, in a few words."""
        maps = ", ".join(str(stride) for stride in self.extractor.strides)
        return f"{self.made['model']}, {parameter_count(self.network) / 1e6:.1f} M parameters; maps of stride {maps}"


def named_model(
    name: str,
    options: Mapping[str, Any],
    *,
    strides: Sequence[int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> FeatureModel:
    """Build a backbone by name, for images normalised by ImageNet's mean and deviation or by those given.

    Without `pretrained` among the options, its weights are random, and the same each time.

    Raises:
        ConfigError: the name or an option is unknown, or it has no level of such a stride.
        WeightsError: the weights cannot be had, or do not fit.
    """
    info = normalised_by(DatasetInfo("images", (), (), frozenset()), mean, std)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = make("backbone", name, options, "backbone", in_channels=info.channels)
    backbone.eval()
    weights = digest(backbone)
    extractor = BackboneMaps(backbone, strides)
    made = {"model": name, **described("backbone", options), "weights": weights, "maps": "backbone"}
    return FeatureModel(backbone, extractor, info, made)


def checkpoint_model(path: Path, kind: MapsKind = "backbone", strides: Sequence[int] | None = None) -> FeatureModel:
    """Build the model of a checkpoint, with its weights, averaged ones if the run averaged them.

    Raises:
        CheckpointError: it is missing, damaged, or was not written by coatseg.
        ConfigError: the backbone or head has no map of such a stride.
    """
    trained = read_trained(path)
    config = trained.config
    model: Any = trained.build().eval().model
    name = config["backbone"]["name"] if kind == "backbone" else trained.plan.title
    used = model.backbone if kind == "backbone" else model
    sections = ("backbone",) if kind == "backbone" else ("backbone", "head")
    options = {key: value for section in sections for key, value in described(section, config[section]).items()}
    made = {"model": name, **options, "weights": digest(used), "maps": kind}
    extractor = BackboneMaps(model.backbone, strides) if kind == "backbone" else head_maps(model, strides)
    read = trained.images
    nodata, scale = NoData.of(read["nodata"], trained.info.mean), scale_of(read["level"], read["microns"])
    return FeatureModel(
        used, extractor, trained.info, made, read["evaluation_resize"], read["bands"], nodata, config, scale
    )


def described(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a section as a user types them, without its name and the source of its weights."""
    return {f"{section}.{key}": value for key, value in options.items() if key not in ("name", "pretrained")}


def digest(network: nn.Module) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a network's weights and their names."""
    found = sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()[:16]
