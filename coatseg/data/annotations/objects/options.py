"""The options of readers of objects: which classes are taken, and what crowds and objects without masks are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from coatseg.data.annotations.classes import check_class_names, first_repeated
from coatseg.errors import ConfigError, nearest
from coatseg.registry.options import OptionGroup


@dataclass(frozen=True)
class ChosenClasses:
    """Classes chosen of those that files name: `names`, (K,) their places in the files, and the way back.

    `labels` (N,) holds for each of the N names in the files its class number, -1 for those left out.
    """

    names: tuple[str, ...]
    places: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class ClassChoice(OptionGroup):
    """Which of the classes that files name are taken: `classes`, in this order, or all but those of `leave_out`.

    Objects of the others are left out, and counted in a line.
    """

    classes: Sequence[str] | None = None
    leave_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Make tuples of lists: options are part of what files are cached by."""
        if self.classes is not None:
            object.__setattr__(self, "classes", tuple(self.classes))
        object.__setattr__(self, "leave_out", tuple(self.leave_out))

    def chosen(self, names: Sequence[str], where: str) -> ChosenClasses:
        """Choose of the `names` that a file, `where`, has.

        Raises:
            ConfigError: a name is unknown, named twice or in both options, or none is left.
        """
        if self.classes is not None:
            check_class_names(self.classes)
        for option, wanted in (("classes", self.classes or ()), ("leave_out", self.leave_out)):
            for name in wanted:
                if name not in names:
                    raise ConfigError(
                        f"data.{option} names {name!r}, which {where} does not have.", nearest(name, names)
                    )
        both = first_repeated((*(self.classes or ()), *set(self.leave_out)))
        if both is not None:
            raise ConfigError(f"data.classes and data.leave_out both name {both!r}.", "Take it out of one of them.")
        kept = [name for name in names if name not in self.leave_out] if self.classes is None else self.classes
        if names and not kept:
            raise ConfigError(f"data.leave_out leaves no class of {where}.", "Leave one at least.")
        places = np.array([names.index(name) for name in kept], np.int64)
        labels = np.full(len(names), -1)
        labels[places] = np.arange(len(places))
        return ChosenClasses(tuple(kept), places, labels)


@dataclass(frozen=True, kw_only=True)
class ObjectOptions(ClassChoice):
    """What annotations in COCO's form mean where they can be meant in two ways.

    `crowd`: an annotation of `iscrowd` 1 is a crowd, neither learnt nor counted, or with "objects" an object as any
    other, as tools mean it that set it for every mask of run lengths. `without_mask`, where other objects have masks:
    "stop" uses no mask at all, so that only boxes can be trained, "leave_out" leaves those objects out, and "box" takes
    their boxes for masks.
    """

    crowd: Literal["leave_out", "objects"] = "leave_out"
    without_mask: Literal["stop", "leave_out", "box"] = "stop"
