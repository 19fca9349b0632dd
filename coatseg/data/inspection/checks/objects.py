"""Checks of objects: boxes beyond the image or in other units, masks without a pixel or elsewhere, objects twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coatseg.data.inspection.checks.base import Check, Finding, count, found, images
from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts

MOST = 0.5
"""The share of all masks from which on they are said to be elsewhere than their boxes."""


def _counted(name: str, words: str) -> Callable[[SampleFacts], str]:
    def is_so(sample: SampleFacts) -> str:
        number = 0 if sample.objects is None else getattr(sample.objects, name)
        return f"{number} {words}" if number else ""

    return is_so


outside: Check = images(
    "with boxes that have no area or reach out of the image",
    "Mend the annotations.",
    _counted("outside", "boxes"),
    broken=True,
)
empty: Check = images(
    "with objects whose mask has no pixel",
    "Polygons smaller than a pixel, or of another image: check them.",
    _counted("empty", "objects"),
)
repeated: Check = images(
    "with objects annotated twice",
    "Leave one object of each class in a box.",
    _counted("repeated", "with the class and box of another"),
)


def fractions(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find splits all of whose boxes lie within the first pixel, since they are fractions of the image."""
    where = []
    for split in splits:
        annotated = [facts for facts in split.objects if len(facts.labels)]
        if annotated and all(facts.fractions for facts in annotated):
            where.append(f"{split.name}: {sum(len(facts.labels) for facts in annotated)} boxes")
    return found(
        "boxes are fractions of the image: none is beyond the first pixel",
        "Boxes are in pixels: multiply x by the image's width and y by its height.",
        where,
        broken=True,
    )


def elsewhere(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find masks that are not where their boxes are, if most are not."""
    where, all_masks, moved = [], 0, 0
    for split in splits:
        all_masks += sum(len(facts.labels) for facts in split.objects)
        for sample in split.samples:
            number = 0 if sample.objects is None else sample.objects.elsewhere
            moved += number
            where += [f"{split.name} {sample.id}: {number} objects"] if number else []
    return found(
        f"{count(where, 'image')} with masks that are not where their boxes are",
        "Polygons of another scale or another image, or boxes of other corners: check them.",
        where if moved > MOST * all_masks else [],
    )


OF_OBJECTS: tuple[Check, ...] = (outside, fractions, empty, elsewhere, repeated)
