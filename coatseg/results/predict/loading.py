"""Load a checkpoint, or several, as a predictor: `coatseg.load(checkpoint)`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coatseg.config.restore import Trained, read_trained
from coatseg.data.images.size_limit import MAX_PIXELS
from coatseg.errors import CheckpointError, ConfigError
from coatseg.registry.names import load_plugins
from coatseg.registry.options import NonNegativeInt, PositiveFloat, PositiveInt, Share, fitting
from coatseg.results.export.onnx_model import restore_onnx
from coatseg.results.predict.predictor import Predictor
from coatseg.structures import Outputs, Size
from coatseg.tasks.dense import DenseTask
from coatseg.tasks.inference.views import Activation


def load(
    checkpoint: str | Path | Sequence[str | Path],
    *,
    inference: Mapping[str, Any] | None = None,
    score_threshold: float | None = None,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    level: int | None = None,
    microns: float | None = None,
    device: str | torch.device | None = None,
    plugins: Sequence[str] = (),
) -> Predictor:
    """Return a predictor of a checkpoint, or of several, whose probabilities are averaged.

    A file that ends in .onnx goes to `load_onnx`.

    `inference` changes options of the checkpoint's own inference, such as {"window": [512, 512], "flip": True}. `level`
    or `microns` choose another level of slides and pyramids than the checkpoint was trained on. The
    `device` is by default an accelerator if there is one, else the CPU. A checkpoint runs no code and imports nothing:
    name modules of your own that it needs as `plugins`. For other options see Predictor.

    Raises:
        CheckpointError: one is missing, damaged, not coatseg's, or does not go with the others.
        ConfigError: an option does not fit.
    """
    options: dict[str, Any] = {
        "score_threshold": fitting(score_threshold, Share | None, "score_threshold"),
        "batch_size": fitting(batch_size, PositiveInt, "batch_size"),
        "max_pixels": fitting(max_pixels, PositiveInt, "max_pixels"),
        **level_options(level, microns),
    }
    if isinstance(checkpoint, str | Path) and Path(checkpoint).suffix == ".onnx":
        if plugins or torch.device(device or "cpu").type != "cpu":
            raise ConfigError(f"{checkpoint} runs on the CPU, with no code of yours.", "Leave device and plugins out.")
        return load_onnx(checkpoint, inference=inference, **options)
    load_plugins(list(plugins))
    paths = [checkpoint] if isinstance(checkpoint, str | Path) else list(checkpoint)
    if not paths:
        raise ConfigError("There is no checkpoint to load.", "Give one path, or a list of them.")
    found = [_read(Path(path), inference or {}) for path in paths]
    _check_alike(found)
    first = found[0]
    task = first.build()
    if isinstance(task, DenseTask) and len(found) > 1:
        task.model = MeanModel([task.model, *(other.build().model for other in found[1:])], task.activation)
    return Predictor(
        task.to(device or torch.accelerator.current_accelerator(check_available=True) or "cpu"),
        **{**first.images, **options},
        weights=[fingerprint(one.path) for one in found],
        precision=str(first.config["trainer"].get("precision", "auto")),
    )


def load_onnx(
    model: str | Path,
    *,
    inference: Mapping[str, Any] | None = None,
    score_threshold: float | None = None,
    batch_size: int = 1,
    max_pixels: int = MAX_PIXELS,
    level: int | None = None,
    microns: float | None = None,
) -> Predictor:
    """Return a predictor of an ONNX file that coatseg exported; the options are those of `load`.

    Raises:
        CheckpointError: it is missing or damaged, or coatseg did not write it.
        ConfigError: an option does not fit, or ONNX Runtime is not installed.
    """
    path = Path(model)
    task, data = restore_onnx(path, inference or {})
    return Predictor(
        task,
        **{**data, **level_options(level, microns)},
        score_threshold=fitting(score_threshold, Share | None, "score_threshold"),
        batch_size=fitting(batch_size, PositiveInt, "batch_size"),
        max_pixels=fitting(max_pixels, PositiveInt, "max_pixels"),
        weights=[fingerprint(path)],
        precision="32-true",
    )


def level_options(level: int | None, microns: float | None) -> dict[str, Any]:
    """Return the options of which level is read, checked; none where neither is given, so that data's own stay."""
    if level is None and microns is None:
        return {}
    return {
        "level": fitting(level, NonNegativeInt | None, "level"),
        "microns": fitting(microns, PositiveFloat | None, "microns"),
    }


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path, inference: Mapping[str, Any]) -> Trained:
    """Read a checkpoint, and change options of its inference."""
    trained = read_trained(path)
    return replace(
        trained, config={**trained.config, "inference": {**(trained.config.get("inference") or {}), **inference}}
    )


def _check_alike(found: Sequence[Trained]) -> None:
    """Raise CheckpointError if checkpoints cannot be averaged."""
    first = found[0]
    for other in found[1:]:
        facts = {
            "task": other.plan.kind is first.plan.kind,
            "classes": other.info.classes == first.info.classes,
            "mean and std of images": (other.info.mean, other.info.std) == (first.info.mean, first.info.std),
            **{f"data.{key}": value == first.images[key] for key, value in other.images.items()},
        }
        if different := [name for name, same in facts.items() if not same]:
            raise CheckpointError(
                f"{other.path} and {first.path} differ in their {different[0]}.",
                "Average checkpoints of the same task and data.",
            )
    if len(found) > 1 and not issubclass(first.plan.kind, DenseTask):
        raise CheckpointError(
            f"{first.path} finds objects or segments, and what is averaged of several are classes of pixels.",
            "Give one checkpoint.",
        )


class MeanModel(nn.Module):
    """Several models as one, whose logits are those of the mean of their probabilities."""

    def __init__(self, models: Sequence[nn.Module], activation: Activation) -> None:
        super().__init__()
        self.models = nn.ModuleList(models)
        self.activation = activation

    def forward(self, images: Tensor, sizes: Sequence[Size] | None = None) -> Outputs:
        """Return the logits for images (B, C, H, W), whose valid sizes are `sizes` if they are padded."""
        total: Tensor | None = None
        for model in self.models:
            shares = self.activation.probabilities(model(images, sizes).logits)
            total = shares if total is None else total + shares
        assert total is not None
        return Outputs(self.activation.logits(total / len(self.models)))
