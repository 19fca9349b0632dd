import errno
import os
from pathlib import Path

import pytest

from coatseg.errors import NameTooLongError, OutputError
from coatseg.system.atomic import whole_file


def test_a_file_is_there_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with whole_file(path) as file:
        file.write(b"all")
        assert not path.exists()
    assert path.read_bytes() == b"all"


def test_a_failure_keeps_the_old_file_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "name", ["a" * 251 + ".png", "\N{LATIN SMALL LETTER E WITH ACUTE}" * 125 + ".json", "\udcff" * 250]
)
def test_every_name_that_a_file_may_have_can_be_written(tmp_path: Path, name: str) -> None:
    with whole_file(tmp_path / name) as file:
        file.write(b"all")
    assert (tmp_path / name).read_bytes() == b"all"
    with pytest.raises(NameTooLongError, match="shorter name"), whole_file(tmp_path / f"{name}longer"):
        pass


def test_a_full_disk_is_a_typed_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = tmp_path / "file"
    with pytest.raises(OutputError, match=r"Cannot write .*file: No space left on device"), whole_file(path) as file:
        file.write(b"half")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="Cannot write"), whole_file(tmp_path / "file" / "inner"):
        pass
