"""The output folder of feature maps: its settings, its parts, its manifest, and files that are not its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coatseg.data.images.sources import SKIPPED_FILE
from coatseg.errors import RunExistsError
from coatseg.results.features.formats import MANIFEST, ZARR
from coatseg.system.fsspec_folders import Place
from coatseg.system.json_lines import encoded, read_json_lines, write_lines
from coatseg.system.output import ELSEWHERE, differing, read_settings, remove_left_overs

SETTINGS = "features.json"
PARTS = "features.parts"
FOLDERS = {"shards": r".+\.safetensors", "maps": r".+\.npy", "pictures": r".+\.png", PARTS: r"\d+\.json"}
"""What is written where: folders, and how the names of the files in them look."""
FILES = (SETTINGS, SKIPPED_FILE, MANIFEST)
OURS = (SETTINGS, SKIPPED_FILE, MANIFEST, ZARR, *FOLDERS)
"""All names in the output folder; no other file or folder is written or removed."""
ZARR_TEMPORARY = r".+\.[0-9a-f]{32}\.partial"
"""How the files that Zarr writes are called until they are whole."""


class FeatureFolder:
    """Records in a `place` what is done: settings that do not change, a part for each shard, at the end a manifest."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def begin(self, settings: Mapping[str, Any]) -> None:
        """Write the settings, or check that the same settings are there.

        Raises:
            OutputError: the folder cannot be written.
            RunExistsError: it was begun with other settings, or holds files that coatseg features did not write.
        """
        written = encoded(settings, indent=1)
        if self.place.exists(SETTINGS):
            check_same(self._settings_there(), json.loads(written), self.place)
            return
        if foreign := [name for name in OURS if self.place.exists(name)]:  # its files could be mistaken for coatseg's
            raise RunExistsError(
                f"{self.place.address} has {foreign[0]} already, which coatseg features did not write.", ELSEWHERE
            )
        self.place.write(SETTINGS, written)

    @property
    def finished(self) -> bool:
        """Whether all is done, the manifest included."""
        return self.place.exists(MANIFEST)

    def done(self, number: int) -> bool:
        """Return whether a shard's part is there."""
        return self.place.exists(_part(number))

    def part(self, number: int) -> dict[str, Any]:
        """Read a shard's part."""
        content: dict[str, Any] = json.loads(self.place.read(_part(number)))
        return content

    def rows(self, numbers: Iterable[int]) -> list[dict[str, Any]]:
        """Return the rows of the manifest or, before it is written, of those shards among `numbers` that are done."""
        if self.finished:
            return read_json_lines(self.place, MANIFEST)
        return [row for number in filter(self.done, numbers) for row in self.part(number)["maps"]]

    def write_part(self, number: int, content: Mapping[str, Any]) -> None:
        """Write a shard's part, which marks the shard as done."""
        self.place.write(_part(number), encoded(content))

    def forget(self, number: int) -> None:
        """Remove a shard's part and the manifest, so that both are made again."""
        self.place.remove(MANIFEST)
        self.place.remove(_part(number))

    def join(self, parts: Sequence[Mapping[str, Any]]) -> None:
        """Write the list of skipped images and, last of all, the manifest."""
        write_lines(self.place, SKIPPED_FILE, (row for part in parts for row in part["skipped"]))
        write_lines(self.place, MANIFEST, (row for part in parts for row in part["maps"]))

    def conclude(self, form: str) -> list[dict[str, Any]]:
        """Remove what is no longer needed and what killed processes left; return the rows of the skipped images."""
        skipped = read_json_lines(self.place, SKIPPED_FILE)
        if not skipped:  # else another start goes on from the parts, in case an image was mended
            self.place.remove(PARTS)
        remove_left_overs(self.place, FILES, FOLDERS)
        if form == "zarr":
            self.place.remove_files(ZARR_TEMPORARY, ZARR, deep=True)
        return skipped

    def _settings_there(self) -> dict[str, Any]:
        there = read_settings(self.place, SETTINGS)
        if there is None:
            raise RunExistsError(f"{self.place.address} has a {SETTINGS} of something else.", ELSEWHERE)
        return there


def check_unchanged(rows: Iterable[Mapping[str, Any]], lengths: Mapping[str, int], place: Place) -> None:
    """Raise if files differ from those that the maps were made of, by their lengths in bytes, given by id.

    Raises:
        RunExistsError: a file has another length.
    """
    for row in rows:
        now = lengths.get(row["id"])
        if row["file_bytes"] != now:
            raise RunExistsError(
                f"{place.address} has feature maps of {row['file']} when it had {row['file_bytes']} bytes; "
                f"it has {now} now.",
                ELSEWHERE,
            )


def check_same(there: Mapping[str, Any], now: Mapping[str, Any], place: Place) -> None:
    """Raise if a folder was begun with other settings.

    Raises:
        RunExistsError: the settings differ; the first differences are listed.
    """
    if differ := differing(there, now):
        listed = "; ".join(f"{name} {there.get(name)} there, {now.get(name)} now" for name in differ[:3])
        raise RunExistsError(
            f"{place.address} has feature maps that were made otherwise: {listed}.",
            "Choose another output=...; or give the same options and images, and it goes on where it stopped.",
        )


def _part(number: int) -> str:
    return f"{PARTS}/{number:05}.json"
