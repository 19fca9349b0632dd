"""Downloads from a server on this machine that behaves well or badly."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import textwrap
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from coatseg.errors import BrokenOffError, DownloadError, UnreachableError
from coatseg.system import download as module
from coatseg.system.download import RemoteFile, download, exclusive
from tests.server import Server, running

CONTENT = bytes(range(256)) * 20
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with running() as server:
        yield server


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSES", (0.0, 0.0, 0.0))


def fails(file: RemoteFile, folder: Path) -> DownloadError:
    """Download in vain, and see that nothing is left behind."""
    with pytest.raises(DownloadError) as raised:
        download(file, folder)
    assert not list(folder.glob("*"))
    return raised.value


def test_a_file_arrives_whole(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = server.serve("file", CONTENT)
    path = download(RemoteFile(url, "mine.bin"), tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "mine.bin"
    assert path.read_bytes() == CONTENT
    assert [found.name for found in path.parent.iterdir()] == ["mine.bin"]
    assert capsys.readouterr().err == f"Downloading {url} (0.0 MB)\n"


@pytest.mark.parametrize(
    "checksum",
    [
        f"md5:{hashlib.md5(CONTENT).hexdigest()}",
        f"sha1:{hashlib.sha1(CONTENT).hexdigest()}",
        f"sha256:{SHA256}",
        f"sha256:{SHA256[:8].upper()}",
    ],
)
def test_a_checksum_may_be_of_three_kinds_whole_or_its_first_digits(
    server: Server, tmp_path: Path, checksum: str
) -> None:
    file = RemoteFile(server.serve("file", CONTENT), "file", len(CONTENT), checksum)
    assert download(file, tmp_path).read_bytes() == CONTENT


def test_a_checksum_of_another_kind_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(ValueError, match="crc:12"):
        RemoteFile("http://localhost/file", "file", checksum="crc:12")


def test_a_file_that_is_there_is_verified_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    file = RemoteFile(server.serve("file", CONTENT), "file", checksum=f"sha256:{SHA256}")
    path = download(file, tmp_path)
    assert download(file, tmp_path) == path
    assert len(server.files["/file"].asked) == 1
    path.write_bytes(b"another")
    with pytest.raises(DownloadError, match=rf"(?s){path} has sha256 .*, expected {SHA256}\.\nRemove it"):
        download(file, tmp_path)
    assert path.read_bytes() == b"another"


def test_a_wrong_checksum_names_both_and_keeps_nothing(server: Server, tmp_path: Path) -> None:
    url = server.serve("file", CONTENT)
    error = fails(RemoteFile(url, "file", checksum="sha256:01234567"), tmp_path)
    assert error.what == f"{url} has sha256 {SHA256[:8]}..., expected 01234567...; nothing was kept."
    assert f"put it at {tmp_path}/file" in error.mend
    full = "0" * 64
    error = fails(RemoteFile(url, "file", checksum=f"sha256:{full}"), tmp_path)
    assert error.what == f"{url} has sha256 {SHA256}, expected {full}; nothing was kept."


@pytest.mark.parametrize("stated", [None, 0], ids=["stated", "not stated"])
@pytest.mark.parametrize("size", [5000, 6000])
def test_a_file_of_another_size_than_known_keeps_nothing(
    server: Server, tmp_path: Path, size: int, stated: int | None
) -> None:
    url = server.serve("file", CONTENT, stated=stated, ranges=False)
    error = fails(RemoteFile(url, "file", size), tmp_path)
    assert str(size) in error.what
    assert "nothing was kept" in error.what


def test_an_answer_shorter_than_its_length_keeps_nothing(server: Server, tmp_path: Path) -> None:
    url = server.serve("file", CONTENT, stated=9000, ranges=False)
    assert "broke off after 5120 of 9000 bytes; nothing was kept" in fails(RemoteFile(url, "file"), tmp_path).what
    assert len(server.files["/file"].asked) == 4  # the first, which brought something, and three that brought no more


def test_a_broken_connection_goes_on_where_it_broke(server: Server, tmp_path: Path) -> None:
    url = server.serve("file", CONTENT, cut_after=1000)
    file = RemoteFile(url, "file", len(CONTENT), f"sha256:{SHA256}")
    assert download(file, tmp_path).read_bytes() == CONTENT
    starts = [f"bytes={start}-" for start in range(1000, 5120, 1000)]
    assert server.files["/file"].asked == [None, *starts]


def test_a_broken_connection_to_a_server_that_only_starts_anew(server: Server, tmp_path: Path) -> None:
    url = server.serve("file", CONTENT, cut_after=1000, ranges=False)
    error = fails(RemoteFile(url, "file"), tmp_path)
    assert "broke off after 1000 of 5120 bytes" in error.what
    served = server.files["/file"]

    class Healing(list[str | None]):
        def append(self, wanted: str | None) -> None:
            super().append(wanted)
            if len(self) == 3:
                served.cut_after = None

    served.asked = Healing()
    assert download(RemoteFile(url, "file"), tmp_path).read_bytes() == CONTENT
    assert len(served.asked) == 3


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    url = server.serve("file", CONTENT, failures=2)
    assert download(RemoteFile(url, "file"), tmp_path).read_bytes() == CONTENT
    server.files["/file"].failures = 100
    shutil.rmtree(tmp_path)
    assert "503" in fails(RemoteFile(url, "file"), tmp_path).what


def test_a_missing_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.server_port}/nothing"
    with pytest.raises(UnreachableError, match=f"{url} cannot be fetched: HTTP Error 404") as raised:
        download(RemoteFile(url, "file"), tmp_path)
    assert "404" in raised.value.reason
    assert not list(tmp_path.iterdir())


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with running() as gone:
        url = gone.serve("file", CONTENT)
    with pytest.raises(UnreachableError, match="Connection refused"):
        download(RemoteFile(url, "file"), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("known", [{"size": len(CONTENT)}, {}])
def test_a_full_disk_is_told_before_anything_comes(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: dict[str, int]
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 10**10 - 5000, 5000))
    url = server.serve("file", CONTENT)
    error = fails(RemoteFile(url, "archive.zip", **known), tmp_path)
    assert "archive.zip needs 0.0 MB" in error.what
    assert str(tmp_path) in error.what
    assert "Free 0.0 MB" in error.mend


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "taken").write_bytes(b"")
    url = server.serve("file", CONTENT)
    with pytest.raises(DownloadError, match=f"Cannot write {tmp_path}/taken/file"):
        download(RemoteFile(url, "file"), tmp_path / "taken")
    with pytest.raises(DownloadError, match=f"Cannot write to {tmp_path}/taken"), exclusive(tmp_path / "taken"):
        pass


@pytest.mark.parametrize(("known", "asked"), [({"checksum": f"sha256:{SHA256}"}, "bytes=3000-"), ({}, None)])
def test_a_stopped_download_goes_on_only_if_the_whole_can_be_verified(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    known: dict[str, str],
    asked: str | None,
) -> None:
    def stop(seconds: float) -> None:
        raise KeyboardInterrupt

    url = server.serve("file", CONTENT, cut_after=3000)
    monkeypatch.setattr(module.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        download(RemoteFile(url, "file", **known), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ([".file.part"] if known else [])
    (tmp_path / ".file.part").write_bytes(CONTENT[:3000])  # as a process that was killed leaves it in either case
    server.files["/file"].cut_after = None
    assert download(RemoteFile(url, "file", **known), tmp_path).read_bytes() == CONTENT
    assert server.files["/file"].asked == [None, asked]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_part_that_is_complete_already(server: Server, tmp_path: Path, size: int | None) -> None:
    url = server.serve("file", CONTENT)
    (tmp_path / ".file.part").write_bytes(CONTENT)
    path = download(RemoteFile(url, "file", size, f"sha256:{SHA256}"), tmp_path)
    assert path.read_bytes() == CONTENT
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


WAITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from coatseg.system.download import exclusive

    with exclusive(Path(sys.argv[1])):
        sys.exit(0 if (Path(sys.argv[1]) / "file").exists() else 3)
""")


def test_other_processes_wait_until_the_first_has_fetched(tmp_path: Path) -> None:
    with exclusive(tmp_path / "root"):
        waiter = subprocess.Popen(
            [sys.executable, "-c", WAITER, str(tmp_path / "root")], stderr=subprocess.PIPE, text=True
        )
        assert waiter.stderr is not None
        assert waiter.stderr.readline() == f"Waiting for another process that fetches into {tmp_path}/root\n"
        assert waiter.poll() is None
        (tmp_path / "root" / "file").write_bytes(b"")
    assert waiter.wait(30) == 0
    assert [path.name for path in (tmp_path / "root").iterdir()] == ["file"]
    waiter.stderr.close()


def test_a_lock_of_a_process_that_was_killed_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / module.LOCK).write_bytes(b"")
    with exclusive(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_a_terminal_shows_a_bar_with_size_and_speed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    content = CONTENT * 100
    checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
    download(RemoteFile(server.serve("file", content), "mine", checksum=checksum), tmp_path)
    shown = capsys.readouterr().err
    assert "512.0/512.0 kB" in shown
    assert "B/s" in shown
    assert "sha256 of mine" in shown


def test_what_came_before_a_lasting_break_is_kept_where_a_checksum_can_tell(server: Server, tmp_path: Path) -> None:
    url = server.serve("file", CONTENT, stated=9000, ranges=False)
    file = RemoteFile(url, "file", checksum=f"sha256:{SHA256}")
    with pytest.raises(BrokenOffError, match="broke off after 5120 of 9000 bytes; what came is kept"):
        download(file, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".file.part"]
    url = server.serve("file", CONTENT)
    assert download(file, tmp_path).read_bytes() == CONTENT
