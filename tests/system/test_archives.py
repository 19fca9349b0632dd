"""Archives of the kinds that datasets come in, good, damaged and evil."""

from __future__ import annotations

import io
import os
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import textwrap
import zipfile
from collections import namedtuple
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from coatseg.errors import DownloadError
from coatseg.system.archives import unpack

TREE = {"set/images/a.jpg": b"image a" * 100, "set/images/b.jpg": b"image b", "set/list.txt": b"a\nb\n"}
Write = Callable[[Path, Mapping[str, bytes]], Path]


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if name.endswith("/") else name, content)
    return path


def add_to_tar(archive: tarfile.TarFile, name: str, content: bytes = b"", **attributes: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    for attribute, value in attributes.items():
        setattr(member, attribute, value)
    archive.addfile(member, io.BytesIO(content))


def write_tar(path: Path, files: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            add_to_tar(archive, name, content)
    return path


def write_tgz(path: Path, files: Mapping[str, bytes]) -> Path:
    return write_tar(path, files, "w:gz")


every_kind = pytest.mark.parametrize(
    ("name", "write"),
    [("x.zip", write_zip), ("x.tar", write_tar), ("x.tar.gz", write_tgz), ("x.tgz", write_tgz)],
    ids=["zip", "tar", "tar.gz", "tgz"],
)


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def fails(archive: Path, folder: Path, **options: str) -> DownloadError:
    """Unpack in vain, and see that nothing changed, beside the folder as in it."""
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(DownloadError) as raised:
        unpack(archive, folder, **options)
    assert sorted(folder.parent.rglob("*")) == before
    return raised.value


@every_kind
def test_everything_arrives(tmp_path: Path, name: str, write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write(tmp_path / name, TREE)
    unpack(archive, tmp_path / "new" / "root")
    assert tree(tmp_path / "new") == {f"root/{path}": content for path, content in TREE.items()}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", name]
    assert capsys.readouterr().err == f"Unpacking {archive} (0.0 MB)\n"


@every_kind
def test_what_is_there_stays_and_files_of_the_same_name_are_replaced(tmp_path: Path, name: str, write: Write) -> None:
    there = {"mine.txt": b"1", "set/mine.txt": b"2", "set/images/mine.jpg": b"3", "set/images/b.jpg": b"half of"}
    root = tmp_path / "root"
    for path, content in there.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    unpack(write(tmp_path / name, TREE), root)
    assert tree(root) == there | TREE


@every_kind
def test_only_one_folder_of_it(tmp_path: Path, name: str, write: Write) -> None:
    archive = write(tmp_path / name, {**TREE, "set2/x": b"", "other/set/images/c.jpg": b"c"})
    unpack(archive, tmp_path / "root", only="set/images")
    assert tree(tmp_path / "root") == {"a.jpg": TREE["set/images/a.jpg"], "b.jpg": TREE["set/images/b.jpg"]}
    error = fails(archive, tmp_path / "other", only="set/masks")
    assert "x." in error.what
    assert "it holds no set/masks; nothing was unpacked" in error.what


def test_archives_in_the_archive_are_unpacked_beside_themselves(tmp_path: Path) -> None:
    inner = write_zip(tmp_path / "inner.zip", {"masks/a.png": b"mask", "__MACOSX/masks/._a.png": b"noise"}).read_bytes()
    archive = write_zip(tmp_path / "x.zip", {"labels/list.json": b"{}", "labels/masks.zip": inner})
    unpack(archive, tmp_path / "root", nested=["labels/masks.zip"])
    assert tree(tmp_path / "root") == {"labels/list.json": b"{}", "labels/masks/a.png": b"mask"}
    broken = write_zip(tmp_path / "y.zip", {"list.json": b"{}", "masks.zip": inner[:-30]})
    with pytest.raises(DownloadError, match=r"masks.zip in .*y.zip is damaged"):
        unpack(broken, tmp_path / "root2", nested=["masks.zip"])
    with pytest.raises(DownloadError, match=r"y.zip is damaged.*: it holds no others.zip"):
        unpack(broken, tmp_path / "root2", nested=["others.zip"])
    assert not (tmp_path / "root2").exists()


def test_empty_folders_hard_links_and_links_inside_arrive(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add_to_tar(archive, "set/link", type=tarfile.SYMTYPE, linkname="../set/sub/../a")
        add_to_tar(archive, "set/sub", type=tarfile.DIRTYPE)
        add_to_tar(archive, "set/a", b"content", mode=0o4755)
    error = fails(tmp_path / "x.tar", tmp_path / "root")  # a link may go up only at its start
    assert "a link that leads outside" in error.what
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        add_to_tar(archive, "set/link", type=tarfile.SYMTYPE, linkname="../set/a")
        add_to_tar(archive, "set/sub", type=tarfile.DIRTYPE)
        add_to_tar(archive, "set/a", b"content", mode=0o4755)
        add_to_tar(archive, "set/hard", type=tarfile.LNKTYPE, linkname="set/a")
    root = tmp_path / "root"
    unpack(tmp_path / "x.tar", root)
    assert (root / "set" / "link").is_symlink()
    assert tree(root) == {"set/a": b"content", "set/hard": b"content", "set/link": b"content"}
    assert (root / "set" / "sub").is_dir()
    assert not (root / "set" / "a").stat().st_mode & (stat.S_ISUID | stat.S_IXUSR)

    link = zipfile.ZipInfo("set/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as zipped:
        zipped.writestr(link, "a")
        zipped.writestr("set/a", b"zipped")
        zipped.writestr(zipfile.ZipInfo("set/empty/"), b"")
    unpack(tmp_path / "x.zip", tmp_path / "zipped")
    assert (tmp_path / "zipped" / "set" / "link").is_symlink()
    assert tree(tmp_path / "zipped") == {"set/a": b"zipped", "set/link": b"zipped"}
    assert (tmp_path / "zipped" / "set" / "empty").is_dir()


@every_kind
@pytest.mark.parametrize(
    "entry", ["../evil", "set/../../evil", "/tmp/evil", "C:\\evil", "..\\evil", "\\evil", "set\\..\\..\\evil"]
)
def test_an_entry_that_leads_outside_is_refused(tmp_path: Path, name: str, write: Write, entry: str) -> None:
    archive = write(tmp_path / name, {**TREE, entry: b"evil"})
    error = fails(archive, tmp_path / "root")
    assert f"The archive {archive} holds {entry!r}, which leads outside its folder; nothing was unpacked." in error.what
    fails(archive, tmp_path / "root", only="set")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("link", "/etc"),
        ("link", ".."),
        ("set/link", "../../evil"),
        ("set/link", "images/../../../evil"),
        ("set/link", "..\\..\\..\\evil"),
        ("set/link", "C:\\evil"),
    ],
)
def test_a_link_that_leads_outside_is_refused(tmp_path: Path, name: str, target: str) -> None:
    with tarfile.open(write_tar(tmp_path / "x.tar", TREE), "a") as archive:
        add_to_tar(archive, name, type=tarfile.SYMTYPE, linkname=target)
    link = zipfile.ZipInfo(name)
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(write_zip(tmp_path / "x.zip", TREE), "a") as zipped:
        zipped.writestr(link, target)
    for archive_name in ("x.tar", "x.zip"):
        error = fails(tmp_path / archive_name, tmp_path / "root")
        assert f"{archive_name} holds {name!r}, a link that leads outside, to {target!r}" in error.what


def test_a_link_out_of_the_wanted_folder_is_refused(tmp_path: Path) -> None:
    with tarfile.open(write_tar(tmp_path / "x.tar", TREE), "a") as archive:
        add_to_tar(archive, "set/link", type=tarfile.SYMTYPE, linkname="../other")
    assert "'set/link', a link that leads outside" in fails(tmp_path / "x.tar", tmp_path / "root", only="set").what
    unpack(tmp_path / "x.tar", tmp_path / "root")


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    with tarfile.open(tmp_path / "file.tar", "w") as archive:
        add_to_tar(archive, "set/link", type=tarfile.SYMTYPE, linkname="sub")
        add_to_tar(archive, "set/link/a", b"evil")
    fails(tmp_path / "file.tar", tmp_path / "root")
    with tarfile.open(tmp_path / "link.tar", "w") as archive:  # b/c/up lies in the top folder, and leads above it
        add_to_tar(archive, "b/c", type=tarfile.SYMTYPE, linkname="..")
        add_to_tar(archive, "b/c/up", type=tarfile.SYMTYPE, linkname="../../outside")
    assert "'b/c/up', which lies in a link" in fails(tmp_path / "link.tar", tmp_path / "root").what


def test_a_hard_link_to_nothing_is_damage(tmp_path: Path) -> None:
    with tarfile.open(write_tar(tmp_path / "x.tar", TREE), "a") as archive:
        add_to_tar(archive, "hard", type=tarfile.LNKTYPE, linkname="../../etc/passwd")
    assert "is damaged" in fails(tmp_path / "x.tar", tmp_path / "root").what


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(write_tar(tmp_path / "x.tar", TREE), "a") as archive:
        add_to_tar(archive, "set/device", type=kind)
    error = fails(tmp_path / "x.tar", tmp_path / "root")
    assert "x.tar holds 'set/device', which is neither a file, a folder nor a link" in error.what


def test_a_device_in_a_zip_is_refused(tmp_path: Path) -> None:
    device = zipfile.ZipInfo("device")
    device.external_attr = (stat.S_IFCHR | 0o666) << 16
    with zipfile.ZipFile(write_zip(tmp_path / "x.zip", TREE), "a") as archive:
        archive.writestr(device, b"")
    assert "'device', which is neither" in fails(tmp_path / "x.zip", tmp_path / "root").what


@every_kind
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.7])
def test_an_archive_that_ends_early_is_damaged(tmp_path: Path, name: str, write: Write, kept: float) -> None:
    archive = write(tmp_path / name, {**TREE, "noise": os.urandom(5000)})
    content = archive.read_bytes()
    archive.write_bytes(content[: int(kept * len(content))])
    error = fails(archive, tmp_path / "root")
    assert f"The archive {archive} is damaged" in error.what
    assert error.mend == "Remove it and fetch it again."


@pytest.mark.parametrize(("name", "write"), [("x.zip", write_zip), ("x.tgz", write_tgz)])
def test_a_changed_byte_is_damage(tmp_path: Path, name: str, write: Write) -> None:
    archive = write(tmp_path / name, {"noise": os.urandom(5000)})
    content = bytearray(archive.read_bytes())
    content[2000] ^= 1
    archive.write_bytes(content)
    assert "is damaged" in fails(archive, tmp_path / "root").what


def test_a_changed_header_in_the_middle_is_damage(tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "x.tar", TREE)
    content = bytearray(archive.read_bytes())
    content[content.index(b"set/images/b.jpg") + 4] ^= 1
    archive.write_bytes(content)
    assert "is damaged" in fails(archive, tmp_path / "root").what


def test_a_page_instead_of_an_archive_is_damage(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_text("<html>Please log in.</html>" * 100)
    assert "x.zip is damaged, or another one than expected" in fails(tmp_path / "x.zip", tmp_path / "root").what


@every_kind
def test_an_archive_of_nothing_is_refused(tmp_path: Path, name: str, write: Write) -> None:
    assert "it holds no file" in fails(write(tmp_path / name, {}), tmp_path / "root").what


@pytest.mark.parametrize("there", ["set/images/a.jpg/mine", "set/images", "set"])
def test_a_file_and_a_folder_of_one_name_are_told_before_anything_moves(tmp_path: Path, there: str) -> None:
    mine = tmp_path / "root" / there
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    error = fails(write_zip(tmp_path / "x.zip", TREE), tmp_path / "root")
    assert "is in the way of" in error.what
    assert mine.read_bytes() == b"mine"


@every_kind
def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, write: Write
) -> None:
    usage = namedtuple("usage", "total used free")
    archive = write(tmp_path / name, {"a": os.urandom(5000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**10, 10**10 - 4000, 4000))
    error = fails(archive, tmp_path / "root")
    assert f"Unpacking {name} needs" in error.what
    assert "Free" in error.mend


def test_a_disk_that_fills_up_meanwhile_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    archive = write_zip(tmp_path / "x.zip", TREE)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    error = fails(archive, tmp_path / "root")
    assert f"Cannot unpack {archive} into {tmp_path}/root: No space left on device" in error.what
    assert "Free some space" in error.mend


KILLED = textwrap.dedent("""
    import os, shutil, signal, sys
    from pathlib import Path
    from coatseg.system.archives import unpack

    def killed(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    if sys.argv[3] == "writing":
        shutil.copyfileobj = killed
    else:
        Path.replace = killed
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
""")


@pytest.mark.parametrize("before", ["writing", "moving"])
def test_a_killed_process_leaves_nothing_that_a_reader_finds(tmp_path: Path, before: str) -> None:
    archive, root = write_zip(tmp_path / "x.zip", TREE), tmp_path / "root"
    root.mkdir()
    killed = subprocess.run([sys.executable, "-c", KILLED, archive, root, before], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert [path.name for path in root.iterdir()] == [".x.zip.unpacking"]
    unpack(archive, root)
    assert tree(root) == TREE
    assert [path.name for path in root.iterdir()] == ["set"]


def test_lists_come_after_the_folders_they_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, target: (moved.append(path.name), replace(path, target))[1])
    (tmp_path / "root").mkdir()
    unpack(write_zip(tmp_path / "x.zip", {"a.txt": b"z/1", "z/1": b"", "b/1": b""}), tmp_path / "root")
    assert moved == ["b", "z", "a.txt"]
