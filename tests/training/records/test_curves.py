from pathlib import Path

import cv2
import numpy as np
import pytest

from coatseg.training.records.curves import read_curves, save_curves, smoothed
from coatseg.training.records.metrics_table import MetricsTable


def table_of(path: Path, steps: range, validated: range) -> Path:
    table = MetricsTable(path)
    for step in steps:
        table.log_metrics({"loss": 3 / (step + 1), "loss/cross_entropy": 2 / (step + 1), "lr": 1e-3}, step=step)
        if step in validated:
            table.log_metrics({"val/mIoU": step / 100}, step=step)
    return path


def height(path: Path) -> int:
    picture = cv2.imread(str(path))
    assert picture is not None
    assert picture.std() > 5
    return int(picture.shape[0])


def test_curves_hold_the_logged_steps_and_values(tmp_path: Path) -> None:
    curves = read_curves(table_of(tmp_path / "metrics.csv", range(9, 100, 10), range(49, 100, 50)))
    steps, values = curves["val/mIoU"]
    assert steps.tolist() == [50, 100]
    assert values.tolist() == [0.49, 0.99]
    assert curves["loss"][0].tolist() == list(range(10, 101, 10))
    assert "step" not in curves


def test_values_that_are_not_finite_are_left_out(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv")
    for step, value in enumerate((0.5, float("nan"), float("inf"), 0.25)):
        table.log_metrics({"loss": value}, step=step)
    assert read_curves(table.path)["loss"][0].tolist() == [1, 4]


def test_smoothing_averages_neighbours() -> None:
    assert smoothed(np.arange(10.0)).tolist() == list(range(10))
    values = np.zeros(100)
    values[50] = 5.0
    expected = np.zeros(100)
    expected[48:53] = 1.0
    np.testing.assert_allclose(smoothed(values), expected, atol=1e-12)
    np.testing.assert_allclose(smoothed(np.arange(100.0))[[0, 50, 99]], [1.0, 50.0, 98.0])


@pytest.mark.parametrize(("steps", "validated"), [(range(1000), range(99, 1000, 100)), (range(1), range(1))])
def test_a_run_of_any_length_gives_three_panels(tmp_path: Path, steps: range, validated: range) -> None:
    table = table_of(tmp_path / "metrics.csv", steps, validated)
    assert save_curves(table, "val/mIoU", tmp_path / "curves.png")
    assert height(tmp_path / "curves.png") > 700


def test_a_run_without_validations_has_a_panel_less(tmp_path: Path) -> None:
    table = table_of(tmp_path / "metrics.csv", range(100), range(0))
    assert save_curves(table, "val/mIoU", tmp_path / "curves.png")
    assert 500 < height(tmp_path / "curves.png") < 650


@pytest.mark.parametrize("text", [None, "step,loss\n", "step,loss\n10,\n"])
def test_a_table_without_values_gives_no_picture(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.csv").write_text(text)
    assert not save_curves(tmp_path / "metrics.csv", "val/mIoU", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
