"""CoaT under the names of transformers' automatic classes, for use with its heads in any code."""

from __future__ import annotations

from coatseg.system.extras import needs


def register_transformers() -> None:
    """Register `CoaTConfig` and `CoaTBackbone` of coatseg.models.transformers_backbone under "coatseg".

    `AutoConfig.for_model("coatseg", variant="coat_small", out_features=[...])` is then a `backbone_config` for the
    heads of transformers that take one, and what these have saved is loaded by their `from_pretrained`. A second call
    changes nothing.

    Raises:
        ConfigError: transformers is not installed.
    """
    needs("coatseg.register_transformers()", "query", "transformers")
    from transformers import AutoBackbone, AutoConfig, AutoModel

    from coatseg.models.transformers_backbone import CoaTBackbone, CoaTConfig

    AutoConfig.register(CoaTConfig.model_type, CoaTConfig, exist_ok=True)
    for automatic in (AutoBackbone, AutoModel):  # AutoModel loads a folder; AutoBackbone asks the hub for it first
        automatic.register(CoaTConfig, CoaTBackbone, exist_ok=True)
