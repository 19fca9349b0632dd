"""Checks of panoptic segments: not listed, without a pixel, of another area than stated, stuff in several parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coatseg.data.inspection.checks.base import Check, Finding, found, images
from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts


def _counted(name: str) -> Callable[[SampleFacts], str]:
    def is_so(sample: SampleFacts) -> str:
        number = 0 if sample.segments is None else getattr(sample.segments, name)
        return f"{number} segment{'s' * (number != 1)}" if number else ""

    return is_so


unlisted: Check = images(
    "with segments in the map that are not listed",
    "List each with its class, or make it void, 0.",
    _counted("strangers"),
    broken=True,
)
absent: Check = images(
    "with listed segments that no pixel has",
    "They count as missed, as in panopticapi: take them out of the annotations.",
    _counted("absent"),
)
misstated: Check = images(
    "with segments of another area than the annotations state",
    "Segments are scored by their pixels here; panopticapi takes the areas of the json, and will score otherwise. "
    "Write the areas of the PNG files into it.",
    _counted("misstated"),
)
parted: Check = images(
    "with several segments of a class of stuff",
    "Predictions have one segment of each class of stuff, so that all but one of these are missed: give them one id, "
    "or make the class a thing.",
    _counted("parted"),
)


def crowded(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find splits in which every segment of a thing is a crowd."""
    where = []
    for split in splits:
        things = set(split.info.things)
        crowd = [
            bool(is_crowd)
            for facts in split.segments
            for label, is_crowd in zip(facts.labels.tolist(), facts.crowd, strict=True)
            if label in things
        ]
        where += [f"{split.name}: {len(crowd)} segments"] if crowd and all(crowd) else []
    return found(
        "every segment of a thing is a crowd, and crowds are neither learnt nor counted",
        "If they are single things, set iscrowd to 0 in the annotations.",
        where,
    )


OF_SEGMENTS: tuple[Check, ...] = (unlisted, absent, misstated, parted, crowded)
