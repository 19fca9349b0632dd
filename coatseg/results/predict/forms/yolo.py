"""for=yolo: a text file an image in the format of YOLO and YOLO-seg, and data.yaml.

A line is a class number and coordinates as shares of the width and the height: `class x y width height` of a box's
centre and size, or `class x y x y ...` of a polygon (docs.ultralytics.com/datasets/segment).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import yaml

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.outlines import one_ring, shapes_of
from coatseg.results.predict.forms.regions import Region, labels_left, regions_of, size_of
from coatseg.results.predict.writers import MAPS, Writer
from coatseg.structures import DatasetInfo, Size
from coatseg.system.extras import needs
from coatseg.system.fsspec_folders import Place

FILE = "data.yaml"


class Yolo(Writer):
    """Writes labels/ID.txt: a line an object, or one for each part of a class that holds together; and data.yaml.

    Masks become polygons along the edges of pixels, parts and holes joined to the outline by lines without area: the
    pixels come back where they are painted by area, as pycocotools does it, and else to half a pixel. Classes whose
    names are in `leave_out` have no line, and keep their number.

    Raises:
        ConfigError: there is no such class, or rasterio is not installed.
    """

    files = (FILE,)
    folders = (MAPS,)
    any_score = True
    masks = True

    def __init__(self, place: Place, info: DatasetInfo, *, leave_out: list[str] | None = None) -> None:
        if self.masks:
            needs("for=yolo", "geo", "rasterio")
        super().__init__(place, info)
        self.labels = labels_left(info, leave_out)

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self._path(source))

    def write(self, source: Source, written: Written, tags: GeoTags | None) -> None:
        """Write the lines."""
        size = size_of(written)
        regions = (region for region in regions_of(written, self.info) if region.label in self.labels)
        lines = (line for region in regions for line in _lines(region, size))
        self.place.write(self._path(source), "".join(lines).encode())

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Write data.yaml: the names of the classes, and images/ beside labels/ as the place of the images."""
        super().conclude(sources, pictures=pictures)
        content = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(self.info.classes))}
        self.place.write(FILE, yaml.safe_dump(content, sort_keys=False, allow_unicode=True).encode())
        return ""

    def _path(self, source: Source) -> str:
        return f"{MAPS}/{source.id}.txt"


class YoloBoxes(Yolo):
    """The same of boxes, which needs no rasterio."""

    masks = False


def _lines(region: Region, size: Size) -> Iterator[str]:
    height, width = size
    if region.mask is None:
        left, top, right, bottom = region.box
        yield _line(
            region.label,
            [(left + right) / 2 / width, (top + bottom) / 2 / height, (right - left) / width, (bottom - top) / height],
        )
        return
    for shape in shapes_of(region):
        yield _line(region.label, (one_ring(shape) / np.array([width, height])).ravel().tolist())


def _line(label: int, shares: Sequence[float]) -> str:
    return " ".join([str(label), *(f"{share:.10g}" for share in shares)]) + "\n"
