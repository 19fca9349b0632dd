"""Read object annotations in COCO's format: one json for a split.

The format: https://cocodataset.org/#format-data, section 1.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from coatseg.data.annotations.objects.annotations import ObjectAnnotations, annotations_of_entries
from coatseg.data.annotations.objects.options import ObjectOptions
from coatseg.errors import DatasetError


def read_objects(path: Path, options: ObjectOptions = ObjectOptions()) -> ObjectAnnotations:
    """Read a json of objects; one that has no `annotations` at all, as those of test sets, is `unannotated`.

    Raises:
        ConfigError: classes are chosen that it does not have.
        DatasetError: it cannot be read, is damaged, lacks a field, or contradicts itself.
    """
    try:
        stated = path.stat()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from error
    return _read(path, options, stated.st_mtime_ns, stated.st_size)


# Reading the json of COCO's train split takes many seconds, and a run reads it more than once.
@lru_cache(maxsize=4)
def _read(path: Path, options: ObjectOptions, modified: int, size: int) -> ObjectAnnotations:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Name the json itself.") from error
    except (ValueError, RecursionError) as error:  # the latter where brackets are nested by the thousand
        raise DatasetError(f"{path} is no json: {error}.", "Copy or export it again.") from error
    unannotated = isinstance(content, dict) and "annotations" not in content
    images, annotations, categories = (_list(content, key) for key in ("images", "annotations", "categories"))
    if images is None or categories is None or (annotations is None and not unannotated):
        raise DatasetError(
            f"{path} is no file of objects: it has no images, annotations and categories, lists of entries.",
            "Take COCO's instances_*.json, or export objects in COCO's format.",
        )
    read = annotations_of_entries(path, images, annotations or [], categories, options)
    return replace(read, unannotated=unannotated)


def _list(content: Any, key: str) -> list[dict[str, Any]] | None:
    part = content.get(key) if isinstance(content, dict) else None
    return part if isinstance(part, list) and all(isinstance(entry, dict) for entry in part) else None
