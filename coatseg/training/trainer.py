"""The Lightning Trainer of a run, with everything that coatseg decides for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from coatseg.errors import ConfigError
from coatseg.training.checkpoints import WholeCheckpointIO


def make_trainer(
    options: Mapping[str, Any], callbacks: Sequence[lightning.Callback] = (), loggers: Sequence[Logger] = ()
) -> lightning.Trainer:
    """Make the Trainer: our sample stream, our checkpoints, our progress bar; the rest as `options` say.

    Raises:
        ConfigError: Lightning refuses an option.
    """
    try:
        return lightning.Trainer(
            **options,
            callbacks=list(callbacks),
            logger=list(loggers),
            plugins=[WholeCheckpointIO()],
            use_distributed_sampler=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(
            f"trainer: {str(error).splitlines()[0]}", "See the arguments of lightning.Trainer."
        ) from error
