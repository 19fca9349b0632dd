"""The registry of names that a configuration may hold: `@register(kind, name)` stands beside each constructor.

A configuration and a checkpoint hold registered names and plain keywords, never code; only here do names become
objects.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from coatseg.errors import ConfigError, nearest
from coatseg.registry.options import Constructor, Options, check_options, construct
from coatseg.structures import Backbone

Registered = TypeVar("Registered", bound=Constructor)


@dataclass(frozen=True)
class Kind:
    """A kind of things that are registered by name, such as heads.

    `places` are the packages and modules whose files register them; `given` are the arguments that the program passes
    to a constructor, whose other arguments are options of the configuration.
    """

    places: tuple[str, ...]
    given: frozenset[str]


KINDS: dict[str, Kind] = {
    "backbone": Kind(("coatseg.models.backbones",), frozenset({"in_channels"})),
    "head": Kind(
        (
            "coatseg.models.heads.semantic",
            "coatseg.models.heads.detection",
            "coatseg.models.heads.query",
            "coatseg.models.heads.panoptic",
        ),
        frozenset({"levels", "classes", "things", "output"}),
    ),
    "dataset": Kind(("coatseg.data.datasets", "coatseg.scenes.dataset"), frozenset({"split"})),
    "augmentation": Kind(("coatseg.data.augmentations",), frozenset({"info"})),
    "loss": Kind(("coatseg.losses",), frozenset({"info"})),
    "optimizer": Kind(("coatseg.training.optimization.optimizers",), frozenset({"model"})),
    "schedule": Kind(("coatseg.training.optimization.schedules",), frozenset({"total", "epoch"})),
    "task": Kind(
        ("coatseg.tasks",),
        frozenset({"model", "info", "loss", "optimizer", "schedule", "seed", "auxiliary_weight", "inference"}),
    ),
    "callback": Kind(
        ("coatseg.training.callbacks",), frozenset({"checkpoints", "pictures", "info", "monitor", "record"})
    ),
    "logger": Kind(("coatseg.training.records.loggers",), frozenset({"run"})),
}

_tables: dict[str, dict[str, Constructor]] = {kind: {} for kind in KINDS}
_loaded: set[str] = set()
_loading = RLock()  # threads that look up a name for the first time; re-entrant, as a file may look one up itself


def register(kind: str, name: str) -> Callable[[Registered], Registered]:
    """Register a constructor under a name, as a decorator: `@coatseg.register("head", "mine")`.

    Raises:
        ConfigError: the kind is unknown, or the name is taken by another constructor.
    """
    known = _kind(kind)
    if not _is_of(sys._getframe(1).f_globals.get("__name__", ""), known.places):
        _load(kind)  # a name that is taken is refused here, and not when coatseg's own file is imported later

    def add(constructor: Registered) -> Registered:
        table = _tables[kind]
        if name in table and table[name] is not constructor:
            raise ConfigError(f"A {kind} called {name} is registered already.", "Choose another name.")
        table[name] = constructor
        return constructor

    return add


def table(kind: str) -> dict[str, Constructor]:
    """Return the constructors of a kind by their names; the first call imports the files that register them.

    Raises:
        ConfigError: the kind is unknown.
    """
    _kind(kind)
    _load(kind)
    return _tables[kind]


def constructor_of(kind: str, name: str, key: str | None = None) -> Constructor:
    """Return the constructor of a name; `key` is the section's key, for the error.

    Raises:
        ConfigError: the name is unknown; the nearest ones are listed.
    """
    known = table(kind)
    if name not in known:
        raise ConfigError(f"{key or kind}={name} is unknown.", nearest(str(name), known))
    return known[name]


def list_backbones() -> list[str]:
    """Return the names of all backbones that `create_backbone` takes."""
    return sorted(table("backbone"))


def create_backbone(name: str, pretrained: bool | str | Path = False, **options: Any) -> Backbone:
    """Build a backbone by name: images (B, C, H, W) to a list of feature maps, described by `.levels`.

    `pretrained` is False, True (the catalogue) or the path of a weights file. Other options are the constructor's
    own, such as in_channels, drop_path or co_scale; for "timm", model.

    Raises:
        ConfigError: the name or an option is unknown.
        WeightsError: the weights cannot be had, or do not fit.
    """
    constructor = constructor_of("backbone", name)
    options = {"pretrained": pretrained, **options} if pretrained else options
    fitting = check_options(constructor, options, given=frozenset(), name=name, key="create_backbone")
    backbone: Backbone = construct(constructor, fitting)
    return backbone


def checked(kind: str, name: str, options: Options, key: str) -> tuple[Constructor, dict[str, Any]]:
    """Return the constructor of a name, and its options, checked and converted to the types that it declares.

    Raises:
        ConfigError: the name is unknown, or an option is unknown, missing or does not fit.
    """
    constructor = constructor_of(kind, name, key)
    return constructor, check_options(constructor, options, given=KINDS[kind].given, name=name, key=key)


def make(kind: str, name: str, options: Options, key: str, **context: Any) -> Any:
    """Build the object of a name from its options and from those arguments of the context that its constructor takes.

    Raises:
        ConfigError: as `checked`.
    """
    return construct(*checked(kind, name, options, key), **context)


def load_plugins(names: list[str]) -> None:
    """Import the user's modules, which register constructors of their own; the current folder is searched too.

    Raises:
        ConfigError: one cannot be imported.
    """
    if names and "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"plugins: cannot import {name}: {error}.", "Name a module on PYTHONPATH or in this folder."
            ) from error


def _kind(kind: str) -> Kind:
    if kind not in KINDS:
        raise ConfigError(f"{kind} is no kind of thing that has names.", nearest(kind, KINDS))
    return KINDS[kind]


def _load(kind: str) -> None:
    """Import the files that register the names of a kind, once; after an error they are imported anew."""
    with _loading:
        if kind in _loaded:
            return
        _loaded.add(kind)  # first, as these files may look up names of their kind
        try:
            for place in KINDS[kind].places:
                module = importlib.import_module(place)
                for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
                    importlib.import_module(f"{place}.{found.name}")
        except BaseException:
            _loaded.discard(kind)
            raise


def _is_of(module: str, places: tuple[str, ...]) -> bool:
    """Return whether a module is one of these places, or in one."""
    return any(module == place or module.startswith(f"{place}.") for place in places)
