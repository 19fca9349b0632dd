"""What files state of themselves, in the readers of pairs of files: no data there, and the place on Earth."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rasterio import Affine

from coatseg.data.datasets.folder import Folder
from coatseg.data.datasets.instance_masks import InstanceMasks
from coatseg.data.images.normalization import normalise
from coatseg.data.inspection import inspect_dataset
from coatseg.data.inspection.first_look import look_first
from coatseg.data.loading.module import DataModule
from coatseg.data.loading.sampling import Draw
from coatseg.data.loading.worker_reading import DrawnSteps
from coatseg.errors import DatasetError, ImageError
from coatseg.structures import Sample
from tests.contracts.dataset import DatasetContract
from tests.data.generate import write_layers
from tests.data.inspection.test_checks import write_nodata
from tests.data.rasters import write_tiff

FLOATS = {"channels": 1, "mean": (5,), "std": (2,)}


class TestNoData(DatasetContract):
    def make(self, root: Path) -> Folder:
        return Folder(write_nodata(root), "train", **FLOATS, nodata="stated")


@pytest.mark.parametrize("nodata", ["stated", -9999.0])
@pytest.mark.parametrize("window", [None, (16, 10)])
def test_nodata_normalises_to_zero_and_is_ignored(tmp_path: Path, nodata: object, window: tuple[int, int]) -> None:
    dataset = Folder(write_nodata(tmp_path, tiled=True), "train", **FLOATS, nodata=nodata, window=window)
    for index in range(len(dataset)):
        sample = dataset[index]
        left = 4 if window is None else max(0, 4 - int(sample.id.split(",")[1]))
        assert sample.nodata is None or sample.nodata[:, :left].all()
        assert (normalise(sample.image, dataset.info)[0, :, :left] == 0).all()
        assert (sample.label_map[:, :left] == 255).all()
        assert (sample.label_map[:, left:] != 255).all()
        assert (sample.image[:, left:] > -100).all()
        if window is None:  # by which rare classes are drawn
            np.testing.assert_array_equal(dataset.labels(index), sample.label_map)


def test_layers_are_ignored_where_there_is_no_data(tmp_path: Path) -> None:
    root = write_layers(tmp_path, ("red", "green"), size=(16, 16))
    for path in (root / "images").glob("*"):
        pixels = np.asarray(Image.open(path)).copy()
        pixels[:3] = 0
        pixels[3:] |= 1
        Image.fromarray(pixels).save(path)
    sample = Folder(root, "train", layers=True, nodata=0)[0]
    assert (sample.layers[:3] == 255).all()
    assert set(np.unique(sample.layers[3:])) <= {0, 1}


def test_nan_is_refused_by_every_way_of_reading_unless_it_is_no_data(tmp_path: Path) -> None:
    root = write_nodata(tmp_path, value=np.nan)
    opened = Folder(root, "train", **FLOATS)
    for draw in (Draw(0), Draw(0, seed=3)):  # evaluation, training
        error = DrawnSteps(opened, 1, lambda sample, seed: sample)[[draw]]
        assert isinstance(error, ImageError)
        assert f"{root}/images/" in error.what
        assert "data.nodata=nan" in error.mend
    data = DataModule(lambda split: Folder(root, split, **FLOATS), Sample, opened.info, needs="semantic")
    with pytest.raises(DatasetError, match="not finite") as raised:
        look_first(data, ("train", "val"))
    assert f"{root}/images/" in raised.value.what
    ignored = Folder(root, "train", **FLOATS, nodata="nan")
    (batch,) = DrawnSteps(ignored, 1, lambda sample, seed: sample)[[Draw(0, seed=3)]].batches()
    assert batch.images.isfinite().all()
    assert (batch.targets[0].label_map[:, :4] == 255).all()


def write_places(root: Path, moved: Affine, mask_folder: str = "masks") -> Path:
    place = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)
    for number in range(4):
        for folder, transform, count in (("images", place, 3), (mask_folder, moved @ place, 1)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 2, (16, 16, count)).astype(np.uint8)
            write_tiff(root / folder / f"{number}.tif", pixels, crs="EPSG:32633", transform=transform)
    (root / "train.txt").write_text("0\n1\n2\n")
    (root / "val.txt").write_text("3\n")
    (root / "classes.txt").write_text("ground\nthing\n")
    return root


@pytest.mark.parametrize("options", [{}, {"window": (8, 8)}, {"layers": True}])
def test_masks_elsewhere_stop_before_the_first_step(tmp_path: Path, options: dict[str, object]) -> None:
    root = write_places(tmp_path, Affine.translation(3, 0))
    if options.get("layers"):
        (root / "classes.txt").write_text("thing\n")
    dataset = Folder(root, "train", **options)
    with pytest.raises(DatasetError, match=r"masks/\d\.tif lies elsewhere than its image .*6\.0 pixels"):
        dataset.verify(0)
    data = DataModule(lambda split: Folder(root, split, **options), Sample, dataset.info)
    for splits in (("train", "val"), ("val",)):
        with pytest.raises(DatasetError, match="lies elsewhere"):
            look_first(data, splits)
    assert Folder(write_places(tmp_path / "right", Affine.identity()), "train").verify(0)


def test_masks_elsewhere_are_broken_to_an_inspection_also_of_objects(tmp_path: Path) -> None:
    root = write_places(tmp_path, Affine.translation(3, 0))
    for opened in (lambda split: Folder(root, split), lambda split: InstanceMasks(root, split)):
        inspection = inspect_dataset(opened, workers=0)
        assert inspection.broken
        assert "lies elsewhere" in inspection.findings[0].where[0]
