"""The lists of classes that tools write, told from a list of names by the form of their lines."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from coatseg.data.annotations.classes import ClassList, check_same_lists, read_classes
from coatseg.errors import DatasetError

LABELMAP = "# label:color_rgb:parts:actions\nbackground:0,0,0::\ntraffic light:250, 50,83::\ndog:1,2,3:head,tail:run\n"
LABEL_COLORS = "64 128 64\tAnimal\n192 0 128 Archway 2\n"
ROBOFLOW = "Pixel Value, Class\n0, background\n3, cat\n7, ignore\n"
CLASS_DICT = "name,r,g,b\nroad,128,64,128\ntraffic light, 1,2,3\n"


def read_text(folder: Path, text: str, name: str = "classes.txt") -> ClassList:
    (folder / name).write_text(text)
    return read_classes(folder / name)


def test_labelmap_of_cvat_and_datumaro_has_names_and_colours(tmp_path: Path) -> None:
    read = read_text(tmp_path, LABELMAP)
    assert read.names == ("background", "traffic light", "dog")
    assert read.colours == ((0, 0, 0), (250, 50, 83), (1, 2, 3))
    assert (read.ignored, read.numbers, read.notes) == ((), (), ())


def test_labelmap_without_colours_has_names_and_refuses_masks_in_colours(tmp_path: Path) -> None:
    read = read_text(tmp_path, "background:::\ncat:::\n", "labelmap.txt")
    assert (read.names, read.colours) == (("background", "cat"), ())
    with pytest.raises(DatasetError, match=r"(?s)labelmap.txt has no colours.*background:0,0,0::, cat:128,0,0::"):
        read.colour_masks(tmp_path / "labelmap.txt", 255)


def test_label_colors_of_camvid_put_the_colour_first_and_leave_black_out(tmp_path: Path) -> None:
    read = read_text(tmp_path, LABEL_COLORS, "label_colors.txt")
    assert read.names == ("Animal", "Archway 2")
    assert read.colours == ((64, 128, 64), (192, 0, 128))
    assert read.ignored == ((0, 0, 0),)
    assert read.notes == ("label_colors.txt has no class of 0 0 0: pixels of that colour are left out",)
    void = read_text(tmp_path, f"0 0 0 Void\n{LABEL_COLORS}")
    assert (void.names, void.ignored, void.notes) == (("Void", "Animal", "Archway 2"), (), ())


def test_classes_csv_of_roboflow_maps_the_numbers_of_masks(tmp_path: Path) -> None:
    read = read_text(tmp_path, ROBOFLOW, "_classes.csv")
    assert read.names == ("background", "cat")
    assert read.labels_of_numbers(255) == {0: 0, 3: 1, 7: 255}


def test_class_dict_csv_has_names_and_colours(tmp_path: Path) -> None:
    read = read_text(tmp_path, CLASS_DICT, "class_dict.csv")
    assert (read.names, read.colours) == (("road", "traffic light"), ((128, 64, 128), (1, 2, 3)))


@pytest.mark.parametrize(
    "text", ["0 0 0 0\n1 128 0 0\n", "lane 2 4 5 6\nroad 0 1 2\n", "day: dry\nday: wet\n", "1\n2\n"]
)
def test_our_own_form_is_taken_for_no_other(tmp_path: Path, text: str) -> None:
    read = read_text(tmp_path, text)
    assert (len(read.names), read.form) == (2, None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("background\ncat:1,2,3::\n", r"(?s)classes.txt, line 1: 'background' is not of the form name:.*CVAT's and"),
        ("background:::\ncat:1,2,3::\n", r"gives colours, but none to background"),
        ("cat:300,0,0::\n", r"'cat:300,0,0::' has a colour above 255"),
        ("a:1,2,3::\nb:1,2,3::\n", r"has \(1, 2, 3\) twice"),
        ("64 128 64 Animal\nroad\n", r"line 2: 'road' is not of the form red green blue name"),
        ("Pixel Value, Class\n0, a\n0, b\n", "has 0 twice"),
        ("Pixel Value, Class\n0, a\n1, a\n", "has a twice"),
        ("Pixel Value, Class\n99999, a\n", "a number above 65535"),
        ("Pixel Value, Class\n", "names no class"),
        ("pixel value,class\nbackground\n", r"line 2: 'background' is not of the form number, name"),
    ],
)
def test_a_list_that_is_half_of_a_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_text(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "road\ncar\n"), ("data.yaml", "names: [a, b]\n"), ("a.json", "{}")]
)
def test_a_file_of_another_kind_is_no_list_of_names(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(DatasetError, match=r"(?s)is no list of classes that is known.*Pixel|labelmap.txt: name:"):
        read_text(tmp_path, text, name)


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        (["labelmap.txt"], "There is labelmap.txt: set data.classes=labelmap.txt."),
        (
            ["valid/_classes.csv", "train/_classes.csv", "test/_classes.csv"],
            "There is train/_classes.csv, test/_classes.csv, valid/_classes.csv: set data.classes=train/_classes.csv.",
        ),
    ],
)
def test_a_missing_list_names_those_that_are_there(tmp_path: Path, files: list[str], advice: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(DatasetError) as raised:
        read_classes(tmp_path / "classes.txt")
    assert raised.value.mend == advice


def test_the_splits_of_an_export_list_the_same_classes(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
    read = read_text(tmp_path, ROBOFLOW, "train/_classes.csv")
    read_text(tmp_path, ROBOFLOW, "valid/_classes.csv")
    check_same_lists(tmp_path / "train/_classes.csv", read)
    read_text(tmp_path, ROBOFLOW.replace("3, cat", "4, cat"), "valid/_classes.csv")
    with pytest.raises(DatasetError, match=r"train/_classes.csv and .*valid/_classes.csv list other classes"):
        check_same_lists(tmp_path / "train/_classes.csv", read)


def test_an_unknown_colour_names_the_list_that_lacks_it(tmp_path: Path) -> None:
    Image.fromarray(np.full((2, 3, 3), 9, np.uint8)).save(tmp_path / "a.png")
    for name, text, mend in (
        ("classes.txt", "road 1 2 3\n", r"in classes.txt, or leave its pixels out with the line: ignore 9 9 9"),
        ("labelmap.txt", "road:1,2,3::\n", r"in labelmap.txt, or to one called ignore"),
    ):
        reader = read_text(tmp_path, text, name).colour_masks(tmp_path / name, 255)
        with pytest.raises(DatasetError, match=rf"(?s)the colour 9 9 9 at \(x=0, y=0\).*{mend}"):
            reader(tmp_path / "a.png")
    ignored = read_text(tmp_path, "road:1,2,3::\nignore:9,9,9::\n").colour_masks(tmp_path / "classes.txt", 255)
    assert (ignored(tmp_path / "a.png") == 255).all()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("text", ["road 1 2 3\ncar 4 5 6\n", "road:1,2,3::\ncar:4,5,6::\n", "1 2 3 road\n4 5 6 car\n"])
def test_files_of_windows_are_read_as_those_of_others(tmp_path: Path, mark: bytes, end: str, text: str) -> None:
    (tmp_path / "classes.txt").write_bytes(mark + text.replace("\n", end).encode())
    read = read_classes(tmp_path / "classes.txt")
    assert (read.names, read.colours) == (("road", "car"), ((1, 2, 3), (4, 5, 6)))
