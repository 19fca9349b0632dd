"""Find the images that a file names as they were called elsewhere: other folders, slashes, suffixes, or a URL."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from coatseg.data.annotations.objects.mended_boxes import repair_line
from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.images.walking import walk
from coatseg.errors import DatasetError, listed

NAMES = ("image", "images")
HASH = re.compile(r"^[0-9a-f]{8}(?:__|-)(?=.)")
"""What Label Studio puts before the name of a file that was uploaded to it."""
URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


@dataclass(frozen=True)
class FoundImages:
    """The files of images relative to their folder, and lines on those that were found under another name."""

    files: tuple[str, ...]
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFolder:
    """The images below a folder; it is listed once, which is fast even for a hundred thousand."""

    path: Path

    def find(self, named: Sequence[str], source: Path) -> FoundImages:
        """Return the files of images that `source` names: as they are named, else the only one that fits.

        Raises:
            DatasetError: an image is not there, or more than one fits, or one fits several names.
        """
        there = {path.name for path in self.path.iterdir()}
        lost = [name for name in dict.fromkeys(named) if name not in there and not self._is_file(name)]
        found = {name: self._fitting(name) for name in lost}
        missing = [name for name in named if name in found and found[name] is None]
        if missing:
            raise self._missing(missing, source)
        files = [found.get(name) or name for name in named]
        if found:
            self._check_apart(named, files, source)
        first = next(iter(found), "")
        line = repair_line(NAMES, len(found), "found under another name", f"{first} as {found.get(first)}")
        return FoundImages(tuple(files), (line,) if found else ())

    def _is_file(self, name: str) -> bool:
        try:
            return (self.path / name).is_file()
        except (OSError, ValueError):  # a name that is too long, or has a null in it
            return False

    def _fitting(self, name: str) -> str | None:
        """Return the only file that fits a name, the better the more folders they share; None if none or several do."""
        for key in _keys(name):
            fitting = self._by_key.get(key, ())
            if fitting:
                return fitting[0] if len(fitting) == 1 else None
        return None

    @cached_property
    def _by_key(self) -> Mapping[str, Sequence[str]]:
        """Map every end of the path of an image, in lower case, to the files that have it."""
        files: defaultdict[str, list[str]] = defaultdict(list)
        for path in sorted(walk(self.path)):
            inside = PurePosixPath(path.relative_to(self.path).as_posix())
            if path.suffix.lower() in IMAGE_SUFFIXES:
                for key in _ends(inside):
                    files[key].append(str(inside))
        return dict(files)

    def _missing(self, missing: Sequence[str], source: Path) -> DatasetError:
        more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
        name = missing[0]
        fitting = next((fitting for key in _keys(name) if (fitting := self._by_key.get(key))), ())
        shown = listed(sorted({file for files in self._by_key.values() for file in files}))
        if fitting:
            mend = f"More than one file there would fit: {listed(fitting)}. Write their paths below that folder in it."
        elif shown:
            mend = (
                f"Neither that path nor a file {PurePosixPath(_plain(name)).name} is below it; it holds {shown}. "
                "Name the folder of the images with data.images=, or take the image and its annotations out."
            )
        else:
            mend = "That folder holds no image: name the folder of the images with data.images=."
        return DatasetError(f"{source} has the image {name}{more}, which is not in {self.path}.", mend)

    def _check_apart(self, named: Sequence[str], files: Sequence[str], source: Path) -> None:
        owners: dict[str, str] = {}
        for name, file in zip(named, files, strict=True):
            other = owners.setdefault(file, name)
            if other != name:
                raise DatasetError(
                    f"{source} has the images {other} and {name}, and {self.path} has only {file} for both.",
                    "Add the one that is missing, or take it and its annotations out.",
                )


def _plain(name: str) -> str:
    """Return the path in a name: that of a URL, with slashes, without a drive."""
    if URL.match(name):
        parts = urlsplit(name)
        # Label Studio's local files are /data/local-files/?d=PATH.
        name = unquote(parts.query.removeprefix("d=") if parts.query.startswith("d=") else parts.path)
    elif "/?d=" in name:
        name = unquote(name.partition("/?d=")[2])
    return name.replace("\\", "/")


def _keys(name: str) -> Iterator[str]:
    """Yield what a file may be found by, the most exact first."""
    path = PurePosixPath(_plain(name))
    yield from _ends(path)
    bare = HASH.sub("", path.name)
    if bare and bare != path.name:
        yield from _ends(PurePosixPath(bare))


def _ends(path: PurePosixPath) -> Iterator[str]:
    """Yield the ends of a path, from the longest on, in lower case."""
    parts = [part.lower() for part in path.parts if part not in ("/", "..")]
    yield from ("/".join(parts[begin:]) for begin in range(len(parts)))
