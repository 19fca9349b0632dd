"""A whole training step: coatseg against plain segmentation-models-pytorch and timm, on the CPU.

    python -m benchmarks.training

Both train CoaT-Lite Tiny under FPN on the same batch of random images in the shape of CamVid's crops:
- coatseg: the task that `python train.py backbone=coat_lite_tiny head=fpn loss=cross_entropy data=camvid` builds, with
  its optimizer, a fused AdamW.
- plain: `smp.FPN("tu-coat_lite_tiny", img_size=SIZE, classes=11)`, torch's cross entropy over the labelled pixels and
  `torch.optim.AdamW(model.parameters())` of the same rate and decay, as people write it, which is not fused on a CPU.

Decoders, norms (groups of 32), dropout, learning rate and loss are the same. A step is zero_grad, forward under the
precision, loss, backward and the optimizer's step; loading, logging and gradient clipping are in neither. The sides
take turns in one process, under the same allocator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.composed import Config, composed
from benchmarks.options import ALLOCATORS, parse, parser, shown, size
from benchmarks.sides import PRECISIONS, precision
from benchmarks.tables import Table, milliseconds, publish
from benchmarks.timing import in_turn, speedup
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.build import build_task
from coatseg.config.read import read
from coatseg.data.datasets.camvid import INFO
from coatseg.models.backbones.variants import VARIANTS
from coatseg.structures import Batch, Size, Target, parameter_count
from coatseg.system.allocator import keep_memory
from coatseg.tasks.base import Task
from coatseg.training.trainer import make_trainer

QUICK = {"size": (192, 256), "repeats": 3}
STEPS = 1000
"""The length of the run that the schedule is made for, in steps."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure both sides in each precision, and print a table."""
    made = parser("training", __doc__, repeats=10)
    made.add_argument("--variant", choices=VARIANTS, default="coat_lite_tiny")
    made.add_argument("--size", type=size, default=(384, 480), help="height and width of the images, such as 384x480")
    made.add_argument("--batch", type=int, default=4)
    made.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    made.add_argument("--allocator", choices=ALLOCATORS, default="kept", help="of both sides")
    arguments = parse(made, QUICK, argv)
    quiet_libraries()
    if arguments.allocator == "kept" and not keep_memory():
        made.error("the allocator cannot keep memory here: add --allocator default")

    config = configuration(arguments.variant, arguments.batch)
    task = attached(build_task(read(config).task, INFO, STEPS))
    plain = smp.FPN(f"tu-{arguments.variant}", encoder_weights=None, img_size=arguments.size, classes=len(INFO.classes))
    images, labels = random_batch(arguments.batch, arguments.size)
    records = []
    for at in arguments.precisions:
        sides = {"coatseg": our_step(task, images, labels, at), "plain": plain_step(plain, config, images, labels, at)}
        seconds = in_turn(sides, arguments.repeats)
        records.append({"precision": at, "seconds": seconds, "ratio": speedup(seconds["plain"], seconds["coatseg"])})
    columns = {
        "training step": lambda row: row["precision"],
        "coatseg (ms)": lambda row: milliseconds(median(row["seconds"]["coatseg"])),
        "plain (ms)": lambda row: milliseconds(median(row["seconds"]["plain"])),
        "ratio": lambda row: str(row["ratio"]),
    }
    compared = (
        f"coatseg's task of {arguments.variant} under fpn ({parameter_count(task.model):,} parameters) against "
        f"smp.FPN(tu-{arguments.variant}) ({parameter_count(plain):,}), cross entropy and AdamW on both sides; "
        f"{arguments.batch} images of {shown(arguments.size)} a step. Medians; ratios are the plain side's time over "
        f"ours, in brackets the quartiles over the rounds."
    )
    title = f"In turn in one process, allocator {arguments.allocator} for both"
    publish("training", compared, [Table(title, columns, records)], arguments)


def configuration(variant: str, batch: int) -> Config:
    """Return the configuration of coatseg's side."""
    data = ("data=camvid", f"data.batch_size={batch}")
    return composed(f"backbone={variant}", "head=fpn", "loss=cross_entropy", *data, "logger=none")


def attached(task: Task) -> Task:
    """Return the task with a trainer of one process, which its losses ask for the number of processes."""
    task.trainer = make_trainer({"accelerator": "cpu", "devices": 1, "precision": "32-true"})
    return task


def random_batch(batch: int, size: Size) -> tuple[Tensor, Tensor]:
    """Return images (B, 3, H, W) float32 and labels (B, H, W) int64, about one pixel in twelve ignored."""
    labels = torch.randint(len(INFO.classes) + 1, (batch, *size))
    return torch.randn(batch, 3, *size), torch.where(labels == len(INFO.classes), INFO.ignore_index, labels)


def our_step(task: Task, images: Tensor, labels: Tensor, at: str) -> Callable[[], None]:
    """Return a function that does a step of coatseg's task with its own optimizer."""
    targets = tuple(Target(label_map=label_map) for label_map in labels)
    sizes = tuple((label_map.shape[0], label_map.shape[1]) for label_map in labels)
    batch = Batch(
        images=images, sizes=sizes, targets=targets, ids=tuple(map(str, range(len(images)))), original_sizes=sizes,
        repeated=(False,) * len(images), step_targets=targets,
    )  # fmt: skip
    optimizer = task.configure_optimizers()["optimizer"]
    task.train()

    def step() -> None:
        optimizer.zero_grad()
        with precision(at):
            loss = torch.stack(list(task.losses(batch).values())).sum()
        loss.backward()
        optimizer.step()

    return step


def plain_step(model: nn.Module, config: Config, images: Tensor, labels: Tensor, at: str) -> Callable[[], None]:
    """Return a function that does a step of the plain model, with coatseg's learning rate and decay."""
    options = {key: config["optimizer"][key] for key in ("lr", "weight_decay")}
    optimizer = torch.optim.AdamW(model.parameters(), **options)
    model.train()

    def step() -> None:
        optimizer.zero_grad()
        with precision(at):
            loss = functional.cross_entropy(model(images), labels, ignore_index=INFO.ignore_index)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
