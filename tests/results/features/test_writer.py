"""Feature maps of many images: what is stored is what the network gives, whatever interrupts the writing."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import cv2
import fsspec
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file

from coatseg import read_features
from coatseg.data.images.normalization import normalise
from coatseg.data.images.reading import read_image
from coatseg.data.images.sources import Skipped, find_sources
from coatseg.errors import ConfigError, DatasetError, DatasetNotFoundError, ImageError, OutputError, RunExistsError
from coatseg.results.features.formats import FORMATS
from coatseg.results.features.images import DatasetImages, FeatureImages, FolderImages
from coatseg.results.features.making import MapMaker
from coatseg.results.features.model import FeatureModel, named_model
from coatseg.results.features.names import file_name, path_name, single_name
from coatseg.results.features.pictures import FeaturePictures
from coatseg.results.features.responses import Responses
from coatseg.results.features.writer import FeatureWriter, WritingPlan
from coatseg.scenes import Scenes
from coatseg.structures import Sample
from coatseg.system.fsspec_folders import Place
from coatseg.system.output import check_writable

SIZES = [(64, 64), (50, 70), (33, 40), (64, 32), (40, 64)]


@pytest.fixture(scope="module")
def model() -> FeatureModel:
    return named_model("coat_lite_tiny", {}, strides=[4, 16])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five images of several sizes, one of them in a folder below."""
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate(SIZES):
        path = tmp_path / "in" / ("deep/4.png" if number == 4 else f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return tmp_path / "in"


def written(
    model: FeatureModel, images: FeatureImages, place: Place, pictures: FeaturePictures | None = None, **changes: Any
) -> FeatureWriter:
    usual = {"format": "safetensors", "dtype": "float32", "batch_size": 2, "shard_images": 2, "made": model.made}
    how = {**usual, **changes}
    making = {name: how.pop(name) for name in ("dtype", "batch_size")}
    return FeatureWriter(MapMaker(images, model.extractor, pictures=pictures, **making), place, WritingPlan(**how))


def writer(
    model: FeatureModel,
    given: str | Path,
    output: str | Path,
    *,
    max_pixels: int = 10**9,
    pictures: bool = False,
    **changes: Any,
) -> FeatureWriter:
    images = FolderImages(find_sources(given), model.info, max_pixels=max_pixels)
    coat = model.coat
    assert coat is not None
    place = Place(output)
    drawn = FeaturePictures(place, model.info, Responses(coat)) if pictures else None
    return written(model, images, place, drawn, **changes)


def run(*arguments: Any, **options: Any) -> list[Skipped]:
    made = writer(*arguments, **options)
    made.begin()
    list(made.write())
    return made.finish()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def alone(model: FeatureModel, path: Path) -> list[np.ndarray]:
    image = normalise(read_image(path, 3), model.info)
    with torch.inference_mode():
        return [level[0].numpy() for level in model.network(image[None])]


@pytest.mark.parametrize("format_", FORMATS)
def test_maps_are_those_of_each_image_alone(model: FeatureModel, folder: Path, tmp_path: Path, format_: str) -> None:
    assert run(model, folder, tmp_path / "out", format=format_) == []
    features = read_features(tmp_path / "out")
    assert features.ids == ["0", "1", "2", "3", "deep/4"]
    assert features.strides == (4, 16)
    assert len(features) == 10
    for image_id, (height, width) in zip(features.ids, SIZES, strict=True):
        for stride, expected in zip((4, 16), alone(model, folder / f"{image_id}.png"), strict=True):
            found = features[image_id, stride]
            assert found.shape[1:] == (height // stride, width // stride)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=2e-5)
            row = features.rows[image_id, stride]
            assert row["original_size"] == row["size"] == [height, width]
            assert row["level"] == (0 if stride == 4 else 2)
            assert Path(row["file"]) == folder / f"{image_id}.png"


@pytest.mark.parametrize("format_", ["safetensors", "npy"])
def test_numpy_alone_reads_what_the_manifest_says(
    model: FeatureModel, folder: Path, tmp_path: Path, format_: str
) -> None:
    output = tmp_path / "out"
    run(model, folder, output, format=format_)
    features = read_features(output)
    for row in map(json.loads, (output / "manifest.jsonl").read_text().splitlines()):
        found = np.memmap(output / row["path"], row["dtype"], "r", row["offset"], tuple(row["shape"]))
        np.testing.assert_array_equal(found, features[row["id"], row["stride"]])


def test_the_formats_own_libraries_read_the_files(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    run(model, folder, tmp_path / "shards")
    run(model, folder, tmp_path / "files", format="npy", dtype="float16")
    names = sorted(path.name for path in (tmp_path / "shards" / "shards").iterdir())
    assert names == ["00000.safetensors", "00001.safetensors", "00002.safetensors"]
    features = read_features(tmp_path / "shards")
    last = load_file(tmp_path / "shards" / "shards" / "00002.safetensors")
    assert sorted(last) == ["deep/4/16", "deep/4/4"]
    np.testing.assert_array_equal(last["deep/4/4"], features["deep/4", 4])
    half = np.load(tmp_path / "files" / "maps" / "deep" / "4.16.npy")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, features["deep/4", 16].astype(np.float16))


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("format_", ["safetensors", "npy"])
def test_a_run_killed_at_any_file_ends_as_an_unbroken_one(
    model: FeatureModel, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    (folder / "broken.png").write_bytes(b"no image")
    run(model, folder, tmp_path / "whole", format=format_, pictures=True)
    expected = tree(tmp_path / "whole")
    whole = Place.writing
    left = 0

    def writing(place: Place, name: str) -> Any:
        nonlocal left
        if left == 0:
            path = Path(place.path(name))  # what a killed process leaves of a file it was writing
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / f".{path.name}.k1ll_ed0").write_bytes(b"half")
            raise Killed
        left -= 1
        return whole(place, name)

    monkeypatch.setattr(Place, "writing", writing)
    output, kills = tmp_path / "out", 0
    while not (output / "manifest.jsonl").exists():
        left = kills % 8  # a shard of two images is at most seven files
        try:
            run(model, folder, output, format=format_, pictures=True)
        except Killed:
            kills += 1
    assert kills > 5
    assert tree(output) == expected
    left = 10**6
    assert len(run(model, folder, output, format=format_, pictures=True)) == 1  # finished already, and still told
    assert tree(output) == expected


def test_processes_share_the_shards(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    run(model, folder, tmp_path / "one")
    first, second = (writer(model, folder, tmp_path / "two") for _ in range(2))
    first.begin()
    assert (second.remaining(1, 2), sum(second.write(1, 2))) == (2, 2)
    assert first.begin() == 1
    assert (first.remaining(0, 2), sum(first.write(0, 2))) == (3, 3)
    first.finish()
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_maps_do_not_depend_on_the_batch(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    run(model, folder, tmp_path / "one", batch_size=1)
    run(model, folder, tmp_path / "five", batch_size=5, shard_images=5)
    one, five = read_features(tmp_path / "one"), read_features(tmp_path / "five")
    for key in one:
        np.testing.assert_allclose(one[key], five[key], atol=2e-5)


def test_broken_images_are_named_and_skipped(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    whole = (folder / "0.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("words")
    (folder / "readme.txt").write_text("no image, and no word of it here")
    Image.new("RGB", (200, 100)).save(folder / "bomb.png")
    Image.new("RGB", (40, 31)).save(folder / "small.png")
    skipped = run(model, folder, tmp_path / "out", max_pixels=10_000)
    assert {unread.id for unread in skipped} == {"cut", "empty", "text", "bomb", "small"}
    said = {unread.id: unread.reason for unread in skipped}
    assert "max_pixels" in said["bomb"]
    assert "31x40 pixels; the least is 32x32" in said["small"]
    assert all(unread.file in unread.reason for unread in skipped)
    assert set(read_features(tmp_path / "out").ids) == {"0", "1", "2", "3", "deep/4"}


def test_a_dataset_s_images_are_resized_as_in_its_evaluation_and_the_broken_ones_skipped(
    model: FeatureModel, tmp_path: Path
) -> None:
    class Broken(Scenes):
        def __getitem__(self, index: int) -> Sample:
            if index == 1:
                raise ImageError("b.png is cut short.", "Copy it again.")
            return super().__getitem__(index)

    dataset = Broken("val", size=(64, 96), val_images=3)
    images = DatasetImages(dataset, "val", model.info, sides=(32, 200))
    made = written(model, images, Place(tmp_path / "out"), format="npy")
    made.begin()
    assert sum(made.write()) == 3
    assert made.finish() == [Skipped("1", "", "b.png is cut short.")]
    features = read_features(tmp_path / "out")
    assert features.ids == [dataset[0].id, dataset[2].id]
    row = features.rows[dataset[2].id, 4]
    assert (row["original_size"], row["size"], row["shape"]) == ([64, 96], [32, 48], [64, 8, 12])


def test_a_dataset_of_other_channels(model: FeatureModel) -> None:
    info = replace(model.info, mean=(0.5,), std=(0.2,))
    with pytest.raises(ConfigError, match="images of 3 channels, the model takes 1"):
        DatasetImages(Scenes("val", size=(64, 64), val_images=1), "val", info)


def test_nothing_but_broken_images(model: FeatureModel, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"")
    assert len(run(model, tmp_path / "in", tmp_path / "out")) == 1
    assert load_file(tmp_path / "out" / "shards" / "00000.safetensors") == {}
    assert read_features(tmp_path / "out").ids == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"dtype": "float16"}, "dtype float32 there, float16 now"), ({"batch_size": 1}, "batch_size 2 there, 1 now")],
)
def test_other_options_need_another_folder(
    model: FeatureModel, folder: Path, tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    writer(model, folder, tmp_path / "out").begin()
    with pytest.raises(RunExistsError, match=says):
        writer(model, folder, tmp_path / "out", **changes).begin()


def test_other_images_or_weights_need_another_folder(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    run(model, folder, tmp_path / "out")
    other = replace(model, made={**model.made, "weights": "other"})
    with pytest.raises(RunExistsError, match="weights"):
        writer(other, folder, tmp_path / "out").begin()
    (folder / "0.png").rename(folder / "other.png")
    with pytest.raises(RunExistsError, match="digest_of_images"):
        writer(model, folder, tmp_path / "out").begin()


def test_too_large_for_float16(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    class Large:
        strides, levels, least_size = (4,), {4: 0}, 32

        def __call__(self, images: torch.Tensor, sizes: Any) -> Any:
            return [{4: torch.full((1, 8, 8), 7e4)} for _ in sizes]

    made = writer(model, folder, tmp_path / "out", dtype="float16")
    made.begin()
    made.maker.extractor = Large()
    with pytest.raises(ConfigError, match="beyond float16's 65504"):
        list(made.write())
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_an_output_that_cannot_be_written_stops_at_once(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    with pytest.raises(OutputError, match="is a file"):
        check_writable(Place(tmp_path / "file"))
    with pytest.raises(OutputError, match="Cannot write"):
        writer(model, folder, tmp_path / "file" / "out").begin()


@pytest.fixture
def memory() -> Iterator[Any]:
    files = fsspec.filesystem("memory")
    files.rm("/", recursive=True) if files.exists("/") and files.ls("/") else None
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


@pytest.mark.parametrize("format_", FORMATS)
def test_folders_may_be_anywhere(model: FeatureModel, folder: Path, tmp_path: Path, memory: Any, format_: str) -> None:
    memory.put(f"{folder}/", "/in/", recursive=True)
    assert run(model, "memory://in", "memory://out", format=format_, pictures=True) == []
    run(model, folder, tmp_path / "out", format=format_)
    there, here = read_features("memory://out"), read_features(tmp_path / "out")
    assert list(there) == list(here)
    for key in here:
        np.testing.assert_array_equal(there[key], here[key])
    assert there.rows["0", 4]["file"] == "memory:///in/0.png"
    assert memory.exists("/out/pictures/deep/4.png")
    assert not [name for name in memory.find("/out") if "/." in name or ".parts" in name]


def test_a_remote_run_goes_on_too(
    model: FeatureModel, folder: Path, memory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(model, folder, "memory://whole")
    begun = writer(model, folder, "memory://out")
    begun.begin()
    next(begun.write())
    monkeypatch.setattr(memory, "mv", lambda *names: (_ for _ in ()).throw(OSError(5, "gone")))
    with pytest.raises(OutputError, match="gone"):
        list(writer(model, folder, "memory://out").write())
    monkeypatch.undo()
    run(model, folder, "memory://out")
    whole, out = (
        {name.removeprefix(f"/{top}"): memory.cat_file(name) for name in memory.find(f"/{top}")}
        for top in ("whole", "out")
    )
    assert whole == out


def test_places_that_are_none() -> None:
    with pytest.raises(ConfigError, match="nowhere://maps cannot be reached"):
        Place("nowhere://maps")


def test_reading_what_is_not_there_or_not_finished(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    begun = writer(model, folder, tmp_path / "out")
    begun.begin()
    list(begun.write())
    with pytest.raises(DatasetNotFoundError, match=r"no manifest\.jsonl"):
        read_features(tmp_path / "out")
    begun.finish()
    with pytest.raises(KeyError):
        read_features(tmp_path / "out")["0", 8]


@pytest.mark.parametrize(
    "name",
    ["pictures/holiday.png", "shards/a", "maps/b.npy", "maps.zarr/c", "features.parts/d", "manifest.jsonl"],
)
def test_a_folder_with_files_of_others_under_our_names_is_refused(
    model: FeatureModel, folder: Path, tmp_path: Path, name: str
) -> None:
    place = Place(tmp_path / "out")
    place.write(name, b"mine")
    with pytest.raises(RunExistsError, match=f"has {name.partition('/')[0]} already"):
        writer(model, folder, tmp_path / "out").begin()
    assert tree(tmp_path / "out") == {name: b"mine"}


def test_a_users_other_files_stay(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    place, names = Place(tmp_path / "out"), ["parts/thesis.txt", ".env.template", ".bashrc.original", ".writable"]
    for name in names:
        place.write(name, name.encode())
    check_writable(place)
    run(model, folder, tmp_path / "out", pictures=True)
    assert {name: place.read(name) for name in names} == {name: name.encode() for name in names}
    assert {name.partition("/")[0] for name in tree(tmp_path / "out")} == {
        "features.json", "manifest.jsonl", "skipped.jsonl", "shards", "pictures", *(n.partition("/")[0] for n in names)
    }  # fmt: skip


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_settings_of_something_else(model: FeatureModel, folder: Path, tmp_path: Path, content: bytes) -> None:
    Place(tmp_path / "out").write("features.json", content)
    with pytest.raises(RunExistsError, match=r"a features\.json of something else"):
        writer(model, folder, tmp_path / "out").begin()


def test_pictures_of_a_run_in_bfloat16(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    made = writer(model, folder, tmp_path / "out", pictures=True)
    made.maker.autocast = lambda: torch.autocast("cpu", torch.bfloat16)
    made.begin()
    assert sum(made.write()) == len(list((tmp_path / "out" / "pictures").rglob("*.png"))) == 5


def test_settings_that_json_writes_otherwise_are_the_same(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    made = {**model.made, "resized_to": (48, 96)}
    for _ in range(2):
        writer(model, folder, tmp_path / "out", made=made).begin()
    assert json.loads((tmp_path / "out" / "features.json").read_text())["resized_to"] == [48, 96]


def test_how_images_are_read_and_the_model_s_options_are_settings(model: FeatureModel, folder: Path) -> None:
    read = FolderImages(find_sources(folder), model.info, sides=(32, 48), bands=[3, 2, 1])
    assert read.made == {"resized_to": (32, 48), "bands": [3, 2, 1]}
    other = named_model("coat_tiny", {"co_scale": "none"}, strides=[4])
    assert other.made["backbone.co_scale"] == "none"  # with the same weights as with another scale
    dataset = Scenes("val", size=(64, 64), val_images=1)
    images = DatasetImages(dataset, "val", model.info, sides=(32, 48), options={"data.size": (64, 64)})
    assert images.made == {"split": "val", "resized_to": (32, 48), "data.size": (64, 64)}


@pytest.mark.parametrize("broken", [slice(None, 100), slice(0)])
def test_a_mended_image_is_read_when_it_goes_on(
    model: FeatureModel, folder: Path, tmp_path: Path, broken: slice
) -> None:
    whole = (folder / "1.png").read_bytes()
    run(model, folder, tmp_path / "whole")
    (folder / "1.png").write_bytes(whole[broken])
    assert [unread.id for unread in run(model, folder, tmp_path / "out")] == ["1"]
    (folder / "1.png").write_bytes(whole)
    again = writer(model, folder, tmp_path / "out")
    assert (again.begin(), again.remaining(), list(again.write()), again.finish()) == (2, 2, [2], [])
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize("finished", [True, False])
def test_an_image_that_has_maps_may_not_change(
    model: FeatureModel, folder: Path, tmp_path: Path, finished: bool
) -> None:
    made = writer(model, folder, tmp_path / "out")
    made.begin()
    assert sum(made.write()) == len(made.images)
    if finished:
        made.finish()
    with (folder / "1.png").open("ab") as file:
        file.write(b"more")
    with pytest.raises(RunExistsError, match=r"feature maps of .*1\.png when it had \d+ bytes"):
        writer(model, folder, tmp_path / "out").begin()


@pytest.mark.parametrize("format_", FORMATS)
def test_names_that_are_too_long_for_files_are_cut(
    model: FeatureModel, folder: Path, tmp_path: Path, format_: str
) -> None:
    deep = tmp_path / "photos" / ("d" * 100) / ("e" * 100) / ("é" * 125 + ".png")
    deep.parent.mkdir(parents=True)
    deep.write_bytes((folder / "1.png").read_bytes())
    assert run(model, tmp_path / "photos", tmp_path / "out", format=format_, pictures=True) == []
    (image_id,) = read_features(tmp_path / "out").ids
    assert image_id == str(deep.relative_to(tmp_path / "photos").with_suffix(""))


class Named(Scenes):
    """Scenes with ids of one's own."""

    def __init__(self, *ids: str) -> None:
        super().__init__("val", size=(64, 64), val_images=len(ids))
        self.ids = ids

    def __getitem__(self, index: int) -> Sample:
        return replace(super().__getitem__(index), id=self.ids[index])


def of_dataset(model: FeatureModel, dataset: Scenes, output: Path, format_: str, shard: int = 8) -> FeatureWriter:
    images = DatasetImages(dataset, "val", model.info)
    pictures = FeaturePictures(Place(output), model.info)
    return written(model, images, Place(output), pictures, format=format_, shard_images=shard)


IDS = (
    *("../../escaped", "a/b", "a%2Fb", "a//b", "/root", "..", "a/./b", "end/", "caf\udce9", "new\nline", "ü.x"),
    *("x" * 253, "line\u2028separator", "next\x85line"),
)


@pytest.mark.parametrize("format_", FORMATS)
def test_any_id_is_a_file_of_its_own_in_the_folder(model: FeatureModel, tmp_path: Path, format_: str) -> None:
    made = of_dataset(model, Named(*IDS), tmp_path / "deep" / "er" / "out", format_)
    made.begin()
    list(made.write())
    assert made.finish() == []
    features = read_features(tmp_path / "deep" / "er" / "out")
    assert tuple(features.ids) == IDS
    assert len({features[name, 16].tobytes() for name in IDS}) == len(IDS)
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["out"]
    assert len(list((tmp_path / "deep" / "er" / "out" / "pictures").rglob("*.png"))) == len(IDS)


def test_names_give_their_ids_back() -> None:
    names = [path_name(image_id) for image_id in IDS]
    assert [unquote(name, errors="surrogatepass") for name in names] == list(IDS)
    assert names[:4] == ["%2E%2E/%2E%2E/escaped", "a/b", "a%252Fb", "a/%2Fb"]
    assert path_name("street/ä b.c") == "street/ä b.c"
    assert single_name("a/b") == "a%2Fb"
    assert file_name("a/b%") == "a/b%25"
    cut = file_name("a/" + "x" * 300)
    assert re.fullmatch(r"a/x{167}~[0-9a-f]{32}", cut)
    assert cut != file_name("a/" + "x" * 301)


def test_an_id_that_repeats_is_refused(model: FeatureModel, tmp_path: Path) -> None:
    one = of_dataset(model, Named("a", "a"), tmp_path / "one", "npy")
    one.begin()
    with pytest.raises(DatasetError, match="Two images have the id a"):
        list(one.write())
    for rank in range(2):  # of which the second knows nothing of the first's
        two = of_dataset(model, Named("a", "a"), tmp_path / "two", "npy", shard=1)
        two.begin()
        list(two.write(rank, 2))
    with pytest.raises(DatasetError, match="Two images have the id a"):
        two.finish()
    assert not two.folder.finished


def test_a_link_that_leads_nowhere_and_a_name_that_is_no_utf_8(
    model: FeatureModel, folder: Path, tmp_path: Path
) -> None:
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    odd = os.fsdecode(b"caf\xe9")
    (folder / "0.png").rename(folder / f"{odd}.png")
    skipped = run(model, folder, tmp_path / "out")
    assert [unread.id for unread in skipped] == ["gone"]
    features = read_features(tmp_path / "out")
    assert features.ids == ["1", "2", "3", odd, "deep/4"]
    assert Path(features.rows[odd, 4]["file"]).is_file()
    shards = [load_file(path) for path in (tmp_path / "out" / "shards").iterdir()]
    assert {key for shard in shards for key in shard} == {f"{path_name(name)}/{stride}" for name, stride in features}


def test_images_too_large_for_the_memory_are_skipped(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    class Small:
        strides, levels, least_size = model.extractor.strides, model.extractor.levels, 32

        def __call__(self, images: torch.Tensor, sizes: Any) -> Any:
            if images.shape[-1] * images.shape[-2] * len(images) > 64 * 64:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
            return model.extractor(images, sizes)

    Image.new("RGB", (70, 70)).save(folder / "1.png")
    made = writer(model, folder, tmp_path / "out")
    made.maker.extractor = Small()
    made.begin()
    assert sum(made.write()) == 5
    assert [(unread.id, unread.reason) for unread in made.finish()] == [
        ("1", "The memory is too small to make the maps of 1 (70x70).")
    ]
    assert read_features(tmp_path / "out").ids == ["0", "2", "3", "deep/4"]


def test_maps_that_are_not_finite_are_skipped_and_told(model: FeatureModel, tmp_path: Path) -> None:
    image = np.ones((64, 64, 3), np.float32)
    cv2.imwrite(str(tmp_path / "in_a.tif"), image)
    image[3, 4] = np.nan
    cv2.imwrite(str(tmp_path / "in_b.tif"), image)
    skipped = run(model, f"{tmp_path}/in_*.tif", tmp_path / "out", pictures=True, dtype="float16")
    assert [unread.id for unread in skipped] == ["in_b"]
    assert skipped[0].reason.endswith("in_b.tif: its maps are not finite, with NaN or infinity in 1 of its pixels.")
    assert read_features(tmp_path / "out").ids == ["in_a"]


def test_what_zarr_leaves_when_it_is_killed_is_removed(model: FeatureModel, folder: Path, tmp_path: Path) -> None:
    made = writer(model, folder, tmp_path / "out", format="zarr")
    made.begin()
    list(made.write())
    left = [tmp_path / "out" / "maps.zarr" / f"{name}.{'0af' * 10}ab.partial" for name in ("zarr", "2/4/c/0")]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"half")
    made.finish()
    assert not [path for path in left if path.exists()]
    assert len(read_features(tmp_path / "out")) == 10
