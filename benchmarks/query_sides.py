"""Both sides of a comparison of query heads in training: coatseg's task, and transformers' model on the same CoaT."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.composed import Config
from benchmarks.query_peers import EVERY_LAYER, PEERS
from benchmarks.sides import precision
from coatseg.commands.terminal.composition import compose_typed
from coatseg.config.build import build_task
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.data.loading.module import DataModule
from coatseg.structures import Batch, Size
from coatseg.tasks.base import Task
from coatseg.training.trainer import make_trainer

OURS, PEER = "coatseg", "transformers"


class Side:
    """A model in training: `loss` of a batch, and steps of its optimizer at a precision."""

    def __init__(self, model: nn.Module, loss: Callable[[Batch], Tensor], optimizer: Any, clip: float, at: str) -> None:
        self.model = model.train()
        self.loss = loss
        self.optimizer = optimizer
        self.clip = clip
        self.at = at

    def step(self, batch: Batch) -> float:
        """Do a step, and return the loss."""
        self.optimizer.zero_grad()
        with precision(self.at):
            loss = self.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip)
        self.optimizer.step()
        return float(loss.detach())


class Setting:
    """What both sides of a comparison are built from: a configuration of coatseg, read, and its data."""

    def __init__(self, head: str, size: Size, arguments: argparse.Namespace, at: str, backbone: str = "") -> None:
        height, width = size
        self.peer, self.at, self.arguments = PEERS[head], at, arguments
        self.config: Config = compose_typed(
            [
                f"task={self.peer.task}", f"head={'small_' if arguments.small else ''}{head}", "logger=none",
                *(f"backbone={arguments.variant}",) * (not backbone), *backbone.split(),
                f"data.size=[{height},{width}]", f"data.batch_size={arguments.batch}", "data.workers=0",
                f"data.val_images={arguments.val_images}", "data.augmentations.crop=null", "trainer.accelerator=cpu",
            ]
        )  # fmt: skip
        self.plan = read(self.config)
        self.data: DataModule = build_data(self.plan)
        self.data.trainer = make_trainer({"accelerator": "cpu", "devices": 1, "precision": "32-true"})
        torch.manual_seed(0)
        self.task: Task = build_task(self.plan.task, self.data.info, arguments.steps)
        self.task.trainer = self.data.trainer

    @property
    def numbers(self) -> tuple[int, ...]:
        """The class numbers that the heads tell apart."""
        return self.task.class_numbers(self.data.info)

    def batches(self, count: int) -> list[Batch]:
        """Return the first batches of the training stream."""
        batches = list(islice(self.data.train_dataloader(), count))
        if len(batches) < count:
            raise RuntimeError(f"an epoch has {len(batches)} steps, not {count}")
        return [part for step in batches for part in (step if isinstance(step, list) else [step])]

    def ours(self) -> Side:
        """Return coatseg's side."""
        task = self.task

        def loss(batch: Batch) -> Tensor:
            return torch.stack(list(task.losses(batch).values())).sum()

        optimizer: Any = task.configure_optimizers()
        return Side(task.model, loss, optimizer["optimizer"], self._clip, self.at)

    def theirs(self) -> Side:
        """Return the library's side, whose backbone starts from the weights of ours."""
        torch.manual_seed(0)
        options = EVERY_LAYER if self.arguments.every_layer else {}
        model = self.peer.build(self.arguments.variant, len(self.numbers), **options)
        (coat,) = (part.coat for part in model.modules() if hasattr(part, "coat"))
        coat.load_state_dict(self.task.model.backbone.state_dict())

        def loss(batch: Batch) -> Tensor:
            outputs = model(pixel_values=batch.images, **self.peer.labels(batch, self.numbers))
            return outputs.loss.squeeze()

        rates = {key: self.config["optimizer"][key] for key in ("lr", "weight_decay")}
        return Side(model, loss, torch.optim.AdamW(model.parameters(), **rates), self._clip, self.at)

    def predictions(self, side: str, model: nn.Module, batch: Batch) -> list[Any]:
        """Return a side's predictions of a batch, in evaluation mode."""
        with torch.inference_mode(), precision(self.at):
            if side == OURS:
                return self.task.predict(batch)
            outputs = model(pixel_values=batch.images)
        return self.peer.read(outputs, batch, self.data.info, self.numbers)

    @property
    def _clip(self) -> float:
        return float(self.config["trainer"]["gradient_clip_val"])


SIDES: Mapping[str, Callable[[Setting], Side]] = {OURS: Setting.ours, PEER: Setting.theirs}
