"""What a task needs of a sample: other truths are dropped before they are transformed, sent and padded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from coatseg.structures import Sample


def _bare(sample: Sample) -> Sample:
    return replace(sample, label_map=None, layers=None, instances=None, panoptic=None)


def _boxes(sample: Sample) -> Sample:
    instances = sample.instances
    if instances is not None and instances.masks is not None:
        # The masks tell small objects from large ones, of which average precision is given apart.
        areas = instances.masks.sum((1, 2)).astype(np.float64) if instances.areas is None else instances.areas
        instances = replace(instances, masks=None, areas=areas)
    return replace(_bare(sample), instances=instances)


KEPT: Mapping[str, Callable[[Sample], Sample]] = MappingProxyType(
    {
        "semantic": lambda sample: replace(_bare(sample), label_map=sample.label_map),
        "multilabel": lambda sample: replace(_bare(sample), layers=sample.layers),
        "boxes": _boxes,
        "instances": lambda sample: replace(_bare(sample), instances=sample.instances),
    }
)
"""For what a task may need, one of DatasetInfo.annotates: the sample with that truth alone."""


def only_needed(sample: Sample, needs: str | None) -> Sample:
    """Drop the truths that a task which needs `needs` does not look at; None, or a need of no known kind, keeps all."""
    keep = None if needs is None else KEPT.get(needs)
    return sample if keep is None else keep(sample)
