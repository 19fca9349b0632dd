"""A whole training loop, from files to weights: coatseg against plain smp, timm and albumentations, on the CPU.

    python -m benchmarks.loop

Generated street scenes are written as CamVid's PNG files to a temporary folder, and both sides train CoaT-Lite Tiny
under FPN on them, a pass over all files each in turn:
- coatseg: what `python train.py backbone=coat_lite_tiny head=fpn loss=cross_entropy data=camvid` builds, its data
  module, task and Lightning trainer, without validation, checkpoints and logs on the disk.
- plain: a torch DataLoader over cv2.imread and albumentations' own steps (see benchmarks/loading.py), smp.FPN over
  timm's backbone, torch's cross entropy and AdamW, gradients clipped to the same norm, in a loop of a few lines.

Batches, crops, precision, allocator and the number of workers are the same; everything that a side makes anew for a
pass (loader, optimizer, trainer) counts. What of a pass is loading and what is the step, benchmarks/loading.py and
benchmarks/training.py tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import segmentation_models_pytorch as smp
import torch
from torch import nn
from torch.nn import functional

from benchmarks.composed import Config, composed
from benchmarks.loading import OURS, albumentations_own, folder, pairs, plain_loader
from benchmarks.options import ALLOCATORS, parse, parser, shown, size
from benchmarks.sides import PRECISIONS, precision
from benchmarks.tables import Table, milliseconds, publish
from benchmarks.timing import in_turn, speedup
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.build import build_task
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.data.datasets.camvid import INFO
from coatseg.models.backbones.variants import VARIANTS
from coatseg.system.allocator import keep_memory
from coatseg.training.trainer import make_trainer

PLAIN = "plain"
QUICK = {"crop": (192, 256), "images": 16, "repeats": 2}
LIGHTNING = {"float32": "32-true", "bf16": "bf16-mixed"}


def main(argv: Sequence[str] | None = None) -> None:
    """Train both sides in turn in each precision, and print a table."""
    made = parser("loop", __doc__, repeats=5)
    made.add_argument("--variant", choices=VARIANTS, default="coat_lite_tiny")
    made.add_argument("--images", type=int, default=40, help="how many files a pass reads")
    made.add_argument("--crop", type=size, default=(384, 480), help="height and width of what is trained on")
    made.add_argument("--batch", type=int, default=4)
    made.add_argument("--workers", type=int, default=0, help="processes that read, of both sides")
    made.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--allocator", choices=ALLOCATORS, default="kept", help="of both sides")
    arguments = parse(made, QUICK, argv)
    quiet_libraries()
    if arguments.allocator == "kept" and not keep_memory():
        made.error("the allocator cannot keep memory here: add --allocator default")

    steps = arguments.images // arguments.batch
    records = []
    with folder(None, arguments.images) as root:
        config = composed(
            f"backbone={arguments.variant}", "head=fpn", "loss=cross_entropy", "logger=none", "data=camvid",
            f"data.root={root}", f"data.batch_size={arguments.batch}", f"data.workers={arguments.workers}",
            f"data.augmentations.crop.size=[{arguments.crop[0]},{arguments.crop[1]}]",
        )  # fmt: skip
        plain = smp.FPN(
            f"tu-{arguments.variant}", encoder_weights=None, img_size=arguments.crop, classes=len(INFO.classes)
        )
        for at in arguments.precisions:
            sides = {OURS: our_pass(config, at, steps), PLAIN: plain_pass(plain, config, root, at)}
            seconds = in_turn(sides, arguments.repeats, warm_up=1)
            records.append({"precision": at, "seconds": seconds, "ratio": speedup(seconds[PLAIN], seconds[OURS])})
    columns = {
        "training loop": lambda row: row["precision"],
        "coatseg (ms a step)": lambda row: milliseconds(median(row["seconds"][OURS]) / steps),
        "plain (ms a step)": lambda row: milliseconds(median(row["seconds"][PLAIN]) / steps),
        "ratio": lambda row: str(row["ratio"]),
    }
    compared = (
        f"{arguments.variant} under fpn, {steps} steps of {arguments.batch} crops of {shown(arguments.crop)} a pass, "
        f"{arguments.workers} workers. Medians; ratios are the plain side's time over ours, in brackets the quartiles "
        f"over the passes."
    )
    title = f"In turn in one process, allocator {arguments.allocator} for both"
    publish("loop", compared, [Table(title, columns, records)], arguments)


def our_pass(config: Config, at: str, steps: int) -> Callable[[], None]:
    """Return a function that makes a pass of coatseg's trainer over its data."""
    data = build_data(read(config))
    task = build_task(read(config).task, INFO, steps, epoch=steps)
    options = {**config["trainer"], "accelerator": "cpu", "precision": LIGHTNING[at], "max_epochs": 1}
    unmeasured = {"limit_val_batches": 0, "enable_checkpointing": False, "enable_progress_bar": False}

    def work() -> None:
        trainer = make_trainer({**options, **unmeasured})
        trainer.fit(task, datamodule=data)
        if trainer.global_step != steps:
            raise RuntimeError(f"our side took {trainer.global_step} steps instead of {steps}")

    return work


def plain_pass(model: nn.Module, config: Config, root: Path, at: str) -> Callable[[], None]:
    """Return a function that makes a pass as people write it, with coatseg's learning rate, decay and clipping."""
    rates = {key: config["optimizer"][key] for key in ("lr", "weight_decay")}
    augmentations = albumentations_own(config["data"]["augmentations"])

    def work() -> None:
        loader = plain_loader(pairs(root), augmentations, config["data"]["batch_size"], config["data"]["workers"])
        optimizer = torch.optim.AdamW(model.parameters(), **rates)
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            with precision(at):
                loss = functional.cross_entropy(model(images), labels, ignore_index=INFO.ignore_index)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), config["trainer"]["gradient_clip_val"])
            optimizer.step()

    return work


if __name__ == "__main__":
    main()
