"""Checks of images: what cannot be read, values that are no numbers or no data, the same twice, far from the mean."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from coatseg.data.inspection.checks.base import Check, Finding, count, found, images
from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts

SHIFTED = 2.0
"""By how many stated standard deviations the mean of the images may differ from the stated one."""
NARROW = 0.25
"""The least share of the stated standard deviation that the images' own may have."""
DEPTH, QUARTER = 65535, 65536 // 4
"""The greatest number of 16 bit, and below which all are if the values have 14 bits or fewer."""


def unreadable(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find samples that cannot be read."""
    where = [f"{split.name} number {bad.index}: {bad.reason}" for split in splits for bad in split.unreadable]
    mend = "A training would stop at them: mend the files, or take them out."
    return found(f"{count(where, 'sample')} could not be read", mend, where, broken=True)


def _not_finite(sample: SampleFacts) -> str:
    place = f" in {sample.file}" if sample.file else ""
    return f"{sample.not_finite} values{place}" if sample.not_finite else ""


not_finite = images(
    "with values that are not finite",
    "The loss becomes NaN: write a number where there is nothing; data=folder leaves nan out with data.nodata=nan.",
    _not_finite,
    broken=True,
)


def _stated_nodata(sample: SampleFacts) -> str:
    share = sample.stated / (sample.size[0] * sample.size[1])
    return f"{share:.1%} of it is {sample.stated_value:g}" if sample.stated else ""


stated_nodata = images(
    "with pixels of the value that the file states for no data",
    "They are taken for measurements: data=folder fills them and ignores their labels with data.nodata=stated.",
    _stated_nodata,
)

one_colour: Check = images(
    "of one colour", "Check the files, or take them out.", lambda sample: sample.constant, whole=True
)


def duplicates(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find images whose decoded pixels are the same, between splits and within one."""
    places: dict[bytes, list[tuple[str, SampleFacts]]] = defaultdict(list)
    for split in splits:
        for sample in split.samples if split.whole else ():
            places[sample.image].append((split.name, sample))
    groups = [group for group in places.values() if len(group) > 1]
    between = [_same(group) for group in groups if len({name for name, _ in group}) > 1]
    within = [_same(group) for group in groups if len({name for name, _ in group}) == 1]
    return [
        *found(
            f"{count(between, 'image')} in more than one split",
            "Scores on images that were trained on say little: leave each in one split.",
            between,
        ),
        *found(
            f"{count(within, 'image')} more than once in a split",
            "Leave one of each, unless they are meant to weigh more.",
            within,
        ),
    ]


def _same(group: Sequence[tuple[str, SampleFacts]]) -> str:
    named = " = ".join(f"{name} {sample.id}" for name, sample in group)
    return named if len({sample.truth for _, sample in group}) == 1 else f"{named}, with different annotations"


def normalisation(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find splits whose pixels are far from the stated mean and deviation, or keep to few of the 16 bits they have."""
    info, where = splits[0].info, []
    for split in splits:
        if split.statistics is None or len(split.statistics[0]) != info.channels:
            continue
        mean, std = split.statistics
        stated, few = np.array(info.std), _few_bits(split)
        if few or (abs(mean - info.mean) > SHIFTED * stated).any() or (std < NARROW * stated).any():
            told = ", ".join(f"data.{name}=[{_listed(values)}]" for name, values in (("mean", mean), ("std", std)))
            where.append(f"{split.name}: {told}{few}")
    what = f"the pixels are far from the stated mean [{_listed(info.mean)}] and std [{_listed(info.std)}]"
    return found(what, "Where the reader takes them, as data=folder does, state these.", where)


def _few_bits(split: SplitFacts) -> str:
    """Return in words how small 16-bit values are if all are below the stated mean and a quarter of the range."""
    greatest = max((sample.greatest for sample in split.samples), default=0)
    deep = all(sample.dtype == "uint16" for sample in split.samples)
    if not deep or greatest >= min(QUARTER, DEPTH * min(split.info.mean)):
        return ""
    return f" (no value is above {greatest} of {DEPTH}: {greatest.bit_length()} bits in 16)"


def _listed(values: Sequence[float] | np.ndarray[tuple[int], np.dtype[np.float64]]) -> str:
    return ",".join(f"{value:.4g}" for value in values)


OF_IMAGES: tuple[Check, ...] = (unreadable, not_finite, stated_nodata, duplicates, one_colour, normalisation)
