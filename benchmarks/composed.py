"""Configurations composed as the command line does."""

from __future__ import annotations

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from coatseg.commands.terminal.composition import config_folder, open_nested_keys

Config = dict[str, Any]


def composed(*overrides: str) -> Config:
    """Return the configuration that `python train.py OVERRIDES` would compose."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = compose("train", open_nested_keys(list(overrides)))
    return dict(OmegaConf.to_container(config, resolve=True))
