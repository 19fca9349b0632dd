"""Images with pixels without data, predicted and turned into features as they were trained on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import coatseg
from coatseg.config.restore import read_trained
from coatseg.data.images.sources import find_sources
from coatseg.data.images.statements.nodata import NoData
from coatseg.errors import ImageError
from coatseg.results.features.images import FolderImages
from coatseg.results.features.model import checkpoint_model
from coatseg.results.predict.opened_image import open_path
from coatseg.structures import Sample
from coatseg.tasks.inference.options import Inference
from coatseg.tasks.multilabel import MultilabelTask
from tests.data.generate import write_folder
from tests.data.rasters import write_tiff
from tests.results.checkpoints import write_checkpoint
from tests.results.models import blotches, panoptic_predictor, small_predictor

Composed = Callable[..., dict[str, Any]]
INFERENCES = [Inference(), Inference(window=(32, 32))]


def holed(value: float) -> np.ndarray:
    image = blotches(64, 48).astype(np.float32) / 255
    image[10:30, 5:20] = value
    return image


@pytest.mark.parametrize("inference", INFERENCES, ids=["whole", "windows"])
def test_there_is_no_class_without_data_and_the_mean_is_seen(tmp_path: Path, inference: Inference) -> None:
    path = write_tiff(tmp_path / "a.tif", holed(-9999), tiled=True, nodata=-9999)
    found = small_predictor(inference, nodata="stated")(path)
    expected = small_predictor(inference)(holed(0.5)).label_map.clone()
    expected[10:30, 5:20] = 255
    assert torch.equal(found.label_map, expected)
    assert torch.equal(small_predictor(inference, nodata=-9999.0)(holed(-9999)).label_map, expected)
    assert torch.equal(small_predictor(inference, nodata="nan")(holed(np.nan)).label_map, expected)


@pytest.mark.parametrize("inference", INFERENCES, ids=["whole", "windows"])
def test_layers_are_empty_without_data(inference: Inference) -> None:
    found = small_predictor(inference, task=MultilabelTask, nodata="nan")(holed(np.nan))
    assert not found.layers[:, 10:30, 5:20].any()
    assert found.layers.any()


def test_segments_are_void_without_data_and_end_where_they_have_no_other_pixel() -> None:
    found = panoptic_predictor(nodata="nan")(holed(np.nan))
    assert not found.ids[10:30, 5:20].any()
    assert found.ids.unique().tolist() == [0, *range(1, len(found) + 1)]
    everywhere = panoptic_predictor(nodata="nan")(np.full((8, 9, 3), np.nan, np.float32))
    assert (len(everywhere), int(everywhere.ids.sum())) == (0, 0)


def test_without_the_option_nan_is_refused() -> None:
    with pytest.raises(ImageError, match="no numbers"):
        small_predictor()(holed(np.nan))


def test_files_that_are_written_have_the_same_holes(tmp_path: Path) -> None:
    path = write_tiff(tmp_path / "a.tif", holed(-9999), tiled=True, nodata=-9999)
    for windows, inference in zip((False, True), INFERENCES, strict=True):
        predictor = small_predictor(inference, nodata="stated")
        opened = open_path("a", path, 3, windows=windows, nodata=NoData("stated", (0.5,) * 3))
        (written,) = predictor.results([opened])
        assert (written.labels[10:30, 5:20] == 255).all()
        assert (written.labels[30:] != 255).all()


def test_the_option_travels_in_the_checkpoint(composed: Composed, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mine")
    small = ("backbone=coat_lite_tiny", "head.width=32", "head.pyramid_width=16")
    config = composed(*small, "data=folder", f"data.root={root}", "data.nodata=nan")
    write_checkpoint(tmp_path / "a.ckpt", config)
    trained = read_trained(tmp_path / "a.ckpt")
    assert trained.images["nodata"] == "nan"
    assert coatseg.load(tmp_path / "a.ckpt", device="cpu").nodata == NoData("nan", trained.info.mean)
    model = checkpoint_model(tmp_path / "a.ckpt")
    assert model.nodata == NoData("nan", trained.info.mean)
    (tmp_path / "images").mkdir()
    write_tiff(tmp_path / "images" / "a.tif", holed(np.nan))
    read = FolderImages(find_sources(tmp_path / "images"), model.info, nodata=model.nodata)
    assert read.made["nodata"] == "nan"
    sample = read[0]
    assert isinstance(sample, Sample)
    np.testing.assert_allclose(sample.image[12, 7], trained.info.mean, rtol=1e-6)
