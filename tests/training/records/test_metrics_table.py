import csv
from pathlib import Path

from coatseg.training.records.metrics_table import MetricsTable


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_are_appended_and_new_names_add_columns(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv")
    table.log_metrics({"loss": 2.0}, step=9)
    table.log_metrics({"val/mIoU": 0.5}, step=9)
    table.log_metrics({"loss": 1.0}, step=19)
    assert rows(table.path) == [
        {"step": "10", "loss": "2.0", "val/mIoU": ""},
        {"step": "10", "loss": "", "val/mIoU": "0.5"},
        {"step": "20", "loss": "1.0", "val/mIoU": ""},
    ]


def test_a_resumed_run_goes_on_and_tells_no_step_twice(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    killed = MetricsTable(path)
    for step in (9, 19, 29):
        killed.log_metrics({"loss": float(step)}, step=step)
    resumed = MetricsTable(path)
    resumed.log_metrics({"loss": 0.5}, step=19)
    resumed.log_metrics({"loss": 0.25}, step=29)
    assert [(row["step"], row["loss"]) for row in rows(path)] == [("10", "9.0"), ("20", "0.5"), ("30", "0.25")]
