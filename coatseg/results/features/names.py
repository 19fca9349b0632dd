"""The ids of images as names: whatever an id holds, its file is another's neither and lies in the folder."""

from __future__ import annotations

import re
from hashlib import sha256

UNFIT = re.compile(r"(?:\A|(?<=/))(?:\.{1,2}(?=/|\Z)|/)|/\Z|[%\x00-\x1f\x7f\ud800-\udfff]")
"""What is no part of a path below the folder, is no UTF-8, or is the sign of the rest."""
NAME_BYTES = 200
"""A longer part of a file's name is cut: most systems take 255 bytes, and an ending and temporary names are added."""


def path_name(image_id: str) -> str:
    """Give an id as a relative path with slashes, where what does not fit is written %XX as in addresses.

    `urllib.parse.unquote(name, errors="surrogatepass")` gives the id back.
    """
    return UNFIT.sub(_percent, image_id)


def file_name(image_id: str) -> str:
    """Give an id as the path of a file without its ending: that of `path_name`, of which long parts are cut."""
    return "/".join(map(_cut, path_name(image_id).split("/")))


def single_name(image_id: str) -> str:
    """Give an id as the name of a file, or a folder, without slashes."""
    return _cut(path_name(image_id).replace("/", "%2F"))


def _cut(name: str) -> str:
    """Keep the beginning of a long name, and tell it from others by a digest."""
    content = name.encode()
    if len(content) <= NAME_BYTES:
        return name
    digest = sha256(content).hexdigest()[:32]
    return f"{content[: NAME_BYTES - len(digest) - 1].decode(errors='ignore')}~{digest}"


def _percent(unfit: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unfit[0].encode(errors="surrogatepass"))
