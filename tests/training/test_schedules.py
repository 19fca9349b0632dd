import math

import pytest

from coatseg.errors import ConfigError
from coatseg.training.schedules import cosine, poly


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


def test_warm_up_rises_in_equal_parts_and_decay_begins_after_it() -> None:
    factor = poly(110, power=1.0, warmup=10)
    assert [factor(step) for step in (0, 4, 9, 10)] == pytest.approx([0.1, 0.5, 1.0, 1.0])
    assert factor(60) == pytest.approx(0.5)


def test_warm_up_below_one_is_a_share_of_the_run() -> None:
    shared, counted = cosine(200, warmup=0.05), cosine(200, warmup=10)
    assert [shared(step) for step in range(200)] == [counted(step) for step in range(200)]


def test_a_run_shorter_than_its_warm_up_stays_finite() -> None:
    assert [poly(5, warmup=10)(step) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])


def test_negative_warm_up_is_refused() -> None:
    with pytest.raises(ConfigError, match="warmup=-1"):
        poly(10, warmup=-1)
