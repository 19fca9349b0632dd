"""Checks that find what can teach nothing: it is broken where the whole train split is so, else suspicious."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coatseg.data.inspection.checks.base import Check, Finding, found, images
from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts

ONE_CLASS = (
    "A softmax over one class is 1 everywhere: read masks of one thing as layers, with data.layers=true "
    "task=multilabel, or add a class for the background."
)


def _all(what: str, mend: str, is_so: Callable[[SplitFacts], str]) -> Check:
    """Make a check of whole splits: `is_so` tells in words that `what` applies to all that was read of one."""

    def check(splits: Sequence[SplitFacts]) -> list[Finding]:
        told = [(split, is_so(split)) for split in splits]
        where = [f"{split.name}: {words}" for split, words in told if words]
        stops = any(words and split.complete and split.name == "train" for split, words in told)
        return found(what, mend, where, stops)

    return check


def _ignored(sample: SampleFacts) -> bool:
    return sample.labels is not None and 0 < sample.labels.total == sample.labels.ignored


def _all_ignored(split: SplitFacts) -> str:
    are_so = split.labels and all(_ignored(sample) for sample in split.samples if sample.labels is not None)
    number = len(split.labels)
    return f"the {number} mask{'s' * (number != 1)} that {'were' if number != 1 else 'was'} read" if are_so else ""


def ignored(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find masks that are ignored everywhere: all of a split, or single ones of whole images."""
    info = splits[0].info
    every = _all(
        "every label is ignored",
        f"Nothing can be learnt or scored: {info.name} has the classes 0 to {len(info.classes) - 1} as its reader "
        f"numbers them, and all else is ignored. Masks with numbers of their own are read by data=folder, with a class "
        f"for each number in classes.txt, and black and white ones with data.layers=true task=multilabel.",
        _all_ignored,
    )
    some = images(
        "ignored everywhere",
        "Nothing is learnt from them: check their masks, or take them out.",
        _ignored,
        whole=True,
    )
    return [*every(splits), *some([split for split in splits if not _all_ignored(split)])]


def _all_crowd(split: SplitFacts) -> str:
    count = sum(len(facts.labels) for facts in split.objects)
    return f"{count} objects" if count and all(facts.crowd.all() for facts in split.objects) else ""


def _no_object(split: SplitFacts) -> str:
    none = split.objects and not any(len(facts.labels) for facts in split.objects)
    return f"{len(split.objects)} images" if none else ""


def one_class(splits: Sequence[SplitFacts]) -> list[Finding]:
    """Find label maps of a single class, which all pixels have."""
    info = splits[0].info
    alone = len(info.classes) == 1 and "semantic" in info.annotates and any(split.labels for split in splits)
    return found("there is a single class, which nothing is told apart from", ONE_CLASS, info.classes if alone else [])


OF_LEARNING: tuple[Check, ...] = (
    ignored,
    _all(
        "every object is a crowd, and crowds are not learnt",
        "If they are single objects, set data.crowd=objects; tools that write masks as run lengths mark them so.",
        _all_crowd,
    ),
    _all("no image has an object", "Check the annotations, or that they belong to these images.", _no_object),
    one_class,
)
