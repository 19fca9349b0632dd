from pathlib import Path

import pytest

from coatseg.errors import ConfigError, OutputError
from coatseg.system.fsspec_folders import Place
from coatseg.system.output import PROBE, check_folder, check_writable, differing, read_settings, remove_left_overs

MEND = "Name a folder; a new one is made."


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=f"output={tmp_path}/file is a file.\n{MEND}"):
        check_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=f"output={tmp_path}/file is a file.\n{MEND}"):
        check_writable(Place(tmp_path / "file"))
    check_folder(tmp_path)
    check_folder(tmp_path / "new")


def test_trying_whether_a_folder_can_be_written_leaves_nothing_in_it(tmp_path: Path) -> None:
    check_writable(Place(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Cannot write"):
        check_writable(Place(tmp_path / "file" / "below"))


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_settings_that_are_no_object_are_none(tmp_path: Path, content: bytes) -> None:
    place = Place(tmp_path)
    place.write("settings.json", content)
    assert read_settings(place, "settings.json") is None
    place.write("settings.json", b'{"a": 1}')
    assert read_settings(place, "settings.json") == {"a": 1}


def test_what_differs_is_named_in_order() -> None:
    assert differing({"a": 1, "b": 2, "c": 3}, {"d": 4, "a": 1, "b": 0}) == ["b", "c", "d"]
    assert differing({"a": None}, {}) == []


def test_only_what_was_being_written_is_removed(tmp_path: Path) -> None:
    ours = [".a.json.abcd_123", f".{PROBE}.abcd_123", "maps/.0.npy.abcd_123", "maps/deep/.1.npy.abcd_123"]
    others = [
        "a.json",
        ".b.json.abcd_123",
        ".a.json.ABCD_123",
        "maps/0.npy",
        "maps/.0.png.abcd_123",
        "x/.0.npy.abcd_123",
    ]
    for name in (*ours, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    remove_left_overs(Place(tmp_path), ["a.json"], {"maps": r".+\.npy"})
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == set(others)
