"""The Lightning Trainer of a run, and the Fabric of shared work, with all settings that coatseg decides."""

from __future__ import annotations

import atexit
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CUDAAccelerator, MPSAccelerator
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies import DDPStrategy as TrainerDDPStrategy

from coatseg.errors import ConfigError
from coatseg.training.callbacks.checkpoints import WholeCheckpointIO

AUTO = "auto"
ANYWHERE = {"accelerator": AUTO, "devices": 1}
"""Defaults in place of a checkpoint's trainer, which may ask for another machine; only its precision is kept."""
PRECISIONS = (AUTO, "bf16-mixed", "16-mixed", "32-true")
SHORT_PRECISIONS = (None, "bf16", "16", "32", 16, 32)
"""Other values that Lightning takes for some of these precisions."""

NATIVE_BF16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Names of the instructions that compute in bfloat16, of x86 and of ARM, as torch and Linux call them."""


PATIENCE = timedelta(days=7)
"""How long a process waits for the others, where they have unequal shares of the work."""


class Precision(NamedTuple):
    """A precision by Lightning's name, and why it was chosen."""

    name: str
    reason: str


def processor(accelerator: Any) -> str:
    """Return what will train, as Lightning decides it: cuda, mps, cpu, or whatever else `accelerator` names."""
    if accelerator not in (AUTO, "gpu"):
        return str(accelerator)
    accelerators = {"mps": MPSAccelerator, "cuda": CUDAAccelerator}
    return next((name for name, kind in accelerators.items() if kind.is_available()), "cpu")


def automatic_precision(accelerator: Any) -> Precision:
    """Return bf16-mixed if the processor that will train computes natively in bfloat16, else 32-true."""
    trains = processor(accelerator)
    if trains == "cuda" and torch.cuda.is_available():
        device, native = torch.cuda.get_device_name(), torch.cuda.is_bf16_supported(including_emulation=False)
    elif trains == "cpu":
        found = native_bf16(cpu_capabilities())
        device, native = f"this CPU ({found})" if found else "this CPU", found is not None
    else:
        device, native = trains, False
    if native:
        return Precision("bf16-mixed", f"{device} computes natively in bfloat16")
    return Precision("32-true", f"{device} is not known to compute natively in bfloat16")


def native_bf16(capabilities: Collection[str]) -> str | None:
    """Return the instructions by which a CPU with these capabilities computes in bfloat16; None if torch uses none.

    It is oneDNN that uses them: torch without it, as on a Mac, converts to float32 and back.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return None
    return next((name for name in NATIVE_BF16 if name in capabilities), None)


def cpu_capabilities(listing: Path = Path("/proc/cpuinfo")) -> set[str]:
    """Return the names of the CPU's instruction sets, by torch or, if torch is too old, by the system's `listing`."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name for name, has in torch.cpu.get_capabilities().items() if has}
    if not listing.is_file():
        return set()
    lines = (line.partition(":") for line in listing.read_text().splitlines())
    return {word for key, _, words in lines if key.strip() in ("flags", "Features") for word in words.split()}


def make_trainer(
    options: Mapping[str, Any],
    callbacks: Sequence[lightning.Callback] = (),
    loggers: Sequence[Logger] = (),
    *,
    patient: bool = False,
) -> lightning.Trainer:
    """Build the Trainer, with coatseg's own sample stream and checkpoints; all else is as `options` say.

    If `patient`, processes wait for each other as long as it takes; else the others end soon after one is lost.

    Raises:
        ConfigError: Lightning refuses an option.
    """
    if options.get("precision") == AUTO:
        options = {**options, "precision": automatic_precision(options.get("accelerator", AUTO)).name}

    def made(**changed: Any) -> lightning.Trainer:
        return lightning.Trainer(
            **{**options, **changed},
            callbacks=list(callbacks),
            logger=list(loggers),
            plugins=[WholeCheckpointIO()],
            use_distributed_sampler=False,
            enable_model_summary=False,
        )

    with lightning_refuses("lightning.Trainer"):
        trainer = made()
        if patient and isinstance(trainer.strategy, TrainerDDPStrategy):
            trainer = made(strategy=TrainerDDPStrategy(timeout=PATIENCE))
        return trainer


def make_fabric(options: Mapping[str, Any]) -> lightning.Fabric:
    """Build the Fabric that launches processes, which wait for each other as long as it takes; else as `options` say.

    Raises:
        ConfigError: Lightning refuses an option.
    """
    with lightning_refuses("lightning.Fabric"):
        fabric = lightning.Fabric(**options)
        if isinstance(fabric.strategy, DDPStrategy):
            fabric = lightning.Fabric(**{**options, "strategy": DDPStrategy(timeout=PATIENCE)})
        return fabric


@contextmanager
def lightning_refuses(what: str) -> Iterator[None]:
    """Turn Lightning's errors about the options of `what` into a ConfigError."""
    try:
        yield
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"trainer: {str(error).splitlines()[0]}", f"See the arguments of {what}.") from error


@atexit.register
def leave_processes() -> None:
    """End the connection with the other processes of a distributed run on CPUs, when this process ends.

    Lightning ends that of GPUs only, and the threads of one that is left open may abort a process that has done all of
    its work ("terminate called without an active exception").
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized() and distributed.get_backend() == "gloo":
        distributed.destroy_process_group()
