"""Checks that find what is broken or suspicious in a dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts

SHIFTED = 2.0
"""By how many stated standard deviations the mean of the images may differ from the stated one."""
NARROW = 0.25
"""The least share of the stated standard deviation that the images' own may have."""


@dataclass(frozen=True)
class Finding:
    """Something that is `broken`, and certainly stops or spoils training, or else suspicious.

    `what` says what was found, `mend` what to do about it, and `where` lists every place.
    """

    what: str
    mend: str
    where: tuple[str, ...]
    broken: bool = False


def find(splits: Sequence[SplitFacts]) -> tuple[Finding, ...]:
    """Run all checks on the splits and return their findings, broken things first."""
    found = [finding for check in CHECKS for finding in check(splits)]
    return tuple(sorted(found, key=lambda finding: not finding.broken))


def unopened(split: str, reason: str, mend: str) -> Finding:
    """Return the finding that a split cannot be opened."""
    return Finding(f"the split {split} cannot be opened", mend, (f"{split}: {reason}",), broken=True)


def unreadable(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find samples that cannot be read."""
    where = [f"{split.name} number {bad.index}: {bad.reason}" for split in splits for bad in split.unreadable]
    mend = "A training would stop at them: mend the files, or take them out."
    return _found(f"{_count(where, 'sample')} could not be read", mend, where, broken=True)


def _images(what: str, mend: str, is_so: Callable[[SampleFacts], str | bool], broken: bool = False) -> Check:
    """Make a check of single images: `is_so` tells whether, or in which words, the finding `what` applies to one."""

    def check(splits: Sequence[SplitFacts]) -> list[Finding]:
        found = [(f"{split.name} {sample.id}", is_so(sample)) for split in splits for sample in split.samples]
        where = [f"{name}: {words}" if isinstance(words, str) else name for name, words in found if words]
        return _found(f"{_count(where, 'image')} {what}", mend, where, broken)

    return check


def _ignored(sample: SampleFacts) -> bool:
    return sample.labels is not None and 0 < sample.labels.total == sample.labels.ignored


def _no_class(sample: SampleFacts) -> str:
    pixels = 0 if sample.labels is None else sample.labels.unknown
    objects = 0 if sample.objects is None else sample.objects.unknown
    words = [f"{pixels} pixels"] * bool(pixels) + [f"{objects} objects"] * bool(objects)
    return " and ".join(words)


def _of_objects(name: str, words: str) -> Callable[[SampleFacts], str]:
    def is_so(sample: SampleFacts) -> str:
        count = 0 if sample.objects is None else getattr(sample.objects, name)
        return f"{count} {words}" if count else ""

    return is_so


def zeros_and_ignored(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find masks that hold only 0 and the ignore index, which are probably black and white masks."""
    info = splits[0].info
    if info.annotates & {"multilabel"} or len(info.classes) > 2:
        return []
    where, others = [], 0
    for split in splits:
        for sample in split.samples:
            labels = sample.labels
            if labels is None or labels.pixels[1:].any():
                others += labels is not None
            elif labels.ignored and labels.pixels[0]:
                where.append(f"{split.name} {sample.id}")
    other = f" while {others} hold others" if others else ""
    return _found(
        f"{_count(where, 'mask')} of nothing but 0 and {info.ignore_index}{other}: {info.ignore_index} is ignored, "
        f"so they never show {info.classes[-1]}",
        "Read black and white masks with data.layers=true task=multilabel and one class in classes.txt, or with "
        "data.colour_masks=true and colours there.",
        where,
    )


def unseen_classes(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find classes that no sample shows, and those that the train split does not show, if all samples were read."""
    if not all(split.complete for split in splits):
        return []
    info = splits[0].info
    ever = np.sum([split.class_images for split in splits], axis=0) > 0
    trained = next((split.class_images > 0 for split in splits if split.name == "train"), ever)
    expected = range(len(info.classes)) if any(split.labels for split in splits) else info.things
    never = [info.classes[number] for number in expected if not ever[number]]
    missed = [name for number, name in enumerate(info.classes) if ever[number] and not trained[number]]
    return [
        *_found(
            f"{_count(never, 'class', 'classes')} never seen",
            "Check the numbers or names in the annotations, or leave the classes out.",
            never,
        ),
        *_found(
            f"{_count(missed, 'class', 'classes')} seen in other splits and not in train",
            "They would not be learnt: split the images otherwise.",
            missed,
        ),
    ]


def duplicates(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find images whose decoded pixels are the same, between splits and within one."""
    places: dict[bytes, list[tuple[str, SampleFacts]]] = defaultdict(list)
    for split in splits:
        for sample in split.samples:
            places[sample.image].append((split.name, sample))
    groups = [group for group in places.values() if len(group) > 1]
    between = [_same(group) for group in groups if len({name for name, _ in group}) > 1]
    within = [_same(group) for group in groups if len({name for name, _ in group}) == 1]
    return [
        *_found(
            f"{_count(between, 'image')} in more than one split",
            "Scores on images that were trained on say little: leave each in one split.",
            between,
        ),
        *_found(
            f"{_count(within, 'image')} more than once in a split",
            "Leave one of each, unless they are meant to weigh more.",
            within,
        ),
    ]


def _same(group: Sequence[tuple[str, SampleFacts]]) -> str:
    named = " = ".join(f"{name} {sample.id}" for name, sample in group)
    return named if len({sample.truth for _, sample in group}) == 1 else f"{named}, with different annotations"


def normalisation(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find splits whose pixels are far from the stated mean and standard deviation."""
    info, where = splits[0].info, []
    for split in splits:
        if split.statistics is None or len(split.statistics[0]) != info.channels:
            continue
        mean, std = split.statistics
        stated = np.array(info.std)
        if (abs(mean - info.mean) > SHIFTED * stated).any() or (std < NARROW * stated).any():
            told = ", ".join(f"data.{name}=[{_listed(values)}]" for name, values in (("mean", mean), ("std", std)))
            where.append(f"{split.name}: {told}")
    what = f"the pixels are far from the stated mean [{_listed(info.mean)}] and std [{_listed(info.std)}]"
    return _found(what, "Where the reader takes them, as data=folder does, state these.", where)


def _listed(values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return ",".join(f"{value:.4g}" for value in values)


def _found(what: str, mend: str, where: Sequence[str], broken: bool = False) -> list[Finding]:
    return [Finding(what, mend, tuple(where), broken)] if where else []


def _count(where: Sequence[str], one: str, many: str = "") -> str:
    return f"{len(where)} {one if len(where) == 1 else many or one + 's'}"


Check = Callable[[Sequence[SplitFacts]], list[Finding]]
CHECKS: tuple[Check, ...] = (
    unreadable,
    _images(
        "with values that are not finite",
        "The loss becomes NaN: write a number where there is nothing.",
        lambda sample: f"{sample.not_finite} values" if sample.not_finite else "",
        broken=True,
    ),
    _images("with labels that are no class", "Add the classes, or leave the labels out.", _no_class, broken=True),
    _images(
        "with boxes that have no area or reach out of the image",
        "Mend the annotations.",
        _of_objects("outside", "boxes"),
        broken=True,
    ),
    duplicates,
    zeros_and_ignored,
    unseen_classes,
    _images("ignored everywhere", "Nothing is learnt from them: check their masks, or take them out.", _ignored),
    _images("of one colour", "Check the files, or take them out.", lambda sample: sample.constant),
    _images(
        "with objects whose mask has no pixel",
        "Polygons smaller than a pixel, or of another image: check them.",
        _of_objects("empty", "objects"),
    ),
    _images(
        "with objects annotated twice",
        "Leave one object of each class in a box.",
        _of_objects("repeated", "with the class and box of another"),
    ),
    normalisation,
)
