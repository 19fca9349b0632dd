"""for=cityscapes: label ids as PNG files, for objects a list and masks, for segments COCO's panoptic format.

Sources: cityscapesScripts, evaluation/evalPixelLevelSemanticLabeling.py, evalInstanceLevelSemanticLabeling.py and
evalPanopticSemanticLabeling.py, which find the result of an image by CITY_SEQUENCE_FRAME at the beginning of its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from coatseg.data.datasets.cityscapes import INFO
from coatseg.data.images.sources import Source
from coatseg.data.images.statements.geotags import GeoTags
from coatseg.errors import ConfigError
from coatseg.results.predict.forms.panoptic import PanopticSubmission
from coatseg.results.predict.forms.submission import LabelSubmission, Submission, stem_of
from coatseg.results.predict.map_files import write_png
from coatseg.results.predict.numbers import numbering_of
from coatseg.results.predict.writers import SEGMENTS
from coatseg.structures import DatasetInfo, InstancePrediction
from coatseg.system.fsspec_folders import Place

FOLDER = "cityscapes"
PANOPTIC = "cityscapes_panoptic"
NAME = re.compile(r"[^_]+_\d{6}_\d{6}(?!\d)")


def check_names(sources: Sequence[Source]) -> None:
    """Raise ConfigError if an image is not called as those of Cityscapes, by which results are found."""
    for source in sources:
        if not NAME.match(stem_of(source)):
            raise ConfigError(
                f"for=cityscapes: {source.name} is not called CITY_000000_000019_leftImg8bit.png or alike, and its "
                "tools find results by that.",
                "Give a folder of Cityscapes' leftImg8bit, such as input=leftImg8bit/test.",
            )


class CityscapesSubmission(Submission):
    """Writes files of images into cityscapes/, and cityscapes.zip."""

    form = "cityscapes"
    files = ("cityscapes.zip",)
    folders = (FOLDER,)
    zipped_from = f"{FOLDER}/"

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if an image is not called as those of Cityscapes, or two alike."""
        check_names(sources)
        super().check(sources)


class CityscapesLabels(CityscapesSubmission, LabelSubmission):
    """Writes cityscapes/NAME.png of the label ids 7 to 33, 0 (unlabeled) where no class is sure, and cityscapes.zip."""

    tree = FOLDER
    nothing_means = "unlabeled"
    known = INFO


class CityscapesInstances(CityscapesSubmission):
    """Writes cityscapes/NAME.txt, a line `masks/NAME_NUMBER.png LABEL_ID SCORE` an object, the masks, and their zip."""

    def __init__(self, place: Place, info: DatasetInfo) -> None:
        super().__init__(place, info)
        things = info.things or tuple(range(len(info.classes)))
        numbers = numbering_of(_only(info, things), INFO, self.form, nothing=0).classes
        self.numbers = dict(zip(things, numbers, strict=True))

    def check(self, sources: Sequence[Source]) -> None:
        """Check the names, which may have no space: that ends a path in the list."""
        super().check(sources)
        if spaced := [source.name for source in sources if " " in stem_of(source)]:
            raise ConfigError(f"for=cityscapes: {spaced[0]} has a space in its name.", "Rename it.")

    def main_name(self, source: Source) -> str:
        """Return the name of the list."""
        return f"{FOLDER}/{stem_of(source)}.txt"

    def members(self, source: Source) -> Iterator[str]:
        """Yield the list, and the masks that it names."""
        yield self.main_name(source)
        for line in self.place.read(self.main_name(source)).decode().splitlines():
            yield f"{FOLDER}/{line.partition(' ')[0]}"

    def write(self, source: Source, written: InstancePrediction, tags: GeoTags | None) -> None:
        """Write the masks that have pixels, then the list."""
        assert written.masks is not None
        lines = []
        objects = zip(written.masks.numpy(), written.labels.tolist(), written.scores.tolist(), strict=True)
        for number, (mask, label, score) in enumerate(objects):
            if mask.any():
                name = f"masks/{stem_of(source)}_{number}.png"
                write_png(self.place, f"{FOLDER}/{name}", mask.view(np.uint8) * np.uint8(255))
                lines.append(f"{name} {self.numbers[label]} {score}\n")
        self.place.write(self.main_name(source), "".join(lines).encode())


class CityscapesPanoptic(PanopticSubmission):
    """Writes COCO's panoptic format as cityscapes_panoptic/, its json of label ids, and cityscapes.zip of both.

    An image's id is its CITY_SEQUENCE_FRAME, by which the evaluation finds it.
    """

    form = "cityscapes"
    pngs = PANOPTIC
    joined = f"{PANOPTIC}.json"
    files = ("cityscapes.zip", joined)
    folders = (PANOPTIC, SEGMENTS)

    def __init__(self, place: Place, info: DatasetInfo) -> None:
        numbers = numbering_of(info, INFO, self.form, nothing=0).classes
        super().__init__(place, replace(info, category_ids=numbers))

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if an image is not called as those of Cityscapes, or two alike."""
        check_names(sources)
        super().check(sources)

    def numbers(self, sources: Sequence[Source]) -> dict[str, int | str]:
        """Return CITY_SEQUENCE_FRAME of each image."""
        return {source.id: _frame(source) for source in sources}

    def png(self, source: Source) -> str:
        """Return a name of the same."""
        return f"{_frame(source)}_panoptic.png"


def _frame(source: Source) -> str:
    found = NAME.match(stem_of(source))
    assert found is not None
    return found.group()


def _only(info: DatasetInfo, labels: Sequence[int]) -> DatasetInfo:
    """Return facts with these classes alone."""
    return replace(info, classes=tuple(info.classes[label] for label in labels))
