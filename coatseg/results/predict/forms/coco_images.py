"""The ids that COCO's server knows images by: those of its json, or the numbers that their files are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from coatseg.data.annotations.classes import first_repeated
from coatseg.data.annotations.formats.coco import read_objects
from coatseg.data.annotations.objects.annotations import ObjectAnnotations
from coatseg.data.images.sources import Source
from coatseg.errors import ConfigError, listed
from coatseg.metrics.coco_format import image_number
from coatseg.results.predict.objects_json import numbers_in_names


@dataclass(frozen=True)
class CocoImages:
    """Images as the json of a split has them, or without one all whose files are called by a number."""

    known: ObjectAnnotations | None

    @classmethod
    def of(cls, json: str | None) -> Self:
        """Read a json of images, such as image_info_test-dev2017.json.

        Raises:
            DatasetError: it cannot be read, or is damaged.
        """
        return cls(None if json is None else read_objects(Path(json)))

    def chosen(self, sources: Sequence[Source]) -> Sequence[Source]:
        """Return the images that the json has; all if it has none, to be refused."""
        numbers = self.numbers(sources)
        there = [source for source in sources if source.id in numbers]
        return there if there and self.known is not None else sources

    def check(self, sources: Sequence[Source]) -> None:
        """Raise ConfigError if an image has no id, or two have one."""
        numbers = self.numbers(sources)
        lost = [source.name for source in sources if source.id not in numbers]
        if lost and self.known is not None:
            raise ConfigError(f"{self.known.path} has no image {listed(lost)}.", "Give the json of these images.")
        if lost:
            raise ConfigError(
                f"for=coco needs the ids of the images, and {lost[0]} is not called by one, as 000000000139.jpg is.",
                "Name the json that has them, such as for.json=annotations/image_info_test-dev2017.json.",
            )
        twice = first_repeated(numbers.values())
        if twice is not None:
            one, two = [source.name for source in sources if numbers[source.id] == twice][:2]
            raise ConfigError(f"{one} and {two} both have the id {twice}.", "Predict them apart.")

    def wanted(self, sources: Sequence[Source]) -> int:
        """Return how many images a server wants: those of the json, else those that are predicted."""
        return len(sources) if self.known is None else len(self.known.ids)

    def numbers(self, sources: Sequence[Source]) -> dict[str, int | str]:
        """Return the ids of images by their sources' ids, where they have one."""
        if self.known is None:
            return {**numbers_in_names([source.id for source in sources])}
        ids = [number if (number := image_number(name)) is not None else name for name in self.known.ids]
        named = dict(zip(self.known.files, ids, strict=True))
        short = {PurePosixPath(file).name: number for file, number in named.items()}
        by_end = short if len(short) == len(named) else {}
        found = {source.id: named.get(source.name, by_end.get(PurePosixPath(source.name).name)) for source in sources}
        return {name: number for name, number in found.items() if number is not None}
