import pytest

from coatseg.data.sampling import Draw, EvaluationStream, TrainingStream
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
