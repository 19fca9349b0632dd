"""Checkpoints of a run: last, previous and best; each is written whole and holds what builds the model again."""

from __future__ import annotations

import io
import math
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from coatseg.errors import CheckpointError
from coatseg.registry.names import register
from coatseg.registry.options import PositiveInt
from coatseg.structures import Batch
from coatseg.system.atomic import not_written, whole_file

RECORD = "coatseg"
"""The key in a checkpoint for its configuration and the facts of its dataset, as plain containers."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints, each whole or not at all."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Serialise in memory first, so that an error of the disk is raised as one, not as one of the serialiser."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        with whole_file(Path(path)) as file:
            file.write(buffer.getbuffer())


@register("callback", "checkpoints")
class Checkpoints(Checkpoint):
    """Keeps last.ckpt, previous.ckpt and best.ckpt in the folder `checkpoints`.

    last.ckpt is written every `every_steps` optimizer steps, after each validation and at the end; the one before it
    becomes previous.ckpt. best.ckpt has the highest `monitor` (a logged name). Every checkpoint holds `record` under
    RECORD.
    """

    def __init__(
        self, checkpoints: Path, *, monitor: str, record: Mapping[str, Any], every_steps: PositiveInt = 500
    ) -> None:
        self.folder = checkpoints
        self.monitor = monitor
        self.record = record
        self.every_steps = every_steps
        self.best_score: float | None = None
        self._saved_step = -1

    def state_dict(self) -> dict[str, Any]:
        """Return the best score so far, which is kept when the run is resumed."""
        return {"best_score": self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the best score of the run that is resumed."""
        self.best_score = state_dict["best_score"]

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Forget the best score if its checkpoint is not here, as after resuming into another folder."""
        if not (self.folder / "best.ckpt").exists():
            self.best_score = None

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the record to a checkpoint."""
        checkpoint[RECORD] = dict(self.record)

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Save after every `every_steps` optimizer steps, and when trainer.max_steps ends the run.

        When max_steps ends a run, Lightning counts the epoch as done, though resuming may have to continue in the
        middle of it.
        """
        step_ended = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        due = trainer.global_step % self.every_steps == 0 or trainer.global_step == trainer.max_steps
        if step_ended and due and not _validates_next(trainer, batch_idx):
            self._save_last(trainer)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save after a validation, and keep the checkpoint as the best if its score is."""
        if trainer.state.fn != TrainerFn.FITTING or trainer.sanity_checking:
            return
        score = float(trainer.callback_metrics[self.monitor])
        best = not math.isnan(score) and (self.best_score is None or score > self.best_score)
        if best:
            self.best_score = score
        self._saved_step = -1  # what was saved at this step lacks the new score
        self._save_last(trainer)
        if best and trainer.is_global_zero:
            _share(self.folder / "last.ckpt", self.folder / "best.ckpt")
        trainer.strategy.barrier()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save at the end of the run, unless a validation just did."""
        self._save_last(trainer)

    def _save_last(self, trainer: lightning.Trainer) -> None:
        if self._saved_step == trainer.global_step:
            return
        new = self.folder / ".new.ckpt"
        trainer.save_checkpoint(new)
        if trainer.is_global_zero:
            last = self.folder / "last.ckpt"
            if last.exists():
                last.replace(self.folder / "previous.ckpt")
            new.replace(last)
        self._saved_step = trainer.global_step
        trainer.strategy.barrier()


def _validates_next(trainer: lightning.Trainer, batch_idx: int) -> bool:
    """Return whether a validation may follow this batch: it saves by itself, and a resumed run must not skip it."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_batch
    if every is None:  # Lightning then counts batches over the epochs, whose ends mean nothing
        return interval is not None and (trainer.fit_loop.epoch_loop.total_batch_idx + 1) % interval == 0
    if (trainer.current_epoch + 1) % every:
        return False
    ends_epoch = batch_idx + 1 == trainer.num_training_batches
    return ends_epoch or (interval is not None and (batch_idx + 1) % interval == 0)


def newest(folder: Path) -> Path | None:
    """Return the last readable checkpoint of a folder: last.ckpt, or previous.ckpt if that is missing or damaged."""
    for name in ("last.ckpt", "previous.ckpt"):
        path = folder / name
        if path.exists() and _readable(path):
            return path
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU, without running code from it.

    Raises:
        CheckpointError: it is missing, damaged, holds other objects than plain ones, or was not written by coatseg.
    """
    if not path.is_file():
        within = path / "checkpoints" if (path / "checkpoints").is_dir() else path
        raise CheckpointError(
            f"{path} is a folder." if path.is_dir() else f"There is no checkpoint at {path}.",
            _others(within / "any" if path.is_dir() else path),
        )
    if path.suffix == ".onnx":
        raise CheckpointError(
            f"{path} is an exported model, from which images are predicted and nothing else.",
            "Give the checkpoint that it was made of.",
        )
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not verify checksums of a file that it maps
            if (damaged := archive.testzip()) is not None:
                raise CheckpointError(f"{path} is damaged, in {damaged}.", "previous.ckpt beside it may be whole.")
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds other Python objects than tensors and plain containers, which are not loaded.",
            "Take a checkpoint of coatseg, or a file of weights alone.",
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint.",
            "It may be cut off or of another kind; previous.ckpt beside it may be whole.",
        ) from error
    if not isinstance(checkpoint, dict) or RECORD not in checkpoint:
        raise CheckpointError(
            f"{path} is no checkpoint of coatseg: it holds no config.",
            "A file of weights alone goes to backbone.pretrained=PATH, one of a whole detector to weights=PATH.",
        )
    return checkpoint


def _others(path: Path) -> str:
    found = sorted(str(other) for other in path.parent.glob("*.ckpt")) if path.parent.is_dir() else []
    return f"There are: {', '.join(found)}." if found else "A run keeps its own under runs/NAME/checkpoints/."


def _readable(path: Path) -> bool:
    try:
        read_checkpoint(path)
    except CheckpointError:
        return False
    return True


def _share(source: Path, target: Path) -> None:
    """Make `target` have the content of `source`: by a hard link if the file system has them, else by a copy."""
    temporary = target.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    try:
        _link_or_copy(source, temporary)
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise not_written(target, error) from error


def _link_or_copy(source: Path, target: Path) -> None:
    link: Callable[[Path, Path], Any] = os.link
    try:
        link(source, target)
    except OSError:
        shutil.copyfile(source, target)
