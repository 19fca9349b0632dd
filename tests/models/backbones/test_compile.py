"""Compiled without a graph break, the backbone gives the maps and gradients that it gives otherwise."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from coatseg.models.backbones.coat import CoaT
from coatseg.models.backbones.variants import Variant
from tests.contracts.backbone import images
from tests.models.backbones.kernels.test_fast_paths import model_of, results
from tests.models.backbones.test_parity import filled


@pytest.fixture(autouse=True)
def _fresh():
    torch.compiler.reset()


def assert_near(found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def narrow(parallel_depth: int, **options: object) -> nn.Module:
    """A backbone with a block of each kind at each scale, as every block more takes a second to compile."""
    variant = Variant((16, 24, 24, 24), (8, 4, 4, 4), (1, 1, 1, 1), parallel_depth)
    return filled(CoaT(variant, **options)).train()


SLOW = pytest.mark.sweep
LITE, COAT = partial(narrow, 0), partial(narrow, 1)
NAMED = [pytest.param(partial(model_of, name), marks=SLOW, id=name) for name in ("coat_lite_tiny", "coat_tiny")]


@pytest.mark.parametrize("make", [pytest.param(LITE, id="lite"), pytest.param(COAT, id="coat", marks=SLOW)])
def test_a_compiled_backbone_evaluates_alike(make):
    model, given = make().eval(), images(2, 64, 64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        assert_near(compiled(given), model(given))


@pytest.mark.parametrize("make", [pytest.param(LITE, id="lite", marks=SLOW), pytest.param(COAT, id="coat"), *NAMED])
def test_a_compiled_backbone_trains_alike(make):
    model, given = make(drop_path=0.3), images(2, 64, 64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_near(results(compiled, given), results(model, given))


@pytest.mark.parametrize("make", [pytest.param(LITE, id="lite"), pytest.param(COAT, id="coat")])
@pytest.mark.sweep
def test_a_compiled_backbone_trains_alike_with_checkpointing(make):
    model, given = make(checkpointing=True), images(2, 64, 64)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert_near(results(compiled, given), results(model, given))
