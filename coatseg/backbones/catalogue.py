"""The catalogue of CoaT's published weights: where they are, and how they come into the cache, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from coatseg.download import RemoteFile, download, exclusive
from coatseg.errors import ConfigError, DownloadError, UnreachableError, WeightsError, nearest

BASE = "https://vcl.ucsd.edu/coat/pretrained"
"""Where the authors keep what they released."""


def _sources(name: str, authors_name: str, sha256: str) -> tuple[RemoteFile, ...]:
    authors = f"{authors_name}_{sha256}.pth"
    hub = f"https://huggingface.co/timm/{name}.in1k/resolve/main/pytorch_model.bin"
    return (
        RemoteFile(f"{BASE}/{authors}", authors, checksum=f"sha256:{sha256}"),
        RemoteFile(hub, f"timm_{name}.in1k.bin"),
    )


# The authors' file comes first because it can be verified; timm's copy on the hub is for where that is out of reach.
SOURCES: dict[str, tuple[RemoteFile, ...]] = {
    "coat_tiny": _sources("coat_tiny", "coat_tiny", "c6efc33c"),
    "coat_mini": _sources("coat_mini", "coat_mini", "40667eec"),
    "coat_small": _sources("coat_small", "coat_small", "7479cf9b"),
    "coat_lite_tiny": _sources("coat_lite_tiny", "coat_lite_tiny", "e88e96b0"),
    "coat_lite_mini": _sources("coat_lite_mini", "coat_lite_mini", "6b4a8ae5"),
    "coat_lite_small": _sources("coat_lite_small", "coat_lite_small", "8d362f48"),
    "coat_lite_medium": _sources("coat_lite_medium", "coat_lite_medium", "a750cd63"),
    "coat_lite_medium_384": _sources("coat_lite_medium_384", "coat_lite_medium_384x384", "f9129688"),
}


def fetch(
    name: str, sources: Mapping[str, tuple[RemoteFile, ...]] = SOURCES, option: str = "backbone.pretrained"
) -> Path:
    """Give the path of a catalogue's weights of a name, in the cache; downloads them when they are not there yet.

    The cache is the folder $COATSEG_CACHE, or ~/.cache/coatseg. `sources` are the addresses of each name, the first to
    try first; `option` is the key under which a user may give a file of their own.

    Raises:
        ConfigError: the catalogue has no such name.
        WeightsError: no address could be reached, or a download is not what its publisher states.
    """
    if name not in sources:
        raise ConfigError(f"There are no pretrained weights called {name!r}.", nearest(name, sources))
    folder = cache_folder()
    try:
        return _cached(sources[name], folder) or _fetch(name, sources[name], folder, option)
    except DownloadError as error:
        raise WeightsError(
            error.what,
            f"Try again; if it stays so, fetch the file by other means and set {option}=PATH to where it is.",
        ) from error


def cache_folder() -> Path:
    """Give the folder that downloads are kept in."""
    return Path(os.environ.get("COATSEG_CACHE") or Path.home() / ".cache" / "coatseg")


def _fetch(name: str, sources: Sequence[RemoteFile], folder: Path, option: str) -> Path:
    failures = []
    with exclusive(folder):
        if cached := _cached(sources, folder):  # another process fetched it in the meantime
            return cached
        for source in sources:
            try:
                return download(source, folder)
            except UnreachableError as error:
                failures.append(f"{source.url} ({error.reason})")
    raise WeightsError(
        f"The weights of {name} could not be downloaded. Tried {', '.join(failures)}.",
        f"Fetch one of these files by other means and set {option}=PATH to where it is.",
    )


def _cached(sources: Sequence[RemoteFile], folder: Path) -> Path | None:
    return next((path for source in sources if (path := folder / source.name).is_file()), None)
