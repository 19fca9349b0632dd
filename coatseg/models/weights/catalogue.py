"""The weights that CoaT's authors released: their addresses and the cache they are downloaded to.

There are backbones trained on ImageNet and detectors trained on COCO. Scores of detectors are box / mask AP on val2017,
as the authors' pages state them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from coatseg.errors import ConfigError, DownloadError, UnreachableError, WeightsError, nearest
from coatseg.system.download import RemoteFile, download, exclusive

BASE = "https://vcl.ucsd.edu/coat/pretrained"
"""The address under which the authors publish their weights."""


def _sources(name: str, authors_name: str, sha256: str) -> tuple[RemoteFile, ...]:
    authors = f"{authors_name}_{sha256}.pth"
    hub = f"https://huggingface.co/timm/{name}.in1k/resolve/main/pytorch_model.bin"
    return (
        RemoteFile(f"{BASE}/{authors}", authors, checksum=f"sha256:{sha256}"),
        RemoteFile(hub, f"timm_{name}.in1k.bin"),
    )


# The authors' file comes first because it can be verified; timm's copy on the hub is for when it cannot be reached.
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
    """Return the path in the cache of the weights of a catalogue's name; downloads them if they are not there yet.

    The cache is the folder $COATSEG_CACHE, or ~/.cache/coatseg. `sources` are the addresses of each name, in the order
    in which they are tried; `option` is the key under which a user may give a file of their own.

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
    """Return the folder that downloads are kept in."""
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


def _file(framework: str, stem: str, sha256: str) -> tuple[RemoteFile, ...]:
    name = f"{stem}_{sha256}.pth"
    return (RemoteFile(f"{BASE}/tasks/{framework}/{name}", name, checksum=f"sha256:{sha256}"),)


def _mask_rcnn(variant: str, length: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("mmdet", f"mask_rcnn_{variant}_mstrain_480-800_adamw_{length}_coco", sha256)


def _cascade(variant: str, length: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("mmdet", f"cascade_mask_rcnn_{variant}_mstrain_480-800_giou_4conv1f_adamw_{length}_coco", sha256)


def _detectron2(variant: str, length: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("detectron2", f"mask_rcnn_{variant}_FPN_{length}", sha256)


def _deformable_detr(variant: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("Deformable-DETR", f"{variant}_deformable_detr", sha256)


DETECTORS: Mapping[str, tuple[RemoteFile, ...]] = {
    "mask_rcnn_coat_lite_mini_1x": _mask_rcnn("coat_lite_mini", "1x", "85230aa4"),  # 41.4 / 38.0
    "mask_rcnn_coat_lite_mini_3x": _mask_rcnn("coat_lite_mini", "3x", "564e80d7"),  # 42.9 / 38.9
    "mask_rcnn_coat_lite_small_1x": _mask_rcnn("coat_lite_small", "1x", "4c9c3f44"),  # 45.2 / 40.7
    "mask_rcnn_coat_lite_small_3x": _mask_rcnn("coat_lite_small", "3x", "c7da01b6"),  # 45.7 / 41.1
    "mask_rcnn_coat_mini_1x": _mask_rcnn("coat_mini", "1x", "30d8566d"),  # 45.1 / 40.6
    "mask_rcnn_coat_mini_3x": _mask_rcnn("coat_mini", "3x", "67e59b6f"),  # 46.5 / 41.8
    "mask_rcnn_coat_small_1x": _mask_rcnn("coat_small", "1x", "7396027e"),  # 46.5 / 41.8
    "mask_rcnn_coat_small_3x": _mask_rcnn("coat_small", "3x", "1152829c"),  # 49.0 / 43.7
    "cascade_mask_rcnn_coat_lite_small_1x": _cascade("coat_lite_small", "1x", "2ab58e20"),  # 49.1 / 42.5
    "cascade_mask_rcnn_coat_lite_small_3x": _cascade("coat_lite_small", "3x", "3d224926"),  # 48.9 / 42.6
    "cascade_mask_rcnn_coat_small_1x": _cascade("coat_small", "1x", "3185cd67"),  # 50.4 / 43.5
    "cascade_mask_rcnn_coat_small_3x": _cascade("coat_small", "3x", "4f7a069e"),  # 52.2 / 45.1
    "detectron2_mask_rcnn_coat_lite_mini_1x": _detectron2("coat_lite_mini", "1x", "5bb8caf8"),  # 39.9 / 36.4
    "detectron2_mask_rcnn_coat_lite_mini_3x": _detectron2("coat_lite_mini", "3x", "4dec4a9b"),
    "detectron2_mask_rcnn_coat_lite_small_1x": _detectron2("coat_lite_small", "1x", "759f3316"),
    "detectron2_mask_rcnn_coat_lite_small_3x": _detectron2("coat_lite_small", "3x", "0a5baf05"),
    "detectron2_mask_rcnn_coat_mini_1x": _detectron2("coat_mini", "1x", "9ddaa460"),
    "detectron2_mask_rcnn_coat_mini_3x": _detectron2("coat_mini", "3x", "f34f1182"),
    "deformable_detr_coat_lite_small": _deformable_detr("coat_lite_small", "1801ee09"),  # 47.0
    "deformable_detr_coat_small": _deformable_detr("coat_small", "8a86ba55"),  # 48.4
}


def find_weights(source: str | Path) -> Path:
    """Return the path of weights that are given by a catalogue's name or by their path.

    Raises:
        ConfigError: it is neither the path of a file nor a name of the catalogue.
        WeightsError: no address could be reached, or a download is not what its publisher states.
    """
    called_by_name = source in DETECTORS or (isinstance(source, str) and not any(mark in source for mark in "./\\"))
    if called_by_name and not Path(source).is_file():
        return fetch(str(source), DETECTORS, "weights")
    return Path(source)
