"""What forms for maps and annotation tools share: a file an image, of its objects or of its classes."""

from __future__ import annotations

from collections.abc import Iterator

from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.regions import Region, labels_left, regions_of
from coatseg.results.predict.writers import FileWriter
from coatseg.structures import DatasetInfo
from coatseg.system.extras import needs
from coatseg.system.fsspec_folders import Place


class RegionFiles(FileWriter):
    """Writes a file an image, of its regions. Classes whose names are in `leave_out` are left out.

    Raises:
        ConfigError: there is no such class.
    """

    any_score = True

    def __init__(self, place: Place, info: DatasetInfo, *, leave_out: list[str] | None = None) -> None:
        super().__init__(place, info)
        self.labels = labels_left(info, leave_out)

    def regions(self, written: Written) -> Iterator[Region]:
        """Yield the regions of an image that are written; masks of all classes at once might not fit into memory."""
        return (region for region in regions_of(written, self.info) if region.label in self.labels)


class Annotations(RegionFiles):
    """Writes regions as masks, which are exact, or with `polygons` as polygons along the edges of pixels.

    Raises:
        ConfigError: there is no class that is to be left out, or polygons are wanted and rasterio is not installed.
    """

    def __init__(
        self, place: Place, info: DatasetInfo, *, polygons: bool = False, leave_out: list[str] | None = None
    ) -> None:
        if polygons:
            needs("for.polygons", "geo", "rasterio")
        super().__init__(place, info, leave_out=leave_out)
        self.polygons = polygons
