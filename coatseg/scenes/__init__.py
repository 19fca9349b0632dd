"""The dataset `scenes`, drawn instead of downloaded.

Camera, light and plan of a street > what stands on it > painted far to near > photograph and truth.
"""

from __future__ import annotations

from coatseg.scenes.dataset import Scenes

__all__ = ["Scenes"]
