import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

ROOT = Path(__file__).parent.parent
TINY_SCENES = (
    "data=scenes",
    "data.size=[64,64]",
    "data.train_images=16",
    "data.val_images=3",
    "data.augmentations.crop.size=[64,64]",
    "data.batch_size=4",
    "data.workers=0",
)
TINY = ("backbone=coat_lite_tiny", "head.width=32", "head.pyramid_width=16", *TINY_SCENES)
"""Overrides that make a run of four steps an epoch, a second long."""


WANTED = {
    "real": ("COATSEG_REAL_DATA", "names no folder of real data"),
    "tools": ("COATSEG_TOOLS_PYTHON", "names no python that has other people's tools"),
}
"""What tests with a marker find by an environment variable, and what is said where it is not set."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, (variable, lacks) in WANTED.items():
        if variable in os.environ:
            continue
        for item in items:
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=f"{variable} {lacks}"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def composed(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Compose a plain configuration as the command line would; runs go to a temporary folder."""
    from coatseg.commands.terminal.composition import open_nested_keys, without_unfit_loss

    def compose_plain(*overrides: str) -> dict[str, Any]:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            config = compose("train", open_nested_keys([*overrides, f"output={tmp_path}/runs"]))
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        return without_unfit_loss(plain, overrides)  # type: ignore[arg-type]

    return compose_plain


@pytest.fixture
def command() -> list[str]:
    """The command that a user types, with this interpreter."""
    return [sys.executable, str(ROOT / "train.py")]
