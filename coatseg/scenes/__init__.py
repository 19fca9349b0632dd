"""The dataset `scenes`: street scenes that are generated instead of downloaded.

A camera, light and the plan of a street are drawn at random, then the things on the street; these are painted from far
to near, and the canvas becomes a photograph and its truth.
"""

from __future__ import annotations

from coatseg.scenes.dataset import Scenes

__all__ = ["Scenes"]
