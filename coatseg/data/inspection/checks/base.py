"""A finding, a check, and how checks of single samples are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from coatseg.data.inspection.facts import SampleFacts
from coatseg.data.inspection.splits import SplitFacts


@dataclass(frozen=True)
class Finding:
    """Something that is `broken`, and certainly stops or spoils training, or else suspicious.

    `what` says what was found, `mend` what to do about it, and `where` lists every place.
    """

    what: str
    mend: str
    where: tuple[str, ...]
    broken: bool = False


Check = Callable[[Sequence[SplitFacts]], list[Finding]]


def found(what: str, mend: str, where: Sequence[str], broken: bool = False) -> list[Finding]:
    """Return a finding, or none if it is nowhere."""
    return [Finding(what, mend, tuple(where), broken)] if where else []


def count(where: Sequence[str], one: str, many: str = "") -> str:
    """Return in words how many there are."""
    return f"{len(where)} {one if len(where) == 1 else many or one + 's'}"


def images(
    what: str, mend: str, is_so: Callable[[SampleFacts], str | bool], *, broken: bool = False, whole: bool = False
) -> Check:
    """Make a check of single images: `is_so` tells whether, or in which words, the finding `what` applies to one.

    What means nothing in a window of an image is only looked for in `whole` images.
    """

    def check(splits: Sequence[SplitFacts]) -> list[Finding]:
        looked_at = [split for split in splits if split.whole or not whole]
        told = [(f"{split.name} {sample.id}", is_so(sample)) for split in looked_at for sample in split.samples]
        where = [f"{name}: {words}" if isinstance(words, str) else name for name, words in told if words]
        return found(f"{count(where, 'image')} {what}", mend, where, broken)

    return check
