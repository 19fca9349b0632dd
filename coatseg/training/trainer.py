"""The Lightning Trainer of a run, with everything that coatseg decides for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger

from coatseg.errors import ConfigError
from coatseg.training.checkpoints import WholeCheckpointIO

AUTO = "auto"


def automatic_precision(accelerator: Any) -> str:
    """Choose bf16-mixed where the processor that will train computes in bfloat16, else 32-true."""
    if torch.cuda.is_available() and accelerator in (AUTO, "gpu", "cuda"):
        computes = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        computes = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    return "bf16-mixed" if computes else "32-true"


def make_trainer(
    options: Mapping[str, Any], callbacks: Sequence[lightning.Callback] = (), loggers: Sequence[Logger] = ()
) -> lightning.Trainer:
    """Make the Trainer: our sample stream, our checkpoints, our progress bar; the rest as `options` say.

    Raises:
        ConfigError: Lightning refuses an option.
    """
    if options.get("precision") == AUTO:
        options = {**options, "precision": automatic_precision(options.get("accelerator", AUTO))}
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
