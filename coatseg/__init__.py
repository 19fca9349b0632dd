"""coatseg: dense prediction on CoaT backbones.

Importing the package is cheap; torch and all else load when a name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from coatseg.system.version import VERSION

if TYPE_CHECKING:
    from coatseg.models.backbones.classifier import create_classifier
    from coatseg.models.smp_encoders import register_smp_encoders
    from coatseg.models.transformers_registration import register_transformers
    from coatseg.registry.names import create_backbone, list_backbones, register
    from coatseg.results.features.reader import read_features
    from coatseg.results.predict.loading import load

__version__ = VERSION

__all__ = [
    "create_backbone",
    "create_classifier",
    "list_backbones",
    "load",
    "read_features",
    "register",
    "register_smp_encoders",
    "register_transformers",
]

_HOMES = {
    "create_backbone": "coatseg.registry.names",
    "create_classifier": "coatseg.models.backbones.classifier",
    "list_backbones": "coatseg.registry.names",
    "load": "coatseg.results.predict.loading",
    "read_features": "coatseg.results.features.reader",
    "register": "coatseg.registry.names",
    "register_smp_encoders": "coatseg.models.smp_encoders",
    "register_transformers": "coatseg.models.transformers_registration",
}


def __getattr__(name: str) -> Any:
    """Load a public name from the module that defines it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'coatseg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
