"""The version of coatseg, as pyproject.toml states it."""

from __future__ import annotations

VERSION = "0.1.0"
