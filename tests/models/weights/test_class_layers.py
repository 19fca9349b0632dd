"""What a head has for each class is known by name, so that all else has to fit."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from coatseg.models.weights.loading import CLASS_LAYERS
from coatseg.registry.names import constructor_of, make
from coatseg.structures import Level
from tests.conftest import ROOT

LEVELS = tuple(Level(stride, channels) for stride, channels in ((4, 32), (8, 32), (16, 64), (32, 64)))
FILES = sorted((ROOT / "conf" / "head").glob("*.yaml"))


def shapes(file: Path, classes: int) -> dict[str, tuple[int, ...]]:
    options = yaml.safe_load(file.read_text())
    name = options.pop("name")
    given: dict[str, Any] = {"levels": LEVELS, "classes": classes, "things": (1, 2)}
    takes = inspect.signature(constructor_of("head", name, "head")).parameters
    head = make("head", name, options, "head", **{key: value for key, value in given.items() if key in takes})
    return {key: tuple(value.shape) for key, value in head.state_dict().items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_tensors_that_depend_on_classes_are_those_of_the_pattern(file: Path) -> None:
    few, many = shapes(file, 5), shapes(file, 7)
    assert few.keys() == many.keys()
    assert {key for key in few if few[key] != many[key]} == {key for key in few if CLASS_LAYERS.match(f"head.{key}")}
