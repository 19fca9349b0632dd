"""File names from the ids of images: unique, and within the folder, whatever an id contains."""

from __future__ import annotations

import re
from hashlib import sha256

UNFIT = re.compile(r"(?:\A|(?<=/))(?:\.{1,2}(?=/|\Z)|/)|/\Z|[%\x00-\x1f\x7f\ud800-\udfff]")
"""Matches what cannot be part of a path below the folder or is not UTF-8, and the sign that replaces these, %."""
NAME_BYTES = 200
"""Longer parts of a file's name are cut: most systems allow 255 bytes, and suffixes and temporary names are added."""


def path_name(image_id: str) -> str:
    """Return an id as a relative path with slashes, with characters that do not fit written as %XX, as in URLs.

    `urllib.parse.unquote(name, errors="surrogatepass")` returns the id.
    """
    return UNFIT.sub(_percent, image_id)


def file_name(image_id: str) -> str:
    """Return an id as the path of a file without its suffix: `path_name`, with long parts cut."""
    return "/".join(map(_cut, path_name(image_id).split("/")))


def single_name(image_id: str) -> str:
    """Return an id as the name of a file or a folder, without slashes."""
    return _cut(path_name(image_id).replace("/", "%2F"))


def _cut(name: str) -> str:
    """Return the beginning of a long name, with a digest that tells it from others."""
    content = name.encode()
    if len(content) <= NAME_BYTES:
        return name
    digest = sha256(content).hexdigest()[:32]
    return f"{content[: NAME_BYTES - len(digest) - 1].decode(errors='ignore')}~{digest}"


def _percent(unfit: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unfit[0].encode(errors="surrogatepass"))
