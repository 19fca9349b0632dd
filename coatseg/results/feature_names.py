"""The ids of images as names of files: whatever an id holds, its file is another's neither and lies in the folder."""

from __future__ import annotations

import re

UNFIT = re.compile(r"(?:\A|(?<=/))(?:\.{1,2}(?=/|\Z)|/)|/\Z|[%\x00-\x1f\x7f\ud800-\udfff]")
"""What is no part of a path below the folder, is no UTF-8, or is the sign of the rest."""


def path_name(image_id: str) -> str:
    """Give an id as a relative path with slashes, where what does not fit is written %XX as in addresses.

    `urllib.parse.unquote(name, errors="surrogatepass")` gives the id back.
    """
    return UNFIT.sub(_percent, image_id)


def single_name(image_id: str) -> str:
    """Give an id as a name without slashes, in the same way."""
    return path_name(image_id).replace("/", "%2F")


def _percent(unfit: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unfit[0].encode(errors="surrogatepass"))
