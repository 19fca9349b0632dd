"""The forms that write a file of regions for each image: where it is, and which classes are in it."""

from __future__ import annotations

from abc import abstractmethod

from coatseg.data.images.sources import Source
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.regions import Region, labels_left, regions_of
from coatseg.results.predict.writers import Writer
from coatseg.structures import DatasetInfo
from coatseg.system.fsspec_folders import Place


class RegionFiles(Writer):
    """Writes a file for each image, of the regions of all classes but those whose names are in `leave_out`.

    A subclass says where the file is, and writes it.

    Raises:
        ConfigError: there is no such class.
    """

    any_score = True

    def __init__(self, place: Place, info: DatasetInfo, *, leave_out: list[str] | None = None) -> None:
        super().__init__(place, info)
        self.labels = labels_left(info, leave_out)

    @abstractmethod
    def path_of(self, source: Source) -> str:
        """Return the path of an image's file in the place."""

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self.path_of(source))

    def regions(self, written: Written) -> list[Region]:
        """Return the regions of a prediction that are written."""
        return [region for region in regions_of(written, self.info) if region.label in self.labels]
