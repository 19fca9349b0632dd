from pathlib import Path

import pytest

from coatseg.data.images.sources import find_sources
from coatseg.data.images.walking import walk
from coatseg.errors import ImageError


def names(root: Path, skip: Path | None = None) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in walk(root, skip))


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A folder whose links lead to a folder elsewhere, twice, to a file, and back up from below."""
    for file in ("in/a.png", "in/.hidden/b.png", "in/.c.png", "elsewhere/day/d.png", "elsewhere/e.png"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    (tmp_path / "in/first").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in/second").symlink_to("../elsewhere/day")
    (tmp_path / "in/f.png").symlink_to(tmp_path / "elsewhere/e.png")
    (tmp_path / "in/up").symlink_to(tmp_path / "in")
    (tmp_path / "in/all").symlink_to(tmp_path)
    return tmp_path / "in"


FOUND = ["a.png", "f.png", "first/day/d.png", "first/e.png", "second/d.png"]


def test_folders_behind_links_are_followed_by_their_names_and_never_upwards(linked: Path) -> None:
    assert names(linked) == FOUND


def test_links_that_lead_to_each_other_end(tmp_path: Path) -> None:
    for one, other in ("ab", "ba"):
        (tmp_path / one).mkdir()
        (tmp_path / one / f"{one}.png").touch()
        (tmp_path / one / "link").symlink_to(tmp_path / other)
    assert names(tmp_path) == ["a/a.png", "a/link/b.png", "b/b.png", "b/link/a.png"]


def test_a_folder_to_skip_is_skipped_behind_links_too(linked: Path) -> None:
    assert names(linked, linked.parent / "elsewhere/day") == ["a.png", "f.png", "first/e.png"]


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"The folder .*gone cannot be listed: No such file"):
        names(tmp_path / "gone")


def test_predict_and_features_find_images_behind_links(linked: Path) -> None:
    assert [source.id for source in find_sources(linked).images] == [name.removesuffix(".png") for name in FOUND]
    skipped = find_sources(linked, output=linked.parent / "elsewhere")
    assert [source.id for source in skipped.images] == ["a", "f", "second/d"]
