"""Measure the forward pass of a task's model, or its training step, for `coatseg benchmark`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import lightning
import torch

from coatseg.data.loading.random_batches import random_batch
from coatseg.errors import ConfigError
from coatseg.structures import Batch, DatasetInfo, Size
from coatseg.system.measuring import Measured, measure
from coatseg.tasks.base import Task

WARMING_SIDE = 64


def placed(task: Task, trainer: lightning.Trainer) -> torch.device:
    """Move a task to the trainer's device in the trainer's precision, and return the device."""
    task.trainer = trainer
    trainer.precision_plugin.convert_module(task)
    device: torch.device = trainer.strategy.root_device
    task.to(device)
    return device


def measured_at(
    task: Task,
    info: DatasetInfo,
    trainer: lightning.Trainer,
    size: Size,
    batch: int,
    train: bool,
    repeats: int,
    warm_up: int,
) -> Measured:
    """Return time and memory at one size, measured after a small pass for which the libraries load what they need.

    Raises:
        ConfigError: the images are too large for the device's memory.
    """
    make = _training_step if train else _forward_pass
    device = trainer.strategy.root_device
    try:
        make(task, trainer, random_batch(info, task.needs, min(batch, 2), (WARMING_SIDE, WARMING_SIDE)).to(device))()
        task.zero_grad()  # gradients are not part of the loaded model
        work = make(task, trainer, random_batch(info, task.needs, batch, size).to(device))
        return measure(work, repeats=repeats, warm_up=warm_up, device=device)
    except torch.OutOfMemoryError as error:
        height, width = size
        raise ConfigError(
            f"{batch} images of {height}x{width} are too large for the memory of {device}.", "Lower batch= or size=."
        ) from error


def _forward_pass(task: Task, trainer: lightning.Trainer, batch: Batch) -> Callable[[], None]:
    task.eval()
    images = trainer.precision_plugin.convert_input(batch.images)

    def forward() -> None:
        with torch.inference_mode(), trainer.precision_plugin.forward_context():
            task.model(images)

    return forward


def _training_step(task: Task, trainer: lightning.Trainer, batch: Batch) -> Callable[[], None]:
    task.train()
    optimizer = cast(dict[str, Any], task.configure_optimizers())["optimizer"]
    batch = trainer.precision_plugin.convert_input(batch)

    def step() -> None:
        optimizer.zero_grad()
        with trainer.precision_plugin.forward_context():
            loss = torch.stack(list(task.losses(batch).values())).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step
