"""All checks that find what is broken or suspicious in a dataset, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Sequence

from coatseg.data.inspection.checks.base import Check, Finding
from coatseg.data.inspection.checks.images import OF_IMAGES
from coatseg.data.inspection.checks.labels import OF_LABELS
from coatseg.data.inspection.checks.nothing_to_learn import OF_LEARNING
from coatseg.data.inspection.checks.objects import OF_OBJECTS
from coatseg.data.inspection.checks.segments import OF_SEGMENTS
from coatseg.data.inspection.splits import SplitFacts

CHECKS: tuple[Check, ...] = (*OF_LEARNING, *OF_IMAGES, *OF_LABELS, *OF_OBJECTS, *OF_SEGMENTS)


def find(splits: Sequence[SplitFacts]) -> tuple[Finding, ...]:
    """Run all checks on the splits and return their findings, broken things first."""
    told = [finding for check in CHECKS for finding in check(splits)]
    return tuple(sorted(told, key=lambda finding: not finding.broken))


def unopened(split: str, reason: str, mend: str) -> Finding:
    """Return the finding that a split cannot be opened."""
    return Finding(f"the split {split} cannot be opened", mend, (f"{split}: {reason}",), broken=True)
