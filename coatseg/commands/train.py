"""`python train.py ...` or `coatseg train ...`: compose the configuration, then fit."""

from __future__ import annotations

import sys
from typing import Any, cast

import hydra
from omegaconf import DictConfig, OmegaConf

from coatseg.commands.composition import config_folder, job_name, open_nested_keys, typed_hydra_errors
from coatseg.commands.console import friendly_errors, quiet_libraries


def main() -> None:
    """Read the command line and train."""
    sys.argv[1:] = open_nested_keys(sys.argv[1:])
    with friendly_errors(), typed_hydra_errors():
        compose()


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")
def compose(config: DictConfig) -> None:
    """Run one job with its composed configuration."""
    with friendly_errors():  # here too: past Hydra, an error would come out with lines of its own
        config.name = job_name(config)
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        from coatseg.commands.fit import fit  # torch and Lightning take seconds that --help does not need

        quiet_libraries()
        fit(cast(dict[str, Any], plain))


if __name__ == "__main__":
    main()
