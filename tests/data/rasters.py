"""Writes TIFF of any number of bands, as GDAL does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio


def write_tiff(path: Path, image: np.ndarray, *, tiled: bool = False, **options: Any) -> Path:
    """Write (H, W, C); tiles are of 16 x 16, other options are GDAL's."""
    if tiled:
        options |= {"tiled": True, "blockxsize": 16, "blockysize": 16}
    height, width, count = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=count, dtype=image.dtype, **options
    ) as raster:
        raster.write(image.transpose(2, 0, 1))
    return path
