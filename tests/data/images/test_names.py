"""Names of files: their stems, and those of formats that are not read."""

from pathlib import Path, PurePath

import numpy as np
import pytest

from coatseg.data.datasets.folder import Folder
from coatseg.data.images.other_formats import words_on_other_formats
from coatseg.data.images.reading import stem_of
from coatseg.data.images.sources import find_sources
from coatseg.errors import ConfigError, DatasetError
from tests.data.generate import write_folder
from tests.data.rasters import write_tiff


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("a.png", "a"),
        ("town/a.b.png", "town/a.b"),
        ("town/x.ome.tif", "town/x"),
        ("x.OME.TIFF", "x"),
        ("x.ome.png", "x.ome"),
        ("ome.tif", "ome"),
        ("a.tif", "a"),
    ],
)
def test_the_stem_is_up_to_the_suffix_of_the_format(name: str, stem: str) -> None:
    assert stem_of(PurePath(name)) == stem


def test_an_ome_tiff_and_its_png_mask_are_a_pair(tmp_path: Path) -> None:
    write_folder(tmp_path, layout="folders", count=1)
    (tmp_path / "train" / "images" / "train_00.png").unlink()
    image = np.zeros((32, 40, 3), np.uint8)
    write_tiff(tmp_path / "train" / "images" / "train_00.ome.tif", image, photometric="RGB")
    assert Folder(tmp_path, "train")[0].id == "train_00"
    assert [source.id for source in find_sources(tmp_path / "train" / "images").images] == ["train_00"]


def test_outlines_of_cellpose_are_no_images(tmp_path: Path) -> None:
    write_folder(tmp_path, layout="folders", count=1)
    np.save(tmp_path / "train" / "images" / "train_00_seg.npy", np.zeros((32, 40), np.uint8))
    assert len(Folder(tmp_path, "train")) == 1
    assert [source.id for source in find_sources(tmp_path / "train" / "images").images] == ["train_00"]


def test_other_formats_are_counted_with_their_mend() -> None:
    files = [PurePath(name) for name in ("a.nii.gz", "b/c.NII.GZ", "d.mrxs", "e.png", "notes.txt", "f.b.dcm")]
    words = words_on_other_formats(files)
    assert words.startswith("There are 2 .nii.gz files, volumes: save their slices as TIFF, PNG or .npy. ")
    assert "There is 1 .mrxs file, slides" in words
    assert "There is 1 .dcm file, scans" in words
    assert "txt" not in words
    assert words_on_other_formats([]) == ""


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.dcm", "a.h5", "a.mat", "a.mrxs"])
def test_a_folder_of_other_formats_names_them(tmp_path: Path, name: str) -> None:
    for folder in ("train/images", "train/masks", "val/images", "val/masks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "classes.txt").write_text("a\nb\n")
    (tmp_path / "train" / "images" / name).touch()
    ending = name[1:].replace(".", r"\.")
    with pytest.raises(DatasetError, match=rf"is empty\.\nThere is 1 {ending} file, "):
        Folder(tmp_path, "train")
    for given in (tmp_path / "train", tmp_path / "train" / "images" / name):
        with pytest.raises(ConfigError, match=rf"(?s)no image.*Images end in .*There is 1 {ending} file, "):
            find_sources(given)
