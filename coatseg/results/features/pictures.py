"""One picture for each image's feature maps: principal components, and for CoaT the attention's response to a point."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from coatseg.data.images.normalization import denormalise, normalise
from coatseg.results.features.maps import FeatureMaps
from coatseg.results.features.names import file_name
from coatseg.results.features.responses import Responses, as_point
from coatseg.structures import DatasetInfo, Sample
from coatseg.system.fsspec_folders import Place
from coatseg.visualize.feature_maps import heat, marked, principal_components
from coatseg.visualize.label_maps import Picture
from coatseg.visualize.sheets import contact_sheet, encode_picture, scaled

WIDTH = 320
COMPONENTS = "principal components 1 to 3 as red, green, blue"
RESPONSE = "weights of the factorized attention for the point: red above, blue below their mean"


class FeaturePictures:
    """Writes pictures/ID.png. `responses` are the backbone's, to the point `query`; None leaves them out."""

    def __init__(
        self, place: Place, info: DatasetInfo, responses: Responses | None = None, query: Sequence[float] = (0.5, 0.5)
    ) -> None:
        self.place = place
        self.info = info
        self.responses = responses
        self.query = query

    def watching(self) -> AbstractContextManager[Any]:
        """Record what the responses need, for one batch that goes through the network."""
        return nullcontext() if self.responses is None else self.responses.watching()

    def draw(self, number: int, sample: Sample, maps: FeatureMaps) -> None:
        """Draw and write the maps of image `number` of the last batch."""
        image = denormalise(normalise(sample.image, self.info), self.info)
        rows = [[image, *(principal_components(features.float().cpu().numpy()) for features in maps.values())]]
        titles = [COMPONENTS]
        if self.responses is not None:
            rows.append(self._responses(self.responses, number, sample, image, list(maps)))
            titles.append(RESPONSE)
        captions = ["image", *(f"stride {stride}" for stride in maps)]
        sheet = contact_sheet(rows, captions, WIDTH, titles)
        self.place.write(f"pictures/{file_name(sample.id)}.png", encode_picture(sheet))

    def _responses(
        self, responses: Responses, number: int, sample: Sample, image: Picture, strides: Sequence[int]
    ) -> list[Picture]:
        size = (image.shape[0], image.shape[1])
        point = as_point(self.query, sample.original_size)
        small = scaled(image, WIDTH)
        here = marked(small, point[0] * small.shape[1], point[1] * small.shape[0])
        drawn = [here]
        for stride in strides:
            values = responses.at(stride, point, number, size).cpu().numpy()
            covers = (values.shape[0] * stride / size[0], values.shape[1] * stride / size[1])
            drawn.append(heat(small, values, covers))
        return drawn
