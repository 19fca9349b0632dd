"""With checkpointing the backbone gives the same maps and gradients."""

from __future__ import annotations

import pytest
import torch

from coatseg.models.backbones import blocks
from coatseg.models.backbones.coat import create_backbone
from tests.contracts.backbone import images, padded
from tests.models.backbones.kernels.test_fast_paths import SIZES, plainly, results

NAMES = ["coat_lite_tiny", "coat_tiny"]


@pytest.fixture
def runs(monkeypatch):
    """The blocks that are run, one after the other."""
    found = []
    for kind in (blocks.SerialBlock, blocks.ParallelBlock):
        forward = kind.forward
        monkeypatch.setattr(
            kind, "forward", lambda self, *given, forward=forward: found.append(self) or forward(self, *given)
        )
    return found


@pytest.mark.parametrize("sizes", [None, SIZES], ids=["whole", "padded"])
@pytest.mark.parametrize("name", NAMES)
def test_maps_and_gradients_are_the_same_with_the_same_paths_dropped(runs, name, sizes):
    torch.manual_seed(0)
    model = create_backbone(name, drop_path=0.3, checkpointing=True).train()
    given = padded([images(1, *size) for size in SIZES], 64, 64, 1.0)
    found = results(model, given, sizes)
    count = sum(kind in type(part).__name__ for part in model.modules() for kind in ("SerialBlock", "ParallelBlock"))
    assert len(runs) == 2 * count
    model.checkpointing = False
    expected = results(model, given, sizes)
    assert len(runs) == 3 * count
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_so_are_they_by_the_definitions():
    model = create_backbone("coat_lite_tiny", drop_path=0.3, checkpointing=True).train()
    with plainly():
        found = results(model, images(2, 64, 64))
        model.checkpointing = False
        expected = results(model, images(2, 64, 64))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_in_mixed_precision_too():
    model = create_backbone("coat_lite_tiny", drop_path=0.3, checkpointing=True).train()
    with torch.autocast("cpu", torch.bfloat16):
        found = results(model, images(2, 64, 64))
        model.checkpointing = False
        expected = results(model, images(2, 64, 64))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize(("training", "gradients"), [(False, True), (True, False), (False, False)])
def test_without_a_step_of_training_nothing_is_computed_twice(runs, training, gradients):
    model = create_backbone("coat_lite_tiny", checkpointing=True).train(training)
    with torch.set_grad_enabled(gradients):
        found = model(images(2, 64, 64))
        if gradients:
            torch.stack([image.sum() for image in found]).sum().backward()
        assert len(runs) == 8
        model.checkpointing = False
        assert all(torch.equal(one, other) for one, other in zip(found, model(images(2, 64, 64)), strict=True))
