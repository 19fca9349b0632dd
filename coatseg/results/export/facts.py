"""The facts that an exported file holds: enough to feed it, to read its outputs, and to predict with it alone.

The facts are strings by name, as every format can hold them; numbers and lists are JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coatseg.config.restore import IMAGES, ModelRecord
from coatseg.errors import CheckpointError
from coatseg.registry.options import fitting
from coatseg.results.export.graph import Graph
from coatseg.structures import DatasetInfo
from coatseg.system.version import VERSION
from coatseg.tasks.base import Task

Facts = Mapping[str, str]

RECORD = "coatseg"
"""The name of the fact that `coatseg predict model=FILE` reads; the others are for other readers."""
EXTRA_FILE = "coatseg.json"
"""The file inside torch's archives that holds all facts."""
FORMAT = 1
"""The version of the record's layout."""


def export_facts(task: Task, model: ModelRecord, graph: Graph) -> dict[str, str]:
    """Return the facts of a task's graph, and of the model it was made of."""
    info = task.info
    record = {
        "format": FORMAT,
        "version": VERSION,
        "task": dict(model.task),
        "info": info.to_plain(),
        "inference": asdict(task.inference),
        "preprocess": graph.preprocess,
        "reading": graph.reading,
        **model.images,
    }
    names = [info.classes[number] for number in task.class_numbers(info)]
    return {
        "task": str(model.task["name"]),
        "backbone": model.backbone,
        "head": model.head,
        "classes": json.dumps(names),
        "palette": json.dumps([info.palette[number] for number in task.class_numbers(info)]),
        "things": json.dumps([info.classes[number] for number in info.things]),
        "mean": json.dumps(info.mean),
        "std": json.dumps(info.std),
        "preprocess": json.dumps(graph.preprocess),
        "input": input_in_words(info, graph, model.images["evaluation_resize"]),
        "output": graph.meaning,
        **({"reading": json.dumps(graph.reading)} if graph.reading else {}),
        RECORD: json.dumps(record),
    }


def input_in_words(info: DatasetInfo, graph: Graph, resize: Any) -> str:
    """Return in words what images the graph takes."""
    batch = "B" if graph.any_batch else "1"
    channels = "RGB" if info.channels == 3 else f"{info.channels} channels"
    scale = "pixels from 0 to 255 (of 16 bit: divided by 257)"
    if not graph.preprocess:
        scale = "(pixels / 255 - mean) / std (of 16 bit: / 65535)"
    words = f"images ({batch}, {info.channels}, height, width) float32, {channels}, {scale}"
    if resize is None:
        return words
    return f"{words}, resized to a shorter side of {resize[0]}, or a longer one of {resize[1]} if that is smaller"


def export_record(facts: Facts, file: str) -> dict[str, Any]:
    """Return the content of the fact RECORD.

    Raises:
        CheckpointError: the file has no record, or one of a later version.
    """
    try:
        record: dict[str, Any] = json.loads(facts[RECORD])
        known = record["format"] == FORMAT
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{file} does not say what it was trained on: it is no file of coatseg export.",
            "Export the model anew: coatseg export checkpoint=... format=onnx.",
        ) from error
    if not known:
        raise CheckpointError(
            f"{file} was written by coatseg {record.get('version')}, in a layout that this version does not know.",
            "Export the model anew, or install that version.",
        )
    return {**record, **{name: fitting(record.get(name), hint, f"{file}: {name}") for name, hint in IMAGES.items()}}
