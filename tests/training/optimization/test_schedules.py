import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR, PolynomialLR

from coatseg.errors import ConfigError
from coatseg.registry.names import make, table
from coatseg.training.optimization.schedules import Schedule, Timing, constant, cosine, multistep, onecycle, poly

TOTAL, EPOCH = 120, 12


def rates_of_torch(scheduler: Callable[[SGD], LRScheduler], steps: int) -> list[float]:
    """What torch's scheduler makes of the base rate 1, step by step."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    moving = scheduler(optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        moving.step()
    return rates


THEIRS: dict[str, tuple[Schedule, Callable[[SGD], LRScheduler]]] = {
    "poly": (poly(TOTAL, power=0.9), lambda sgd: PolynomialLR(sgd, total_iters=TOTAL, power=0.9)),
    "cosine": (cosine(TOTAL, final=0.1), lambda sgd: CosineAnnealingLR(sgd, T_max=TOTAL, eta_min=0.1)),
    "multistep": (multistep(TOTAL, milestones=[50, 90], gamma=0.2), lambda sgd: MultiStepLR(sgd, [50, 90], gamma=0.2)),
    "onecycle": (onecycle(TOTAL), lambda sgd: OneCycleLR(sgd, max_lr=1.0, total_steps=TOTAL)),
    "onecycle, other": (
        onecycle(TOTAL, pct_start=0.45, div_factor=10, final_div_factor=100),
        lambda sgd: OneCycleLR(sgd, 1.0, total_steps=TOTAL, pct_start=0.45, div_factor=10, final_div_factor=100),
    ),
}


@pytest.mark.parametrize("name", THEIRS)
def test_steps_are_those_of_torch(name: str) -> None:
    factor, theirs = THEIRS[name]
    assert [factor(step) for step in range(TOTAL)] == pytest.approx(rates_of_torch(theirs, TOTAL), abs=1e-9)


EPOCHS = TOTAL // EPOCH
BY_EPOCH: dict[str, tuple[Schedule, Callable[[SGD], LRScheduler]]] = {
    "poly": (
        poly(TOTAL, EPOCH, timing=Timing(by="epoch")),
        lambda sgd: PolynomialLR(sgd, total_iters=EPOCHS, power=0.9),
    ),
    "cosine": (cosine(TOTAL, EPOCH, timing=Timing(by="epoch")), lambda sgd: CosineAnnealingLR(sgd, T_max=EPOCHS)),
    "multistep": (
        multistep(TOTAL, EPOCH, milestones=[4, 8], timing=Timing(by="epoch")),
        lambda sgd: MultiStepLR(sgd, [4, 8]),
    ),
    "constant": (constant(TOTAL, EPOCH, timing=Timing(by="epoch")), lambda sgd: MultiStepLR(sgd, [])),
}


@pytest.mark.parametrize("name", BY_EPOCH)
def test_epochs_are_those_of_torch(name: str) -> None:
    factor, theirs = BY_EPOCH[name]
    expected = [rate for rate in rates_of_torch(theirs, EPOCHS) for _ in range(EPOCH)]
    assert [factor(step) for step in range(TOTAL)] == pytest.approx(expected, abs=1e-9)


def test_onecycle_by_epoch_keeps_the_rate_of_an_epochs_first_step() -> None:
    by_step, by_epoch = onecycle(TOTAL, EPOCH), onecycle(TOTAL, EPOCH, by="epoch")
    assert [by_epoch(step) for step in range(TOTAL)] == [by_step(step // EPOCH * EPOCH) for step in range(TOTAL)]


def test_poly_by_its_formula() -> None:
    factor = poly(100, power=0.9)
    assert factor(0) == 1
    assert factor(50) == pytest.approx(0.5**0.9)
    assert factor(100) == 0


def test_cosine_by_its_formula() -> None:
    factor = cosine(100, final=0.1)
    assert factor(0) == 1
    assert factor(25) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert factor(100) == pytest.approx(0.1)


def test_onecycle_begins_peaks_and_ends_where_it_says() -> None:
    factor = onecycle(100, pct_start=0.31, div_factor=20, final_div_factor=1000)
    assert factor(0) == pytest.approx(1 / 20)
    assert factor(15) == pytest.approx((1 / 20 + 1) / 2)
    assert factor(30) == 1
    assert factor(99) == factor(100) == pytest.approx(1 / 20_000)


def test_warm_up_rises_in_equal_parts_and_decay_begins_after_it() -> None:
    factor = poly(110, power=1.0, timing=Timing(warmup=10))
    assert [factor(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert factor(60) == pytest.approx(0.5)


def test_milestones_count_from_the_start_of_the_run_whatever_the_warm_up() -> None:
    factor = multistep(100, milestones=[40, 60], timing=Timing(warmup=10))
    assert [factor(step) for step in (4, 9, 39, 40, 59, 60)] == pytest.approx([0.5, 1.0, 1.0, 0.1, 0.1, 0.01])


def test_constant_only_warms_up() -> None:
    factor = constant(100, timing=Timing(warmup=4))
    assert [factor(step) for step in (0, 1, 2, 3, 4, 99)] == [0.25, 0.5, 0.75, 1, 1, 1]


def test_lengths_below_one_are_shares_of_the_run() -> None:
    for shared, counted in [
        (cosine(200, timing=Timing(warmup=0.05)), cosine(200, timing=Timing(warmup=10))),
        (multistep(200, milestones=[0.5, 0.75]), multistep(200, milestones=[100, 150])),
        (multistep(200, 10, milestones=[0.5, 0.75], timing=Timing(by="epoch")), multistep(200, milestones=[100, 150])),
    ]:
        assert [shared(step) for step in range(200)] == [counted(step) for step in range(200)]


def test_by_epoch_the_warm_up_counts_epochs_and_still_rises_every_step() -> None:
    factor = poly(100, 10, power=1.0, timing=Timing(warmup=2, by="epoch"))
    assert [factor(step) for step in range(20)] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert [factor(step) for step in (20, 29, 30, 39, 99)] == pytest.approx([1, 1, 7 / 8, 7 / 8, 1 / 8])


def test_by_epoch_a_milestone_within_an_epoch_counts_from_the_next_one() -> None:
    factor = multistep(100, 20, milestones=[0.5], timing=Timing(by="epoch"))
    assert [factor(step) for step in (49, 50, 59, 60)] == [1, 1, 1, 0.1]


def test_a_warm_up_that_ends_within_an_epoch_is_followed_by_the_full_rate() -> None:
    factor = poly(100, 10, power=1.0, timing=Timing(warmup=0.05, by="epoch"))
    assert [factor(step) for step in (4, 5, 9)] == [1, 1, 1]
    assert factor(10) == factor(19) == pytest.approx(90 / 95)


@pytest.mark.parametrize("name", ["constant", "poly", "cosine"])
def test_a_warm_up_that_is_the_whole_run_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"(?s)schedule.warmup=10 steps.*run of 10 steps.*schedule.warmup=0.05"):
        make("schedule", name, {"warmup": 10}, "schedule", total=10, epoch=5)
    with pytest.raises(ConfigError, match=r"schedule\.warmup=2 epochs"):
        make("schedule", name, {"warmup": 2, "by": "epoch"}, "schedule", total=10, epoch=5)


@pytest.mark.parametrize("name", table("schedule"))
@pytest.mark.parametrize("total", [1, 2, 3, 7])
def test_the_shortest_runs_have_finite_rates(name: str, total: int) -> None:
    options: dict[str, Any] = {"milestones": [0.67, 0.89]} if name == "multistep" else {}
    factor = make("schedule", name, options, "schedule", total=total, epoch=1)
    assert all(0 <= factor(step) <= 1 for step in range(total + 1))


@pytest.mark.parametrize(
    ("milestones", "by", "message"),
    [
        ([], "step", "milestones is empty"),
        ([60, 40], "step", r"milestones=\[60, 40\] do not increase"),
        ([40, 40], "step", "do not increase"),
        ([0.9, 50], "step", "do not increase"),
        ([40, 100], "step", "step 100 lies beyond the run, which ends at step 100"),
        ([4, 12], "epoch", "epoch 12 lies beyond the run, which ends at step 100 of 10 an epoch"),
    ],
)
def test_milestones_that_cannot_be_are_refused(milestones: list[float], by: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        multistep(100, 10, milestones=milestones, timing=Timing(by=by))
