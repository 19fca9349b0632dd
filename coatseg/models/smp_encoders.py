"""CoaT as encoders in the table of segmentation-models-pytorch (smp), for use with its models in any code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import segmentation_models_pytorch
from torch import Tensor, nn

from coatseg.errors import ConfigError, WeightsError
from coatseg.models.backbones.coat import LEVELS, CoaT
from coatseg.models.backbones.variants import VARIANTS, find_variant
from coatseg.models.weights import catalogue
from coatseg.models.weights.files import HEAD_PARTS, adapt_channels, read, to_ours
from coatseg.structures import IMAGENET_MEAN, IMAGENET_STD
from coatseg.system.atomic import whole_file

DEPTHS = (3, 4, 5)
OUTPUT_STRIDES = (16, 32)
REPOSITORIES = {f"timm/{name}.in1k": name for name in VARIANTS}
"""The repository that smp asks for the weights of each variant; the catalogue answers in its place."""


def register_smp_encoders() -> None:
    """Put every CoaT variant under its own name into `segmentation_models_pytorch.encoders.encoders`.

    `smp.create_model("unet", "coat_small", encoder_weights="imagenet")` then works, for any architecture of smp but
    DPT, which takes timm's transformers only. Weights come from our catalogue and its cache. A second call changes
    nothing.
    """
    encoders = segmentation_models_pytorch.encoders
    for repository, name in REPOSITORIES.items():
        encoders.encoders[name] = {
            "encoder": CoaTEncoder,
            "params": {"variant": name},
            "pretrained_settings": {"imagenet": {"repo_id": repository, "revision": "main"}},
        }
    if not getattr(encoders.hf_hub_download, "answers_for_coat", False):
        _answer_for_coat(encoders)


class CoaTEncoder(CoaT):
    """CoaT under smp's contract of an encoder: images to a list of the images themselves and a map per stride.

    `depth` is how often the size is halved: 5 means the strides 2 to 32, 4 those up to 16, 3 those up to 8; at stride 2
    there is an empty map. CoaT cannot be dilated: an `output_stride` of 16 omits the map of stride 32, as depth 4 does.

    Raises:
        ConfigError: the depth is another one, or the output stride is 8.
    """

    def __init__(self, variant: str, depth: int = 5, output_stride: int = 32) -> None:
        if depth not in DEPTHS:
            raise ConfigError(f"encoder_depth={depth} does not fit CoaT.", "Choose encoder_depth=3, 4 or 5.")
        if output_stride not in OUTPUT_STRIDES:
            raise ConfigError(
                f"encoder_output_stride={output_stride} would dilate CoaT, which has no convolution to dilate.",
                "Set encoder_output_stride=16: the model then works on the maps up to stride 16.",
            )
        super().__init__(find_variant(variant))
        self.depth = min(depth, 4) if output_stride == 16 else depth
        self.choose_levels(LEVELS[: self.depth - 1])

    @property
    def out_channels(self) -> list[int]:
        """The number of channels of the image and of each map."""
        return [self.in_channels, 0, *(level.channels for level in self.levels)]

    @property
    def output_stride(self) -> int:
        """The stride of the coarsest map; most models of smp want images whose sides are multiples of it."""
        return int(2**self.depth)

    def forward(self, images: Tensor) -> list[Tensor]:  # type: ignore[override]  # smp knows no sizes
        """Return the images (B, in_channels, H, W), an empty map at stride 2, then CoaT's maps from stride 4 on."""
        batch, _, height, width = images.shape
        empty = images.new_zeros(batch, 0, height // 2, width // 2)
        return [images, empty, *super().forward(images)]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """Change the number of image channels; weights that were loaded are adapted as `create_backbone` does."""
        if in_channels == self.in_channels:
            return
        before: nn.Conv2d = self.patch_embed1.proj  # type: ignore[assignment, union-attr]
        proj = nn.Conv2d(in_channels, before.out_channels, before.kernel_size, stride=before.stride)  # type: ignore[arg-type]
        if pretrained:
            proj.load_state_dict({**before.state_dict(), "weight": adapt_channels(before.weight.detach(), in_channels)})
        self.patch_embed1.proj = proj  # type: ignore[union-attr]
        self.in_channels = in_channels

    def make_dilated(self, output_stride: int) -> None:
        """Do nothing: the constructor has left out the maps that smp wants dilated."""


def _answer_for_coat(encoders: Any) -> None:
    """Make smp read CoaT's weights from our catalogue.

    smp fetches every encoder's weights from the Hugging Face hub and offers no other way, so the two functions that its
    module of encoders calls for that are wrapped there: one fetches a file, the other reads it. For all other encoders
    they work as before.
    """
    fetch: Callable[..., str] = encoders.hf_hub_download
    load: Callable[..., dict[str, Tensor]] = encoders.load_file

    def hf_hub_download(repo_id: str, filename: str, **options: Any) -> str:
        if repo_id not in REPOSITORIES:
            return fetch(repo_id, filename=filename, **options)
        return str(_preprocessing() if filename == "config.json" else _weights(REPOSITORIES[repo_id]))

    def load_file(filename: str, **options: Any) -> dict[str, Tensor]:
        if Path(filename).parent != catalogue.cache_folder():
            return load(filename, **options)
        return {name: value for name, value in to_ours(read(filename)).items() if name.split(".")[0] not in HEAD_PARTS}

    hf_hub_download.answers_for_coat = True  # type: ignore[attr-defined]
    encoders.hf_hub_download, encoders.load_file = hf_hub_download, load_file


def _weights(name: str) -> Path:
    try:
        return catalogue.fetch(name)
    except WeightsError as error:
        file = catalogue.SOURCES[name][0].name
        mend = f"Fetch the file by other means and put it, as {file}, into {catalogue.cache_folder()}."
        raise WeightsError(error.what, mend) from error


def _preprocessing() -> Path:
    """Return a file that tells smp to normalise images by ImageNet's statistics, as all variants were trained."""
    path = catalogue.cache_folder() / "preprocessing.json"
    if not path.is_file():
        facts = {"input_space": "RGB", "input_range": [0, 1], "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
        with whole_file(path) as file:
            file.write(json.dumps(facts).encode())
    return path
