"""Writes checkpoints as a run leaves them, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from coatseg.config.build import build_task
from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.tasks.base import Task
from coatseg.training.callbacks.checkpoints import RECORD
from tests.conftest import TINY, TINY_SCENES

SEMANTIC = TINY
SMALL_PANOPTIC = (
    "task=panoptic",
    "backbone=coat_lite_tiny",
    "head.width=32",
    "head.decoder_options.pyramid_width=16",
    "head.decoder_options.width=32",
)
SEGMENTS = (
    *SMALL_PANOPTIC,
    *TINY_SCENES,
)
OBJECTS = ("task=inst", "head=small_mask_rcnn", "backbone=coat_lite_tiny", "data=scenes_objects", *TINY_SCENES[1:])


def write_checkpoint(path: Path, config: dict[str, Any], seed: int = 0) -> Task:
    """Write an untrained model, whose batch norms have seen nothing and whose outputs differ from pixel to pixel."""
    torch.manual_seed(seed)
    data = build_data(read(config))
    task = build_task(read(config).task, data.info, total=1)
    for module in task.modules():  # of zero, as many a head begins, every logit is alike
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.1)
    record = {"config": config, "info": data.info.to_plain()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": task.state_dict(), "global_step": 0, RECORD: record}, path)
    return task
