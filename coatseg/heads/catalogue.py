"""The catalogue of the detectors that CoaT's authors released, trained on COCO: where they are.

Scores are box / mask AP on val2017, as their authors' pages state them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from coatseg.backbones.catalogue import BASE, fetch
from coatseg.download import RemoteFile


def _file(framework: str, stem: str, sha256: str) -> tuple[RemoteFile, ...]:
    name = f"{stem}_{sha256}.pth"
    return (RemoteFile(f"{BASE}/tasks/{framework}/{name}", name, checksum=f"sha256:{sha256}"),)


def _mask_rcnn(variant: str, length: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("mmdet", f"mask_rcnn_{variant}_mstrain_480-800_adamw_{length}_coco", sha256)


def _cascade(variant: str, length: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("mmdet", f"cascade_mask_rcnn_{variant}_mstrain_480-800_giou_4conv1f_adamw_{length}_coco", sha256)


def _detectron2(variant: str, length: str, sha256: str) -> tuple[RemoteFile, ...]:
    return _file("detectron2", f"mask_rcnn_{variant}_FPN_{length}", sha256)


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
}


def find_weights(source: str | Path) -> Path:
    """Give the path of weights that are called by a catalogue's name, or by their path.

    Raises:
        ConfigError: it is neither the path of a file nor a name of the catalogue.
        WeightsError: no address could be reached, or a download is not what its publisher states.
    """
    called_by_name = source in DETECTORS or (isinstance(source, str) and not any(mark in source for mark in "./\\"))
    if called_by_name and not Path(source).is_file():
        return fetch(str(source), DETECTORS, "weights")
    return Path(source)
