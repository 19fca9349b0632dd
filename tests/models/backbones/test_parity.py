"""CoaT gives what timm's port and the authors' implementation give, for the same weights."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open

from coatseg.models.backbones.classifier import create_classifier
from coatseg.models.backbones.coat import create_backbone
from coatseg.models.backbones.variants import VARIANTS
from coatseg.models.weights.files import to_ours

SMALL = ("coat_tiny", "coat_lite_tiny")
REFERENCED = tuple(name for name, variant in VARIANTS.items() if variant.input_size == 224)
NAMES = [name if name in SMALL else pytest.param(name, marks=pytest.mark.sweep) for name in REFERENCED]


def draw(name: str, shape: torch.Size) -> torch.Tensor:
    """Draw a parameter by its name, large enough that every part of the network shows in the output."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    drawn = torch.from_numpy(generator.standard_normal(tuple(shape)).astype(np.float32))
    if name.startswith("cls_token"):
        return 0.5 * drawn
    if name.endswith(".bias"):
        return 0.1 * drawn
    if len(shape) == 1:
        return 1 + 0.1 * drawn
    return drawn * 0.5 / float(np.sqrt(np.prod(shape[1:])))


def filled(model):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(draw(name, parameter.shape))
    return model.eval()


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", NAMES)
def test_features_and_logits_are_those_of_timm(name):
    theirs = filled(timm.create_model(name))
    image = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    backbone, classifier = create_backbone(name).eval(), create_classifier(name).eval()
    state = to_ours(theirs.state_dict())
    assert not backbone.load_state_dict(state, strict=False).missing_keys
    classifier.load_state_dict(state, strict=False)
    with torch.no_grad():
        features = theirs.forward_intermediates(image, intermediates_only=True)
        for ours, expected in zip(backbone(image), features, strict=True):
            assert relative_error(ours, expected) < 1e-5
        assert relative_error(classifier(image), theirs(image)) < 1e-5


@pytest.fixture(scope="module")
def reference():
    file = Path(os.environ["COATSEG_REAL_DATA"]).parent / "reference" / "coat_reference_features.safetensors"
    with safe_open(file, framework="pt") as opened:
        yield opened


def reference_image(height: int, width: int) -> torch.Tensor:
    generator = np.random.Generator(np.random.PCG64(height * 10007 + width))
    return torch.from_numpy(generator.standard_normal((1, 3, height, width)).astype(np.float32))


@pytest.mark.real
@pytest.mark.parametrize("name", REFERENCED)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (100, 70)])
def test_features_are_those_of_the_authors(reference, name, height, width):
    model = filled(create_backbone(name))
    with torch.no_grad():
        maps = model(reference_image(height, width))
    for level, found in zip(model.levels, maps, strict=True):
        expected = reference.get_tensor(f"{name}/{height}x{width}/stride{level.stride}")
        assert relative_error(found, expected) < 1e-5


@pytest.mark.real
@pytest.mark.parametrize("name", REFERENCED)
def test_logits_are_those_of_the_authors(reference, name):
    model = filled(create_classifier(name))
    with torch.no_grad():
        logits = model(reference_image(224, 224))
    assert relative_error(logits, reference.get_tensor(f"{name}/224x224/logits")) < 1e-5
