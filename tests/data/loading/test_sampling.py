from itertools import chain

import numpy as np
import pytest

from coatseg.data.loading.sampling import Draw, EvaluationStream, TrainingStream, steps_per_epoch
from coatseg.errors import ConfigError


def epoch(step: int = 0, rank: int = 0, world_size: int = 1, seed: int = 0) -> list[list[Draw]]:
    return list(TrainingStream(10, batch_size=4, seed=seed, first_step=lambda: step, rank=rank, world_size=world_size))


def test_an_epoch_shows_every_sample_at_most_once_and_leaves_out_an_incomplete_batch() -> None:
    steps = epoch()
    assert [len(step) for step in steps] == [4, 4]
    assert len({draw.index for step in steps for draw in step}) == 8


def test_processes_share_each_step_without_changing_it() -> None:
    alone = epoch()
    shares = [epoch(rank=rank, world_size=2) for rank in range(2)]
    assert [first + second for first, second in zip(*shares, strict=True)] == alone


def test_resuming_is_an_offset() -> None:
    assert epoch(step=1) == epoch()[1:]
    assert epoch(step=3) == epoch(step=2)[1:]


def test_order_and_augmentation_differ_between_epochs_and_seeds() -> None:
    first, second, other = epoch(), epoch(step=2), epoch(seed=1)
    assert [draw.index for draw in first[0]] != [draw.index for draw in second[0]]
    assert first != other
    seeds = [draw.seed for step in (*first, *second, *other) for draw in step]
    assert len(set(seeds)) == len(seeds)


def test_iterating_again_asks_for_the_step_again() -> None:
    steps = iter([0, 2])
    stream = TrainingStream(10, batch_size=4, seed=0, first_step=lambda: next(steps))
    assert list(stream) == epoch(step=0)
    assert list(stream) == epoch(step=2)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"batch_size=12 is more than the 10"):
        TrainingStream(10, batch_size=12, seed=0, first_step=lambda: 0)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_evaluation_gives_every_sample_to_one_process(world_size: int, batch_size: int) -> None:
    streams = [
        EvaluationStream(7, batch_size=batch_size, rank=rank, world_size=world_size) for rank in range(world_size)
    ]
    draws = [draw for stream in streams for batch in stream for draw in batch]
    assert sorted(draw.index for draw in draws if not draw.repeated) == list(range(7))
    assert len({len(stream) for stream in streams}) == 1
    assert all(len(list(stream)) == len(stream) for stream in streams)
    assert all(draw.seed is None for draw in draws)


GROUPS = np.array([0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 1])  # five of 0, ten of 1


def grouped(step: int = 0, rank: int = 0, world_size: int = 1, seed: int = 0, batch_size: int = 4) -> list[list[Draw]]:
    return list(
        TrainingStream(
            len(GROUPS),
            batch_size=batch_size,
            seed=seed,
            first_step=lambda: step,
            rank=rank,
            world_size=world_size,
            groups=GROUPS,
        )
    )


def test_a_step_is_of_one_group_and_shows_every_sample_at_most_once_an_epoch() -> None:
    for seed in range(20):
        steps = grouped(seed=seed)
        assert [{int(GROUPS[draw.index]) for draw in step} for step in steps].count({0}) == 1
        assert [len({int(GROUPS[draw.index]) for draw in step}) for step in steps] == [1, 1, 1]
        assert len({draw.index for step in steps for draw in step}) == 12


def test_groups_come_in_any_order_and_leave_out_other_samples_each_time() -> None:
    firsts = {int(GROUPS[grouped(seed=seed)[0][0].index]) for seed in range(20)}
    assert firsts == {0, 1}
    seen = [frozenset(draw.index for step in grouped(step=3 * epoch) for draw in step) for epoch in range(20)]
    assert set().union(*seen) == set(range(15))


@pytest.mark.parametrize("world_size", [2, 4])
def test_grouped_steps_are_shared_by_processes_and_resumed_anywhere(world_size: int) -> None:
    for step in range(7):
        alone = grouped(step)
        assert alone == grouped(step // 3 * 3)[step % 3 :]
        shares = [grouped(step, rank, world_size) for rank in range(world_size)]
        assert [list(chain(*parts)) for parts in zip(*shares, strict=True)] == alone
    seeds = [draw.seed for step in (*grouped(), *grouped(3)) for draw in step]
    assert len(set(seeds)) == len(seeds) == 24
    assert grouped() != grouped(3)


def test_one_group_alone_is_as_long_as_no_groups() -> None:
    for length in range(4, 12):
        assert steps_per_epoch(length, 4, np.zeros(length, np.int64)) == steps_per_epoch(length, 4)
    assert steps_per_epoch(15, 4, GROUPS) == 3
    assert steps_per_epoch(15, 5, GROUPS) == 3


def test_a_group_that_fills_no_batch_is_not_silently_left_out() -> None:
    with pytest.raises(ConfigError, match="would leave out 5 of 15 samples") as caught:
        grouped(batch_size=6)
    assert "at most 5" in caught.value.mend
