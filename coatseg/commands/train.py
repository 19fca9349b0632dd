"""`python train.py ...` or `coatseg train ...`: compose the configuration, then fit; with -m, once for each job."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, cast

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from coatseg.commands.sweep import Outcome, Sweep, is_sweep
from coatseg.commands.terminal.composition import (
    config_folder,
    job_name,
    open_nested_keys,
    typed_hydra_errors,
    without_unfit_loss,
)
from coatseg.commands.terminal.console import friendly_errors, quiet_libraries

AFTER_STOP = "With resume=auto it goes on from its last checkpoint."


def main() -> None:
    """Read the command line and train."""
    sys.argv[1:] = open_nested_keys(sys.argv[1:])
    sweep = Sweep(sys.argv[1:])

    @hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")
    def compose(config: DictConfig) -> float | None:
        """Run one job with its composed configuration, and return the score that a search maximises."""
        with friendly_errors(AFTER_STOP):  # here too: past Hydra, an error would come out with lines of its own
            job = HydraConfig.get()
            config.name = job_name(config)
            typed = list(job.overrides.task)
            return (
                sweep.run(job, config.name, lambda: train(config, typed))
                if is_sweep(job)
                else train(config, typed).score
            )

    with friendly_errors(AFTER_STOP), typed_hydra_errors():
        compose()
        sweep.conclude()


def train(config: DictConfig, typed: Sequence[str] = ()) -> Outcome:
    """Train, and return the run's folder and the best checkpoint's validation score by the task's monitored metric.

    `typed` are the arguments of the command line.
    """
    composed = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True, throw_on_missing=True))
    from coatseg.commands.fit import FOLDER_VARIABLE, fit
    from coatseg.registry.names import constructor_of

    quiet_libraries()
    plain = without_unfit_loss(composed, typed)
    summary = fit(plain).summary()
    monitor: str = constructor_of("task", plain["task"]["name"]).monitor  # type: ignore[attr-defined]
    return Outcome(os.environ[FOLDER_VARIABLE], monitor, summary[monitor.removeprefix("val/")])


if __name__ == "__main__":
    main()
