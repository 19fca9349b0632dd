"""CoaT as a backbone of transformers: its configuration and its model, under the contract of `AutoBackbone`.

Importing this needs the extra [query]; `coatseg.register_transformers` checks that and registers both.
"""

# Annotations are evaluated here, not kept as text: transformers checks the values of a configuration by them.
from typing import Any, Self

from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.backbone_utils import BackboneConfigMixin, BackboneMixin
from transformers.modeling_outputs import BackboneOutput
from transformers.utils.generic import can_return_tuple

from coatseg.errors import ConfigError
from coatseg.models.backbones.blocks import CoScale
from coatseg.models.backbones.coat import STAGES, CoaT, check_co_scale, initialize
from coatseg.models.backbones.variants import find_variant
from coatseg.models.weights.files import load_pretrained
from coatseg.structures import Size

STAGE_NAMES = tuple(f"stage{stage}" for stage in STAGES)


@strict  # checks the values' types
class CoaTConfig(BackboneConfigMixin, PreTrainedConfig):  # type: ignore[misc]  # transformers' types are not read
    """What `CoaTBackbone` is built from, as plain values that config.json holds.

    `variant` is a name of `coatseg.list_backbones()` that begins with coat. `out_features` names the maps to output, of
    "stage1" (stride 4) to "stage4" (stride 32), in this order; `out_indices` counts the same from 0. Without both it is
    the last, as in all backbones of transformers. `pretrained` is False, True for the weights of coatseg's catalogue,
    or the path of a file: what a model starts from that is built from a configuration, alone or in a head;
    `from_pretrained` has its weights from the folder and does not look at it. The other options are those of CoaT.

    Raises:
        ConfigError: the variant is unknown, or has no such co_scale.
        ValueError: the maps are not among the stages or not in order.
    """

    model_type = "coatseg"
    attribute_map = {"num_channels": "in_channels"}  # noqa: RUF012  # a mapping of the class, as the base class has it

    variant: str = "coat_small"
    pretrained: bool | str = False
    in_channels: int = 3
    drop_path: float = 0.0
    conv_position_encoding: bool = True
    conv_relative_position: bool = True
    co_scale: CoScale = "interpolation"
    checkpointing: bool = False

    def __post_init__(self, **others: Any) -> None:
        """Check the variant, and settle which maps there will be."""
        check_co_scale(find_variant(self.variant), self.co_scale)
        self.stage_names = list(STAGE_NAMES)
        features, indices = others.pop("out_features", None), others.pop("out_indices", None)
        self.set_output_features_output_indices(None if features is None else list(features), indices)
        super().__post_init__(**others)


class CoaTBackbone(BackboneMixin, PreTrainedModel):  # type: ignore[misc]  # transformers' types are not read
    """CoaT for the heads of transformers: images (B, C, H, W) of 32 pixels or more a side, of any size, to maps.

    What no chosen map depends on is neither computed nor trained (see CoaT.choose_levels). The network is `coat`, and a
    saved folder's model.safetensors, also that of a whole head, is a file for `coatseg.create_backbone(pretrained=)`.

    Raises:
        WeightsError: the weights that the configuration asks for cannot be had, or do not fit.
    """

    config_class = CoaTConfig
    main_input_name = "pixel_values"
    has_attentions = False  # there is no map of attention weights to return: CoaT's attention is factorized
    supports_gradient_checkpointing = True

    def __init__(self, config: CoaTConfig) -> None:
        super().__init__(config)
        variant = find_variant(config.variant)
        self.coat = CoaT(
            variant,
            in_channels=config.in_channels,
            drop_path=config.drop_path,
            conv_position_encoding=config.conv_position_encoding,
            conv_relative_position=config.conv_relative_position,
            co_scale=config.co_scale,
            checkpointing=config.checkpointing,
        )
        self.num_features = list(variant.channels)
        self.coat.choose_levels([STAGE_NAMES.index(name) for name in config.out_features])
        self.left_out = {name for name, parameter in self.coat.named_parameters() if not parameter.requires_grad}
        self.post_init()  # initialises
        if not self.coat.cls_token1.is_meta:  # as it is in from_pretrained, which reads a folder's weights later
            load_pretrained(self.coat, config.variant, config.pretrained)

    @can_return_tuple  # type: ignore[untyped-decorator]  # transformers' types are not read
    def forward(self, pixel_values: Tensor, sizes: list[Size] | None = None, **_: Any) -> BackboneOutput:
        """Return the chosen maps as `feature_maps`, each (B, channels, H // stride, W // stride).

        `sizes` are the (height, width) of padded images; their features are then those of each image alone, and zero
        beyond, as in CoaT.forward. Heads of transformers do not give it.

        Raises:
            ConfigError: the images have other channels, or a side shorter than 32 pixels, or other sizes; or other maps
                were asked for after the model was built, which has then frozen what only these need.
        """
        if self.out_features != [STAGE_NAMES[index] for index in self.coat.out_indices]:
            raise ConfigError(
                f"The maps of a CoaTBackbone are chosen when it is built; out_features={self.out_features} came later.",
                "Build it with these, or load it again with from_pretrained(folder, out_features=[...]).",
            )
        return BackboneOutput(feature_maps=tuple(self.coat(pixel_values, sizes)))

    def train(self, mode: bool = True) -> Self:
        """Set the mode, and freeze what no map depends on: from_pretrained makes new parameters, then calls this."""
        super().train(mode)
        self.coat.freeze(value for name, value in self.coat.named_parameters() if name in self.left_out)
        return self

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether blocks are computed again in the backward pass; `activation_checkpointing_enable()` sets it."""
        return self.coat.checkpointing

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, enable: bool) -> None:
        self.coat.checkpointing = enable

    def _init_weights(self, module: nn.Module) -> None:
        """Initialise a module's own parameters, where they were not loaded.

        transformers calls this for every module, inner ones first, with torch's functions of initialisation replaced by
        ones that leave alone what was loaded. It builds models on memory that holds anything, so nothing may be left
        out.
        """
        if isinstance(module, nn.Conv2d | nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, nn.Linear | CoaT):
            initialize(module)
