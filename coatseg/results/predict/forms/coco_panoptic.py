"""for=coco of segments: the panoptic format under the names that COCO's server wants, and a zip of it.

The format: https://cocodataset.org/#format-results, and the names: https://cocodataset.org/#upload.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from coatseg.data.datasets.coco_panoptic import CocoPanoptic
from coatseg.data.images.sources import Source
from coatseg.errors import ConfigError
from coatseg.results.predict.forms.coco_images import CocoImages
from coatseg.results.predict.forms.panoptic import PanopticSubmission
from coatseg.results.predict.numbers import numbers_by_name
from coatseg.results.predict.writers import SEGMENTS
from coatseg.structures import DatasetInfo
from coatseg.system.fsspec_folders import Place


class CocoPanopticResults(PanopticSubmission):
    """Writes panoptic_SPLIT_METHOD_results/NAME.png, their json, and a zip of both, all called so.

    `split` and `method` are those words of the name. `json` is the json of the images, such as
    image_info_test-dev2017.json, that has their ids by file_name: images that it lacks are left out. Without it, an
    image's id is the number that its file is called. Category ids are those of COCO's 133 classes, found by name.

    Raises:
        ConfigError: the model has a class that COCO has not, or a word cannot be part of a file's name.
        DatasetError: the json cannot be read, or is damaged.
    """

    form = "coco"

    def __init__(
        self,
        place: Place,
        info: DatasetInfo,
        *,
        split: str = "test-dev2017",
        method: str = "coatseg",
        json: str | None = None,
    ) -> None:
        for option, word in {"split": split, "method": method}.items():
            if not word or not all(sign.isalnum() or sign in "-_." for sign in word):
                raise ConfigError(f"for.{option}={word} cannot be part of a file's name.", "Use letters and digits.")
        self.images = CocoImages.of(json)
        numbers = numbers_by_name(info.classes, CocoPanoptic.published, self.form)
        super().__init__(place, replace(info, category_ids=numbers))
        self.pngs = f"panoptic_{split}_{method}_results"
        self.joined = f"{self.pngs}.json"
        self.files = (f"{self.pngs}.zip", self.joined)
        self.folders = (self.pngs, SEGMENTS)

    def chosen(self, sources: Sequence[Source]) -> Sequence[Source]:
        """Return the images that the json has, as test-dev is half of test2017; all if it has none, to be refused."""
        return self.images.chosen(sources)

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if an image has no id, or two have one."""
        self.images.check(sources)
        super().check(sources)

    def numbers(self, sources: Sequence[Source]) -> Mapping[str, int | str]:
        """Return the ids that the server knows the images by."""
        return self.images.numbers(sources)

    def wanted(self, sources: Sequence[Source]) -> int:
        """Return how many images the json has, or the input."""
        return self.images.wanted(sources)
