"""for=labelme: predictions as annotations of LabelMe, to be corrected there.

The format: labelme 6, labelme/_label_file.py. A shape called mask has two corners, both inside it, and the mask between
them as a PNG in base64.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.results.predict.canvas import Written
from coatseg.results.predict.forms.outlines import one_ring, outlines, plain
from coatseg.results.predict.forms.region_files import Annotations
from coatseg.results.predict.forms.regions import NOTHING, Mask, Region, region_without_class, size_of

FOLDER = "labelme"
IGNORED = "__ignore__"
VERSION = "5.5.0"
"""A version of LabelMe whose shapes may be masks."""


class LabelMe(Annotations):
    """Writes labelme/ID.json: a mask for each object or each class that is there, a rectangle for objects without one.

    Masks are exact; pixels without a class or a segment are a mask called __ignore__, as LabelMe calls what is to be
    ignored. With `polygons` they are polygons along the edges of pixels in place of masks, parts of one object
    under one group_id, and holes joined to the outline: LabelMe paints them to half a pixel. Classes whose names are in
    `leave_out` are left out.

    Raises:
        ConfigError: there is no such class, or polygons are wanted and rasterio is not installed.
    """

    folders = (FOLDER,)

    def write(self, source: Source, written: Written, tags: GeoTags | None) -> None:
        """Write the shapes."""
        ignored = region_without_class(written, self.info)
        regions = chain(self.regions(written), () if ignored is None else (ignored,))
        height, width = size_of(written)
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape for number, region in enumerate(regions, 1) for shape in self._shapes(region, number)],
            "imagePath": self._image_path(source),
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        self.place.write(self.path(source), json.dumps(content, allow_nan=False, indent=1).encode())

    def _image_path(self, source: Source) -> str:
        """Return where LabelMe finds the image, seen from the json; elsewhere than on a disk the image's own name."""
        if source.remote or self.place.folder is None:
            return source.name
        beside = (self.place.folder / self.path(source)).absolute().parent
        return Path(os.path.relpath(Path(source.address).absolute(), beside)).as_posix()

    def _shapes(self, region: Region, number: int) -> Iterator[dict[str, Any]]:
        """Yield the shapes of a region; parts of it are told to belong together by the `number` of the region."""
        left, top, right, bottom = region.box
        if region.mask is None:
            yield self._shape(region, "rectangle", [[left, top], [right, bottom]])
        elif self.polygons:
            parts = outlines(region)
            for polygon in parts:
                ring = plain(one_ring([polygon]))
                yield self._shape(region, "polygon", ring, group_id=number if len(parts) > 1 else None)
        else:
            corners = [[left, top], [right - 1, bottom - 1]]
            yield {**self._shape(region, "mask", corners), "mask": _encoded(region.mask)}

    def _shape(
        self, region: Region, kind: str, points: list[list[float]], group_id: int | None = None
    ) -> dict[str, Any]:
        return {
            "label": IGNORED if region.label == NOTHING else self.info.classes[region.label],
            "points": points,
            "group_id": group_id,
            "description": "" if region.score is None else f"score {region.score:.3f}",
            "shape_type": kind,
            "flags": {},
        }


def _encoded(mask: Mask) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask).view(np.uint8)).save(file, format="png")
    return base64.b64encode(file.getvalue()).decode()
