"""The catalogue of CoaT's published weights: where they are, and how they come into the cache, whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from coatseg.errors import ConfigError, WeightsError, nearest

CHUNK = 1 << 20  # bytes read at a time
TIMEOUT = 30  # seconds without an answer


@dataclass(frozen=True)
class Source:
    """An address of a weights file, and the first hexadecimal digits of its sha256 where its publisher states them."""

    url: str
    file: str
    sha256: str = ""


def _sources(name: str, authors_name: str, sha256: str) -> tuple[Source, ...]:
    authors = f"{authors_name}_{sha256}.pth"
    hub = f"https://huggingface.co/timm/{name}.in1k/resolve/main/pytorch_model.bin"
    return (
        Source(f"https://vcl.ucsd.edu/coat/pretrained/{authors}", authors, sha256),
        Source(hub, f"timm_{name}.in1k.bin"),
    )


# The authors' file comes first because it can be verified; timm's copy on the hub is for where that is out of reach.
SOURCES: dict[str, tuple[Source, ...]] = {
    "coat_tiny": _sources("coat_tiny", "coat_tiny", "c6efc33c"),
    "coat_mini": _sources("coat_mini", "coat_mini", "40667eec"),
    "coat_small": _sources("coat_small", "coat_small", "7479cf9b"),
    "coat_lite_tiny": _sources("coat_lite_tiny", "coat_lite_tiny", "e88e96b0"),
    "coat_lite_mini": _sources("coat_lite_mini", "coat_lite_mini", "6b4a8ae5"),
    "coat_lite_small": _sources("coat_lite_small", "coat_lite_small", "8d362f48"),
    "coat_lite_medium": _sources("coat_lite_medium", "coat_lite_medium", "a750cd63"),
    "coat_lite_medium_384": _sources("coat_lite_medium_384", "coat_lite_medium_384x384", "f9129688"),
}


def fetch(name: str) -> Path:
    """Give the path of the catalogue's weights of a variant, in the cache; downloads them when they are not there yet.

    The cache is the folder $COATSEG_CACHE, or ~/.cache/coatseg.

    Raises:
        ConfigError: the catalogue has no such variant.
        WeightsError: no address could be reached, or a download is not what its publisher states.
    """
    if name not in SOURCES:
        raise ConfigError(f"There are no pretrained weights called {name!r}.", nearest(name, SOURCES))
    folder = cache_folder()
    cached = [path for source in SOURCES[name] if (path := folder / source.file).is_file()]
    if cached:
        return cached[0]
    failures = []
    for source in SOURCES[name]:
        try:
            return download(source, folder)
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"{source.url} ({error})")
    raise WeightsError(
        f"The weights of {name} could not be downloaded. Tried {', '.join(failures)}.",
        "Fetch one of these files by other means and set backbone.pretrained=PATH to where it is.",
    )


def cache_folder() -> Path:
    """Give the folder that downloads are kept in."""
    return Path(os.environ.get("COATSEG_CACHE") or Path.home() / ".cache" / "coatseg")


def download(source: Source, folder: Path) -> Path:
    """Download a file into a folder; it appears there whole and verified, or not at all.

    Raises:
        OSError: the address cannot be reached, or the folder cannot be written.
        WeightsError: the file came incomplete, or has another checksum than its publisher states.
    """
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / source.file
    with tempfile.NamedTemporaryFile(dir=folder, prefix=source.file, suffix=".part", delete=False) as part:
        try:
            _receive(source, part)
            part.flush()
            os.fsync(part.fileno())
            Path(part.name).replace(target)
        except BaseException:
            Path(part.name).unlink()
            raise
    return target


def _receive(source: Source, part: IO[bytes]) -> None:
    with urllib.request.urlopen(source.url, timeout=TIMEOUT) as answer:
        length = int(answer.headers.get("Content-Length") or 0)
        print(f"Downloading {source.url} ({length / 1e6:.1f} MB)", file=sys.stderr)
        digest, received = hashlib.sha256(), 0
        while chunk := answer.read(CHUNK):
            part.write(chunk)
            digest.update(chunk)
            received += len(chunk)
    if length and received != length:
        raise WeightsError(
            f"{source.url} broke off after {received} of {length} bytes; nothing was kept.",
            "Try again, or fetch the file by other means and set backbone.pretrained=PATH to where it is.",
        )
    found = digest.hexdigest()[: len(source.sha256)]
    if found != source.sha256:
        raise WeightsError(
            f"{source.url} has sha256 {found}..., expected {source.sha256}...; nothing was kept.",
            "Try again; if it stays so, fetch the file elsewhere and set backbone.pretrained=PATH to where it is.",
        )
