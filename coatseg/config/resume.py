"""Check that a run can go on from a checkpoint: model, data and sample stream are those of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coatseg.config.restore import checkpoint_record
from coatseg.errors import CheckpointError, listed
from coatseg.training.callbacks.averaging import RAW_STATE
from coatseg.training.callbacks.checkpoints import RECORD, read_checkpoint

FIXED = ("backbone", "head", "auxiliary", "task", "data", "loss", "optimizer", "seed")
"""The sections that a resumed run must share with its checkpoint; others, such as trainer, may change.

With another `inference`, later validations are scored in another way than the best one so far, whose checkpoint stays
until its score is beaten.
"""
WHERE_NOT_WHAT = (
    "root", "download", "workers", "evaluation_batch_size", "pretrained", "boundary_iou", "threshold"
)  # fmt: skip
"""Options of these sections that do not change what is learnt, or only matter at the start."""


def check_resumable(path: Path, config: Mapping[str, Any], classes: tuple[str, ...], train_samples: int) -> None:
    """Raise CheckpointError if the model, data or sample stream of a checkpoint differ from the configuration's."""
    checkpoint = read_checkpoint(path)
    trained, info = checkpoint_record(checkpoint, path)
    theirs = info.classes
    if theirs != classes:
        raise CheckpointError(
            f"{path} was trained on {len(theirs)} classes ({listed(theirs)}), "
            f"the data has {len(classes)} ({listed(classes)}).",
            "Resume with the data it was trained on, or start a new run with another name=....",
        )
    differing = [line for section in FIXED for line in _differences(section, trained, config)]
    parts = [{"accumulate_grad_batches": 1, **settings["trainer"]} for settings in (trained, config)]
    differing += [f"trainer.{line}" for line in _differences("accumulate_grad_batches", *parts)]
    samples = checkpoint[RECORD].get("train_samples")
    if samples != train_samples:
        differing.append(f"{samples} training samples, not {train_samples}")
    if differing:
        raise CheckpointError(
            f"{path} was trained with other settings: {'; '.join(differing)}.",
            "Resume with its settings (config.yaml in its run folder), or start a new run with another name=....",
        )
    if RAW_STATE in checkpoint and config["callbacks"].get("ema") in (None, False):
        raise CheckpointError(
            f"{path} was trained with callbacks.ema, which is off here.",
            "Add callbacks.ema={}, or start a new run with another name=....",
        )


def _differences(key: str, theirs: Any, ours: Any) -> list[str]:
    """Return a line `key=theirs, not ours` for every leaf below `key` that differs."""
    a, b = theirs.get(key), ours.get(key)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        inner = [name for name in {**a, **b} if name not in WHERE_NOT_WHAT]
        return [f"{key}.{line}" for name in inner for line in _differences(name, a, b)]
    return [] if a == b or repr(a) == repr(b) else [f"{key}={a}, not {b}"]  # nan is not equal to itself
