"""All forms by name, and the writer of one for a task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coatseg.errors import ConfigError, nearest
from coatseg.registry.options import check_options, construct, option_schema
from coatseg.results.predict.forms.ade20k import ADE20KLabels
from coatseg.results.predict.forms.cityscapes import CityscapesInstances, CityscapesLabels, CityscapesPanoptic
from coatseg.results.predict.forms.coco import CocoBoxes, CocoMasks
from coatseg.results.predict.forms.coco_json import CocoAnnotations
from coatseg.results.predict.forms.coco_panoptic import CocoPanopticResults
from coatseg.results.predict.forms.geojson import GeoJson
from coatseg.results.predict.forms.geopackage import GeoPackage
from coatseg.results.predict.forms.kaggle_rle import KaggleObjects, KaggleRows
from coatseg.results.predict.forms.labelme import LabelMe
from coatseg.results.predict.forms.voc import VOCLabels
from coatseg.results.predict.forms.yolo import Yolo, YoloBoxes
from coatseg.results.predict.writers import Writer
from coatseg.system.fsspec_folders import Place
from coatseg.tasks.base import Task

_DENSE = ("semantic", "multilabel")
_MASKS = ("instances", "panoptic")
_ALL = (*_DENSE, "boxes", *_MASKS)

FORMS: Mapping[str, Mapping[str, type[Writer]]] = {
    "cityscapes": {"semantic": CityscapesLabels, "instances": CityscapesInstances, "panoptic": CityscapesPanoptic},
    "ade20k": {"semantic": ADE20KLabels},
    "voc": {"semantic": VOCLabels},
    "coco": {"boxes": CocoBoxes, "instances": CocoMasks, "panoptic": CocoPanopticResults},
    "kaggle_rle": {**dict.fromkeys(_DENSE, KaggleRows), "instances": KaggleObjects},
    "geojson": dict.fromkeys(_ALL, GeoJson),
    "geopackage": dict.fromkeys(_ALL, GeoPackage),
    "labelme": dict.fromkeys(_ALL, LabelMe),
    "coco_json": dict.fromkeys(_ALL, CocoAnnotations),
    "yolo": {**dict.fromkeys((*_DENSE, *_MASKS), Yolo), "boxes": YoloBoxes},
}
"""For each form, the writer of each kind of labels that a task needs of its data, where it has one."""

GIVEN = frozenset({"place", "info"})
"""The arguments of a writer that the program passes; all others are options of its form."""


def check_form(form: Mapping[str, Any]) -> None:
    """Check what was typed, for=NAME with its options, as far as that goes without a model.

    Raises:
        ConfigError: there is no such form, or no writer of it has such an option.
    """
    name = form.get("name")
    if name is None:
        raise ConfigError(f"for.{next(iter(form))} is an option of a form, and none is chosen.", "Give for=NAME.")
    if name not in FORMS:
        raise ConfigError(f"for={name} is unknown.", nearest(str(name), FORMS))
    known = {option for writer in FORMS[name].values() for option in option_schema(writer, GIVEN)}
    for option in form:
        if option != "name" and option not in known:
            mend = nearest(option, known) if known else f"{name} has no options."
            raise ConfigError(f"for.{option} is no option of {name}.", mend)


def form_writer(form: Mapping[str, Any], task: Task, place: Place) -> Writer:
    """Return the writer of a task's predictions in a form: its `name`, with its options beside it.

    Raises:
        ConfigError: it is unknown, has no such option, or takes other predictions or classes.
    """
    check_form(form)
    name = form["name"]
    if task.needs not in FORMS[name]:
        raise ConfigError(
            f"for={name} takes what models for {' or '.join(FORMS[name])} labels predict, and this one is for "
            f"{task.needs} labels.",
            f"Choose another: {', '.join(other for other in FORMS if task.needs in FORMS[other])}.",
        )
    writer = FORMS[name][task.needs]
    options = {option: value for option, value in form.items() if option != "name"}
    made: Writer = construct(
        writer, check_options(writer, options, given=GIVEN, name=name, key="for"), place=place, info=task.info
    )
    return made
