import numpy as np
import pytest
from PIL import Image

from coatseg.data.datasets.folder import Folder
from tests.contracts.dataset import DatasetContract
from tests.data.rasters import write_tiff
from tests.data.slides import label_of, level_pixels, write_pyramid, write_svs


def write_slides(root, level, *, mask_suffix=".png"):
    """Write two slides and masks of the size of a level."""
    (root / "masks").mkdir(parents=True)
    (root / "classes.txt").write_text("dark\nbright\n")
    write_svs(root / "images" / "a.svs", compression="deflate")
    write_pyramid(root / "images" / "b.tif")
    for name in "ab":
        path = root / "masks" / f"{name}{mask_suffix}"
        if mask_suffix == ".png":
            Image.fromarray(label_of(level)).save(path)
        else:
            write_tiff(path, label_of(level)[..., None], tiled=True, compress="deflate")
    return root


def windows_of(root, level, **options):
    write_slides(root, level)
    return Folder(root, "train", level=level, window=[32, 40], windows_per_image=4, val_fraction=0.01, **options)


class TestSlides(DatasetContract):
    def make(self, root):
        from coatseg.data.datasets.own_splits import Splits

        write_slides(root, 1, mask_suffix=".tif")
        splits = Splits(val_fraction=1e-6)
        return Folder(root, "train", level=1, window=[32, 40], windows_per_image=4, splits=splits)


@pytest.mark.parametrize("level", [0, 1])
def test_windows_of_a_slide_and_its_mask_are_of_one_place(tmp_path, level):
    dataset = TestSlides().make(tmp_path) if level else _full(tmp_path)
    for index in range(len(dataset)):
        sample = dataset.drawn(index, seed=index)
        y, x = map(int, sample.id.split("@")[1].split(","))
        place = slice(y, y + 32), slice(x, x + 40)
        np.testing.assert_array_equal(sample.image, level_pixels(level)[place])
        np.testing.assert_array_equal(sample.label_map, label_of(level)[place])


def _full(root):
    from coatseg.data.datasets.own_splits import Splits

    write_slides(root, 0)
    return Folder(root, "train", window=[32, 40], windows_per_image=4, splits=Splits(val_fraction=1e-6))
