import json
from pathlib import Path

import numpy as np
import pytest

from coatseg.metrics.confusion import semantic_scores
from coatseg.training.records.report import write_report, write_scores


def test_scores_for_programs_hold_means_classes_and_facts_and_null_where_undefined(tmp_path: Path) -> None:
    scores = semantic_scores(np.array([[3, 1, 0], [0, 4, 0], [0, 0, 0]]), ("road", "car", "bus"))
    path = write_scores(tmp_path, scores, {"step": 7})
    assert json.loads(path.read_text()) == {
        "step": 7,
        "summary": {"mIoU": (3 / 4 + 4 / 5) / 2, "mAcc": 7 / 8, "aAcc": 7 / 8},
        "classes": {
            "road": {"IoU": 75.0, "accuracy": 75.0, "share of pixels": 50.0},
            "car": {"IoU": 80.0, "accuracy": 100.0, "share of pixels": 50.0},
            "bus": {"IoU": None, "accuracy": None, "share of pixels": 0.0},
        },
    }


def test_scores_of_nothing_are_null(tmp_path: Path) -> None:
    path = write_scores(tmp_path, semantic_scores(np.zeros((1, 1)), ("road",)), {})
    assert json.loads(path.read_text())["summary"] == {"mIoU": None, "mAcc": None, "aAcc": None}


@pytest.mark.parametrize("there", [True, False])
def test_a_report_shows_the_pictures_that_are_there(tmp_path: Path, there: bool) -> None:
    curves = tmp_path / "pictures" / "curves.png"
    if there:
        curves.parent.mkdir()
        curves.touch()
    report = write_report(tmp_path, semantic_scores(np.eye(2), ("a", "b")), "title", {}, [("curves", curves)])
    text = report.read_text()
    assert ("![curves](pictures/curves.png)" in text) == there
    assert "![scores](pictures/scores.png)" in text


def test_scores_that_nothing_draws_are_reported_all_the_same(tmp_path: Path) -> None:
    class Own:
        definition = "half of everything"

        def summary(self) -> dict[str, float]:
            return {"half": 0.5}

        def headline(self) -> str:
            return "half 0.5"

        def table(self) -> list[tuple[str, ...]]:
            return [("class", "half"), ("a", "50.00")]

    text = write_report(tmp_path, Own(), "title", {}).read_text()
    assert "**half 0.5**" in text
    assert "![" not in text
