"""Losses of two processes average to those of one that sees all of their images."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed, multiprocessing

from coatseg.models.heads.detection.one_stage import FCOSOptions, fcos
from coatseg.models.heads.detection.regions import mask_loss
from coatseg.models.heads.query.real_time.options import RTDETROptions
from coatseg.models.heads.query.rtdetr import rtdetr
from coatseg.structures import InstanceTarget
from tests.contracts.detector import LEVELS, SIDE, objects

TARGETS = [objects([[8, 8, 40, 40], [30, 50, 90, 90], [4, 60, 24, 80]]), objects([])]
"""What the two processes learn: three objects, and none."""


def fcos_losses(images: list[int]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    head = fcos(LEVELS, 3, FCOSOptions(width=32))
    pyramid = [torch.randn(2, level.channels, SIDE // level.stride, SIDE // level.stride) for level in LEVELS]
    sizes = [(SIDE, SIDE)] * len(images)
    losses = head(torch.zeros(len(images), 3, SIDE, SIDE), [maps[images] for maps in pyramid], sizes, chosen(images))
    assert isinstance(losses, dict)
    return losses


def rtdetr_losses(images: list[int]) -> dict[str, Tensor]:
    torch.manual_seed(0)
    head = rtdetr(LEVELS, 3, RTDETROptions(width=32, heads=4, decoder_layers=2, queries=20, denoising=0, norm="group"))
    pyramid = [torch.randn(2, level.channels, SIDE // level.stride, SIDE // level.stride) for level in LEVELS]
    sizes = [(SIDE, SIDE)] * len(images)
    losses = head(torch.zeros(len(images), 3, SIDE, SIDE), [maps[images] for maps in pyramid], sizes, chosen(images))
    assert isinstance(losses, dict)
    return losses


def mask_losses(images: list[int]) -> dict[str, Tensor]:
    truth = [{"masks": target.masks} for target in chosen(images)]
    boxes = [target.boxes for target in chosen(images)]
    rows = [torch.arange(len(target)) for target in chosen(images)]

    def logits(boxes: list[Tensor]) -> Tensor:
        return torch.cat(boxes).sum(1)[:, None, None, None].expand(-1, 4, 28, 28) / 100

    labels = [target.labels + 1 for target in chosen(images)]
    return {"masks": mask_loss(logits, boxes, rows, labels, truth)}


def chosen(images: list[int]) -> list[InstanceTarget]:
    return [TARGETS[image] for image in images]


ALL: list[Callable[[list[int]], dict[str, Tensor]]] = [fcos_losses, mask_losses, rtdetr_losses]


def work(rank: int, folder: Path) -> None:
    """Give the losses of one of two processes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder / 'meet'}", rank=rank, world_size=2)
    torch.save(
        [{name: loss.detach() for name, loss in losses([rank]).items()} for losses in ALL], folder / f"{rank}.pt"
    )
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[list[dict[str, Tensor]]]:
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(work, (folder,), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("number", range(len(ALL)))
def test_losses_of_two_processes_average_to_those_of_one(number: int, of_two: list[list[dict[str, Tensor]]]) -> None:
    first, second = (each[number] for each in of_two)
    together = ALL[number]([0, 1])
    assert together
    for name, loss in together.items():
        torch.testing.assert_close((first[name] + second[name]) / 2, loss.detach())
