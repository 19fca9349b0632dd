"""An input names image files; each is read whole, or refused with a word."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
from PIL import Image

from coatseg.data.images.sources import Source, find_sources, read_source
from coatseg.errors import ConfigError, ImageError


def write(path: Path, size: tuple[int, int] = (4, 6), mode: str = "RGB", **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1]).save(path, **options)
    return path


SIZES = {"large": (60, 60), "small": (50, 50)}


def ids(given: str | Path, **options: Path) -> list[str]:
    return [source.id for source in find_sources(given, **options).images]


def test_a_folder_is_all_images_below_it_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPG", "deep/er/c.tif", ".hidden/d.png", ".e.png"):
        write(tmp_path / name)
    assert ids(tmp_path) == ["a", "b", "deep/er/c"]


def test_a_file_is_itself(tmp_path: Path) -> None:
    assert find_sources(write(tmp_path / "a.png")).images == (Source("a", "a.png", str(tmp_path / "a.png")),)


def test_a_pattern_is_what_it_matches_below_its_fixed_part(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "one/a.png", "one/two/b.png"):
        write(tmp_path / name)
    assert ids(f"{tmp_path}/*.png") == ["a"]
    assert ids(f"{tmp_path}/**/?.png") == ["a", "one/a", "one/two/b"]


def test_a_folder_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    write(tmp_path / "[1]" / "a.png")
    assert ids(tmp_path / "[1]") == ["a"]


def test_files_that_differ_in_their_suffix_keep_it(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "b.png"):
        write(tmp_path / name)
    assert ids(tmp_path) == ["a.jpg", "a.png", "b"]
    write(tmp_path / "a.png.bmp")
    assert ids(tmp_path) == ["a.jpg", "a.png", "a.png.bmp", "b"]


def test_other_files_are_skipped_with_a_word(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    assert find_sources(tmp_path).words == "1 image; 1 other file is no image and is skipped: notes.txt"


def test_an_output_inside_the_input_is_no_input(tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "out" / "labels" / "a.png")
    assert ids(tmp_path, output=tmp_path / "out") == ["a"]


def test_an_output_inside_the_input_is_known_by_any_of_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "photos" / "a.png")
    write(tmp_path / "photos" / "out" / "labels" / "a.png")
    (tmp_path / "link").symlink_to("photos")
    monkeypatch.chdir(tmp_path)
    for given, output in (("link", "photos/out"), ("photos", "link/out"), ("photos/../photos", "photos/out")):
        assert ids(given, output=Path(output)) == ["a"]
    assert ids("photos", output=tmp_path / "elsewhere") == ["a", "out/labels/a"]


def test_an_output_around_the_input_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert ids("in", output=Path()) == ["a"]
    assert ids("in/a.png", output=Path("in")) == ["a"]
    for given in ("in", "in/*.png", "in/**/*.png"):
        with pytest.raises(ConfigError, match="output=in is the folder of the images"):
            ids(given, output=Path("in"))


def test_a_name_may_look_like_an_address(tmp_path: Path) -> None:
    write(tmp_path / "in" / "c::d.png", (5, 7))
    write(tmp_path / "in" / "a.jpg.jpg")
    odd, twice = find_sources(tmp_path / "in").images[::-1]
    assert read_source(odd, 3).shape == (5, 7, 3)
    assert (twice.id, twice.name) == ("a.jpg", "a.jpg.jpg")
    assert find_sources(tmp_path / "in" / "c::d.png").images == (odd,)


def test_a_broken_file_elsewhere_is_named_as_it_is_there() -> None:
    fsspec.filesystem("memory").pipe("/broken/broken.png", b"no image")
    source = find_sources("memory://broken").images[0]
    with pytest.raises(ImageError, match=r"^memory:///broken/broken\.png cannot be decoded"):
        read_source(source, 3)


def test_any_address_of_fsspec_is_an_input(tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/images/deep/a.png", write(tmp_path / "a.png").read_bytes())
    source = find_sources("memory://images").images[0]
    assert source == Source("deep/a", "deep/a.png", "memory:///images/deep/a.png", remote=True)
    assert read_source(source, 3).shape == (4, 6, 3)


@pytest.mark.parametrize("given", ["missing", "none/*.png", "nowhere://x"])
def test_an_input_without_files_says_so(tmp_path: Path, given: str) -> None:
    with pytest.raises(ConfigError, match="input="):
        find_sources(given if "://" in given else tmp_path / given)


def test_an_input_without_images_names_the_suffixes(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    for given in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(ConfigError, match=r"no image.\nImages end in .bmp, "):
            find_sources(given)


def broken(name: str) -> Callable[[Path], Path]:
    def cut(path: Path) -> Path:
        whole = write(path / f"a.{name}", (300, 300)).read_bytes()
        (path / f"a.{name}").write_bytes(whole[: len(whole) // 2])
        return path / f"a.{name}"

    return cut


def empty(path: Path) -> Path:
    (path / "a.png").touch()
    return path / "a.png"


def not_an_image(path: Path) -> Path:
    (path / "a.jpg").write_text("these are words")
    return path / "a.jpg"


@pytest.mark.parametrize("make", [*map(broken, ("png", "jpg", "tif", "webp", "bmp")), empty, not_an_image])
def test_a_broken_file_is_named(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    with pytest.raises(ImageError, match=str(path)):
        read_source(Source("a", path.name, str(path)), 3)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_more_pixels_than_the_limit_are_refused_before_decoding(tmp_path: Path, name: str) -> None:
    source = Source("a", name, str(write(tmp_path / name, (30, 40))))
    assert read_source(source, 3, max_pixels=1200).shape == (30, 40, 3)
    with pytest.raises(ImageError, match="30x40 pixels, more than max_pixels=1199"):
        read_source(source, 3, max_pixels=1199)


def test_the_limit_is_raised_above_that_of_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Source("a", "a.png", str(write(tmp_path / "a.png", (30, 40))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert np.array_equal(read_source(source, 3), np.zeros((30, 40, 3), np.uint8))
    assert Image.MAX_IMAGE_PIXELS == 100


def test_threads_refuse_every_image_above_the_limit_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    large, small = (Source(name, name, str(write(tmp_path / f"{name}.png", size))) for name, size in SIZES.items())

    def read(number: int) -> str:
        try:
            return str(read_source((small, large)[number % 2], 3, max_pixels=3000).shape)
        except ImageError as error:
            return error.what

    with ThreadPoolExecutor(8) as pool:
        said = set(pool.map(read, range(400)))
    assert said == {"(50, 50, 3)", f"{large.address} states 60x60 pixels, more than max_pixels=3000."}
    assert Image.MAX_IMAGE_PIXELS == 100
