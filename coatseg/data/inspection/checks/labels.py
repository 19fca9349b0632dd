"""Checks of label maps and layers: numbers that are no class, classes never seen, palettes that contradict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from coatseg.data.inspection.checks.base import Check, Finding, count, found, images
from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts
from coatseg.structures import Colour


def _no_class(sample: SampleFacts) -> str:
    pixels = 0 if sample.labels is None else sample.labels.unknown
    objects = 0 if sample.objects is None else sample.objects.unknown
    segments = 0 if sample.segments is None else sample.segments.unknown
    counts = {"pixels": pixels, "objects": objects, "segments": segments}
    return " and ".join(f"{number} {what}" for what, number in counts.items() if number)


no_class: Check = images(
    "with labels that are no class", "Add the classes, or leave the labels out.", _no_class, broken=True
)


def zeros_and_ignored(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find masks that hold only 0 and the ignore index, which are probably black and white masks.

    It is broken if a training would see no other mask.
    """
    info = splits[0].info
    if info.annotates & {"multilabel"} or len(info.classes) > 2:
        return []
    where, others, stops = [], 0, False
    for split in splits:
        shown = [f"{split.name} {sample.id}" for sample in split.samples if _is_black_and_white(sample)]
        all_are = bool(shown) and len(shown) == len(split.labels)
        others += len(split.labels) - len(shown)
        where += shown if split.whole or all_are else []
        stops |= all_are and split.complete and split.name == "train"
    other = f" while {others} hold others" if others else ""
    return found(
        f"{count(where, 'mask')} of nothing but 0 and {info.ignore_index}{other}: {info.ignore_index} is ignored, "
        f"so they never show {info.classes[-1]}",
        "Read black and white masks with data.layers=true task=multilabel and one class in classes.txt, or with "
        "data.colour_masks=true and colours there.",
        where,
        stops,
    )


def _is_black_and_white(sample: SampleFacts) -> bool:
    labels = sample.labels
    return labels is not None and bool(labels.ignored and labels.pixels[0]) and not labels.pixels[1:].any()


def unseen_classes(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find classes that no sample shows, and those that the train split does not show, if all samples were read."""
    splits = [split for split in splits if split.has_truth]
    if not splits or not all(split.complete for split in splits):
        return []
    info = splits[0].info
    ever = np.sum([split.class_images for split in splits], axis=0) > 0
    trained = next((split.class_images > 0 for split in splits if split.name == "train"), ever)
    expected = range(len(info.classes)) if any(split.labels for split in splits) else info.things
    never = [info.classes[number] for number in expected if not ever[number]]
    missed = [name for number, name in enumerate(info.classes) if ever[number] and not trained[number]]
    return [
        *found(
            f"{count(never, 'class', 'classes')} never seen",
            "Check the numbers or names in the annotations, or leave the classes out.",
            never,
        ),
        *found(
            f"{count(missed, 'class', 'classes')} seen in other splits and not in train",
            "They would not be learnt: split the images otherwise.",
            missed,
        ),
    ]


def palettes(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find masks that give a number another colour than the first mask with a palette that shows it."""
    first: dict[int, tuple[Colour, str]] = {}
    where, swapped = [], False
    for split in splits:
        for sample in split.samples:
            place = f"{split.name} {sample.id}"
            colours = dict(_colours(sample.palette))
            other = next(
                (number for number in colours if first.get(number, (colours[number],))[0] != colours[number]), None
            )
            if other is not None:
                colour, known = first[other]
                where.append(f"{place}: {other} is {_written(colours[other])}, and {_written(colour)} in {known}")
                elsewhere = {colour for number, (colour, _) in first.items() if number != other}
                swapped |= colours[other] in elsewhere
            for number, colour in colours.items():
                first.setdefault(number, (colour, place))
    words = ", some of them those of other numbers there, as if classes were swapped" if swapped else ""
    return found(
        f"{count(where, 'mask')} with a palette of other colours for the same numbers{words}",
        "The numbers are read: check that each means one class, or read colours with data.colour_masks=true and "
        "colours in classes.txt.",
        where,
    )


def _colours(palette: bytes) -> Iterator[tuple[int, Colour]]:
    for begin in range(0, len(palette), 4):
        number, red, green, blue = palette[begin : begin + 4]
        yield number, (red, green, blue)


def _written(colour: Colour) -> str:
    return " ".join(map(str, colour))


OF_LABELS: tuple[Check, ...] = (no_class, zeros_and_ignored, unseen_classes, palettes)
