"""The exact sample stream: the samples of a step are a pure function of (seed, epoch, position).

Order and augmentation derive from these three numbers; processes and workers share the stream afterwards. So the number
of processes does not change the samples of a step, and resuming is an offset.
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
    """One place in a stream: the sample, its augmentation's seed (None: as read), whether it only fills a batch.

    `focus` is the class for which the sample was drawn.
    """

    index: int
    seed: int | None = None
    repeated: bool = False
    focus: int | None = None


def epoch_order(length: int, seed: int, epoch: int) -> list[int]:
    """Return `length` indices in random order, as a function of seed and epoch."""
    order: list[int] = np.random.default_rng([seed, epoch]).permutation(length).tolist()
    return order


def grouped_order(groups: Groups, batch_size: int, seed: int, epoch: int) -> list[int]:
    """Return indices in random order, every `batch_size` of them from one group, as a function of seed and epoch.

    `groups` (N,) is the group of each sample. Within a group the order is that of `epoch_order`, and samples that do
    not fill a last batch are left out; then the batches of all groups are shuffled.
    """
    order = np.array(epoch_order(len(groups), seed, epoch))
    of_groups = (order[groups[order] == group] for group in np.unique(groups))
    batches = np.concatenate(
        [members[: len(members) // batch_size * batch_size].reshape(-1, batch_size) for members in of_groups]
    )
    # The third number makes this draw independent of that of the order, which has the first two.
    shuffled: list[int] = np.random.default_rng([seed, epoch, 1]).permutation(batches).ravel().tolist()
    return shuffled


def augmentation_seed(seed: int, epoch: int, position: int) -> int:
    """Return the seed, of 32 bits, of the augmentation at one position in one epoch."""
    return int(np.random.SeedSequence([seed, epoch, position]).generate_state(1)[0])


def steps_per_epoch(length: int, batch_size: int, groups: Groups | None = None) -> int:
    """Return the number of whole batches in an epoch, each of one group if there are `groups` (N,).

    Raises:
        ConfigError: the samples, or those of a group, do not fill one batch.
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

    Step `s` of an epoch takes the positions from `s * batch_size` on, over all processes; process `rank` takes its
    contiguous share of them. An incomplete last batch is left out. `first_step` is called whenever iteration begins,
    and returns the number of optimizer steps since the start of the run. With `rare_classes`, samples are drawn by
    their classes instead of each once an epoch. With `groups` (N,), one number per sample, the samples of a step are
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
    """A batch sampler that assigns every sample to exactly one process, in order, without augmentation.

    Every process gets the same number of batches, as collective operations require; draws that only fill up its share
    are marked repeated.
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
