"""The exact sample stream: what a step sees is a pure function of (seed, epoch, position).

Order and augmentation derive from these three numbers; splitting over processes and workers comes afterwards. So the
number of processes does not change what a step sees, and resuming is an offset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from coatseg.data.loading.balance import RareClasses
from coatseg.errors import ConfigError

Groups = npt.NDArray[np.integer]


@dataclass(frozen=True)
class Draw:
    """One place in a stream: which sample, the seed of its augmentation (None: as read), whether it only fills up.

    `focus` is the class for which the sample was drawn.
    """

    index: int
    seed: int | None = None
    repeated: bool = False
    focus: int | None = None


def epoch_order(length: int, seed: int, epoch: int) -> list[int]:
    """Shuffle `length` indices, as a function of seed and epoch."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(length).tolist()
    return order


def grouped_order(groups: Groups, batch_size: int, seed: int, epoch: int) -> list[int]:
    """Shuffle indices so that every `batch_size` of them are of one group, as a function of seed and epoch.

    `groups` (N,) is the group of each sample. Within a group the order is that of `epoch_order`, and what does not fill
    a batch in the end is left out; the batches of all groups are shuffled.
    """
    order = np.array(epoch_order(len(groups), seed, epoch))
    of_groups = (order[groups[order] == group] for group in np.unique(groups))
    batches = np.concatenate(
        [members[: len(members) // batch_size * batch_size].reshape(-1, batch_size) for members in of_groups]
    )
    # The third number keeps this draw apart from that of the order, which has the first two.
    shuffled: list[int] = np.random.default_rng([seed, epoch, 1]).permutation(batches).ravel().tolist()
    return shuffled


def augmentation_seed(seed: int, epoch: int, position: int) -> int:
    """Give the seed of the augmentation of one position in one epoch, 32 bits."""
    return int(np.random.SeedSequence([seed, epoch, position]).generate_state(1)[0])


def steps_per_epoch(length: int, batch_size: int, groups: Groups | None = None) -> int:
    """Give the number of whole batches in an epoch, each of one group if there are `groups` (N,).

    Raises:
        ConfigError: there is not even one, or none of a group.
    """
    if length < batch_size:
        raise ConfigError(
            f"data.batch_size={batch_size} is more than the {length} training samples.",
            f"Set data.batch_size to at most {length}.",
        )
    if groups is None:
        return length // batch_size
    sizes = np.unique(groups, return_counts=True)[1]
    if sizes.min() < batch_size:
        raise ConfigError(
            f"data.group_by_shape would leave out {sizes.min()} of {length} samples in every epoch: upright and lying "
            f"images fill no batch of {batch_size} by themselves.",
            f"Set data.group_by_shape=false, or data.batch_size to at most {sizes.min()}.",
        )
    return int((sizes // batch_size).sum())


class TrainingStream:
    """A batch sampler that yields, step by step, the draws of one process.

    Step `s` of an epoch sees the positions from `s * batch_size` on, over all processes; process `rank` takes its
    contiguous share of them. An incomplete last batch is left out. `first_step` is asked whenever iteration begins, and
    answers with the number of optimizer steps taken since the start of the run. With `rare_classes`, samples are drawn
    for their classes instead of each once an epoch. With `groups` (N,), one number a sample, the samples of a step are
    all of one group.
    """

    def __init__(
        self,
        length: int,
        *,
        batch_size: int,
        seed: int,
        first_step: Callable[[], int],
        rank: int = 0,
        world_size: int = 1,
        rare_classes: RareClasses | None = None,
        groups: Groups | None = None,
    ) -> None:
        self.length = length
        self.groups = groups
        self.rare_classes = rare_classes
        self.batch_size = batch_size
        self.seed = seed
        self.first_step = first_step
        self.rank = rank
        self.share = batch_size // world_size
        self.steps = steps_per_epoch(length, batch_size, groups)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, first = divmod(self.first_step(), self.steps)
        order = self._order(epoch)
        for step in range(first, self.steps):
            begin = step * self.batch_size + self.rank * self.share
            yield [self._draw(order, epoch, position) for position in range(begin, begin + self.share)]

    def _order(self, epoch: int) -> list[int]:
        if self.groups is None:
            return epoch_order(self.length, self.seed, epoch)
        return grouped_order(self.groups, self.batch_size, self.seed, epoch)

    def _draw(self, order: list[int], epoch: int, position: int) -> Draw:
        seed = augmentation_seed(self.seed, epoch, position)
        if self.rare_classes is None:
            return Draw(order[position], seed)
        index, focus = self.rare_classes.draw(self.seed, epoch, position)
        return Draw(index, seed, focus=focus)


class EvaluationStream:
    """A batch sampler that gives every sample to exactly one process, in order, as read.

    Every process gets the same number of batches, as collective operations ask for; draws that only fill up are
    marked repeated.
    """

    def __init__(self, length: int, *, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.batch_size = batch_size
        share = math.ceil(length / world_size)
        positions = range(rank, share * world_size, world_size)
        self.draws = [Draw(min(position, length - 1), repeated=position >= length) for position in positions]

    def __len__(self) -> int:
        return math.ceil(len(self.draws) / self.batch_size)

    def __iter__(self) -> Iterator[list[Draw]]:
        for begin in range(0, len(self.draws), self.batch_size):
            yield self.draws[begin : begin + self.batch_size]
