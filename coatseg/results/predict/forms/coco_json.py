"""for=coco_json: predictions as annotations in COCO's format, to be corrected in a tool or to train on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.metrics.coco_format import encode_mask
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.outlines import one_ring, outlines
from coatseg.results.predict.forms.regions import Region, labels_left, regions_of, size_of
from coatseg.results.predict.objects_json import categories_of, join_objects
from coatseg.results.predict.writers import OBJECTS, Writer
from coatseg.structures import DatasetInfo, Size
from coatseg.system.extras import needs
from coatseg.system.fsspec_folders import Place

FILE = "annotations.json"


class CocoAnnotations(Writer):
    """Writes annotations.json, joined of objects/ID.json: an entry an object, or one for each class that is there.

    None is a crowd, boxes are those of the masks, and masks are run lengths, which are exact. With `polygons` they are
    polygons along the edges of pixels, holes joined to the outline: pycocotools paints the same pixels, other tools to
    half a pixel. Classes whose names are in `leave_out` are left out.

    Raises:
        ConfigError: there is no such class, or polygons are wanted and rasterio is not installed.
    """

    files = (FILE,)
    folders = (OBJECTS,)
    any_score = True

    def __init__(
        self, place: Place, info: DatasetInfo, *, polygons: bool = False, leave_out: list[str] | None = None
    ) -> None:
        if polygons:
            needs("for.polygons", "geo", "rasterio")
        super().__init__(place, info)
        self.polygons = polygons
        self.labels = labels_left(info, leave_out)

    def done(self, source: Source) -> bool:
        """Look for the file."""
        return self.place.exists(self._path(source))

    def write(self, source: Source, written: Written, tags: GeoTags | None) -> None:
        """Write the annotations of an image."""
        height, width = size = size_of(written)
        rows = [self._row(region, size) for region in regions_of(written, self.info) if region.label in self.labels]
        content = {
            "image": {"id": source.id, "file_name": source.name, "height": height, "width": width},
            "annotations": rows,
        }
        self.place.write(self._path(source), json.dumps(content, allow_nan=False).encode())

    def conclude(self, sources: Sequence[Source], *, pictures: bool) -> str:
        """Join them."""
        super().conclude(sources, pictures=pictures)
        parts = [self._path(source) for source in sources if self.done(source)]
        ids = [source.id for source in sources]
        join_objects(self.place, FILE, parts, ids, categories_of(self.info, sorted(self.labels)))
        return ""

    def _path(self, source: Source) -> str:
        return f"{OBJECTS}/{source.id}.json"

    def _row(self, region: Region, size: Size) -> dict[str, Any]:
        left, top, right, bottom = region.box
        numbers = self.info.category_ids or range(len(self.info.classes))
        row: dict[str, Any] = {
            "category_id": numbers[region.label],
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top) if region.mask is None else int(region.mask.sum()),
            "iscrowd": 0,
        }
        if region.score is not None:
            row["score"] = region.score
        if region.mask is not None and self.polygons:
            row["segmentation"] = [one_ring([polygon]).ravel().tolist() for polygon in outlines(region)]
        elif region.mask is not None:
            row["segmentation"] = encode_mask(region.whole_mask(size))
        return row
