"""Images and masks that lie elsewhere on Earth than they are paired."""

from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine
from rasterio.control import GroundControlPoint

from coatseg.data.images.statements.same_place import check_same_place
from coatseg.errors import DatasetError
from tests.data.rasters import write_tiff

SIZE = (20, 30)
PLACE = Affine(0.5, 0, 400_000, 0, -0.5, 5_000_000)
UTM = "EPSG:32633"


def pair(folder: Path, transform: Affine, crs: str | None = UTM, **options: object) -> tuple[Path, Path]:
    """Write an image at PLACE, and a mask at `transform`."""
    image = write_tiff(folder / "a.tif", np.zeros((*SIZE, 3), np.uint8), crs=UTM, transform=PLACE)
    mask = write_tiff(folder / "b.tif", np.zeros((*SIZE, 1), np.uint8), crs=crs, transform=transform, **options)
    return image, mask


ELSEWHERE = {
    "shifted by two pixels": (PLACE @ Affine.translation(2, 0), UTM, "a corner is 2.0 pixels away"),
    "shifted by a fifth of a pixel": (PLACE @ Affine.translation(0.2, 0), UTM, "a corner is 0.2 pixels away"),
    "of larger pixels": (PLACE @ Affine.scale(2), UTM, "its pixels are 1 wide, those of the image 0.5"),
    "south up": (PLACE @ Affine.translation(0, 20) @ Affine.scale(1, -1), UTM, "from south to north"),
    "in another system": (PLACE, "EPSG:32634", "is in EPSG:32634, and its image .* in EPSG:32633"),
}


@pytest.mark.parametrize("case", ELSEWHERE)
def test_a_mask_elsewhere_is_named_with_how_it_differs(tmp_path: Path, case: str) -> None:
    transform, crs, says = ELSEWHERE[case]
    image, mask = pair(tmp_path, transform, crs)
    with pytest.raises(DatasetError, match=says) as raised:
        check_same_place(image, mask, SIZE)
    assert str(mask) in raised.value.what
    assert str(image) in raised.value.what
    assert "gdalwarp" in raised.value.mend


SAME = {
    "by rounding": (PLACE @ Affine.translation(0.05, 0.05), UTM),
    "without a system": (PLACE, None),
    "without a place": (Affine.identity(), None),
    "with a system alone": (Affine.identity(), UTM),
}


@pytest.mark.parametrize("case", SAME)
def test_what_does_not_contradict_passes(tmp_path: Path, case: str) -> None:
    check_same_place(*pair(tmp_path, *SAME[case]), SIZE)


def test_control_points_and_files_of_other_formats_are_not_compared(tmp_path: Path) -> None:
    points = [GroundControlPoint(0, 0, 1, 2), GroundControlPoint(0, 9, 3, 4), GroundControlPoint(9, 0, 5, 6)]
    image, mask = pair(tmp_path, PLACE)
    other = write_tiff(tmp_path / "c.tif", np.zeros((*SIZE, 1), np.uint8), crs=UTM, gcps=points)
    check_same_place(image, other, SIZE)
    plain = tmp_path / "d.png"
    plain.write_bytes(b"no TIFF")
    check_same_place(image, plain, SIZE)
    check_same_place(plain, mask, SIZE)
