"""Processes share a folder: every file is one process's, in groups that do not depend on what is done."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from coatseg.data.images.sources import Source
from coatseg.results.predict.canvas import LabelMap
from coatseg.results.predict.objects_json import image_numbers
from coatseg.results.predict.run import PredictionRun
from coatseg.results.predict.writers import writer_of
from coatseg.system.fsspec_folders import Place
from tests.results.models import small_predictor


def groups_of(folder: Path, images: int, rank: int, processes: int) -> list[list[str]]:
    predictor = small_predictor(batch_size=2)
    sources = [Source(f"{number}", f"{number}.png", f"{number}.png") for number in range(images)]
    run = PredictionRun(predictor, sources, writer_of(predictor.task, Place(folder)), pictures=False, workers=0)
    run.trainer = SimpleNamespace(global_rank=rank, world_size=processes)
    return [[source.id for source in group] for group in run.predict_dataloader().dataset.groups]


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_each_file_is_predicted_once(tmp_path: Path, processes: int) -> None:
    shares = [groups_of(tmp_path, 7, rank, processes) for rank in range(processes)]
    groups = [group for share in shares for group in share]
    assert sorted(groups) == [["0", "1"], ["2", "3"], ["4", "5"], ["6"]]


def test_groups_stay_as_they_are_when_some_are_done(tmp_path: Path) -> None:
    writer = writer_of(small_predictor().task, Place(tmp_path))
    for name in ("0", "1", "2", "6"):
        writer.write(Source(name, f"{name}.png", f"{name}.png"), LabelMap(name, np.zeros((4, 4), np.uint8)), None)
    assert groups_of(tmp_path, 7, 0, 1) == [["2", "3"], ["4", "5"]]
    assert groups_of(tmp_path, 7, 0, 2) == [["4", "5"]]
    assert groups_of(tmp_path, 7, 1, 2) == [["2", "3"]]


def test_images_have_the_numbers_that_cocos_files_are_called() -> None:
    assert image_numbers(["val/000000000139", "val/000000000285"]) == {"val/000000000139": 139, "val/000000000285": 285}
    assert image_numbers(["7", "a"]) == {"7": 1, "a": 2}
    assert image_numbers(["x/07", "y/7"]) == {"x/07": 1, "y/7": 2}
