"""What lies in a folder: its files listed once, and the few of them that are opened to tell formats apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from coatseg.data.images.reading import IMAGE_SUFFIXES
from coatseg.data.images.walking import walk
from coatseg.errors import DatasetNotFoundError

OTHERS = ("__MACOSX",)
"""Folders that hold nothing of a dataset: what macOS packs beside it."""
ALL_OF, SAMPLED = 12, 2
"""A folder of no more json files than the first is read whole; of one with more, a file an image, so many are."""
READ_CHARACTERS = 65536
"""How much of a text file is read; names, headers and first rows stand at its beginning."""


@dataclass(frozen=True)
class Tree:
    """The files below `root` by their paths with slashes, sorted; hidden ones are passed over."""

    root: Path
    files: tuple[str, ...]

    @classmethod
    def of(cls, root: Path) -> Tree:
        """List what lies below a folder, behind symbolic links too.

        Raises:
            DatasetNotFoundError: it is no folder.
            ImageError: a folder below it cannot be listed.
        """
        if not root.is_dir():
            what = f"{root} is a file." if root.exists() else f"There is no folder {root}."
            raise DatasetNotFoundError(what, "Name the folder of an export, unpacked.")
        files = (path.relative_to(root) for path in walk(root))
        return cls(root, tuple(sorted(file.as_posix() for file in files if not set(OTHERS) & set(file.parts))))

    def below(self, folder: str) -> Tree:
        """Return what lies in a folder of this one."""
        start = f"{folder}/"
        return Tree(
            self.root / folder, tuple(file.removeprefix(start) for file in self.files if file.startswith(start))
        )

    @cached_property
    def folders(self) -> dict[str, tuple[str, ...]]:
        """The names of the files directly in each folder that holds any; "." is the root."""
        found: dict[str, list[str]] = {}
        for file in self.files:
            folder, _, name = file.rpartition("/")
            found.setdefault(folder or ".", []).append(name)
        return {folder: tuple(names) for folder, names in found.items()}

    @cached_property
    def image_folders(self) -> dict[str, tuple[str, ...]]:
        """The names of the image files directly in each folder that holds any."""
        images = {folder: tuple(filter(is_image, names)) for folder, names in self.folders.items()}
        return {folder: names for folder, names in images.items() if names}

    @cached_property
    def jsons(self) -> dict[str, Any]:
        """The content of json files by their paths: of all where a folder has few, else of the first."""
        content = {}
        for folder, names in self.folders.items():
            there = [name for name in names if name.lower().endswith((".json", ".geojson"))]
            for name in there if len(there) <= ALL_OF else there[:SAMPLED]:
                try:
                    content[join(folder, name)] = json.loads((self.root / folder / name).read_bytes())
                except (OSError, ValueError):  # a damaged file says nothing of the export; its reader will name it
                    continue
        return content

    def find(self, pattern: str) -> list[re.Match[str]]:
        """Return the matches of a regular expression with the whole paths of files."""
        compiled = re.compile(pattern)
        return [match for match in map(compiled.fullmatch, self.files) if match]

    def has(self, pattern: str) -> bool:
        """Return whether the path of any file matches a regular expression whole."""
        return bool(self.find(pattern))

    def is_folder(self, path: str) -> bool:
        """Return whether a folder holds files, directly or below."""
        return path == "." or any(file.startswith(f"{path}/") for file in self.files)

    def text(self, path: str) -> str:
        """Return the beginning of a text file; nothing if it cannot be read."""
        try:
            with (self.root / path).open(encoding="utf-8-sig", errors="replace") as file:
                return file.read(READ_CHARACTERS)
        except OSError:
            return ""

    def lines(self, path: str) -> list[str]:
        """Return the stripped lines of the beginning of a text file that are not blank."""
        return [line.strip() for line in self.text(path).splitlines() if line.strip()]


def is_image(name: str) -> bool:
    """Return whether a file has the suffix of an image."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def stem_of(name: str) -> str:
    """Return a path without its suffix."""
    return str(PurePosixPath(name).with_suffix(""))


def join(folder: str, name: str) -> str:
    """Return the path of a file in a folder, in which "." is the root."""
    return name if folder == "." else f"{folder}/{name}"


def without_mask(tree: Tree, images: Iterable[str], masks: Iterable[str], ending: str = "") -> dict[str, Any]:
    """Return what to say of images in some folders that have no mask in others, as tools write none for empty ones."""
    shown = {stem_of(name) for folder in images for name in tree.image_folders.get(folder, ())}
    there = {stem_of(name) for folder in masks for name in tree.image_folders.get(folder, ())}
    bare = [stem for stem in shown if f"{stem}{ending}" not in there and not (ending and stem.endswith(ending))]
    return {"without_annotation": "leave_out"} if bare else {}
