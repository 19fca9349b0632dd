"""Read the classes file of a user's dataset: one name a line, with a colour for each where masks are in colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coatseg.data.images.reading import ColourMasks
from coatseg.errors import ConfigError, DatasetError, listed
from coatseg.structures import Colour, DatasetInfo

CLASSES_FORMAT = (
    "Write one class a line, the class of label 0 first; a colour may follow its name, as in: road 128 64 128. "
    "A line `ignore 0 0 0` names a colour whose pixels are left out; lines that begin with # are comments."
)


@dataclass(frozen=True)
class ClassList:
    """The content of a classes file: names, their colours or none, and the colours of pixels to ignore."""

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignored: tuple[Colour, ...]

    def colour_masks(self, path: Path, ignore_index: int) -> ColourMasks:
        """Return the reader of masks in these colours; raises DatasetError if the classes have none."""
        if not self.colours:
            raise DatasetError(f"data.colour_masks=true, but {path} has no colours.", CLASSES_FORMAT)
        known = [(colour, label) for label, colour in enumerate(self.colours)]
        return ColourMasks((*known, *((colour, ignore_index) for colour in self.ignored)))


def read_classes(path: Path) -> ClassList:
    """Read a classes file.

    Raises:
        DatasetError: there is no such file, or it has no class, a name or colour twice, or colours for some classes
            only.
    """
    if not path.is_file():
        raise DatasetError(f"There is no classes file {path}.", CLASSES_FORMAT)
    lines = read_lines(path)
    entries = [_class_line(line) for line in lines if line and not line.startswith("#")]
    ignored = tuple(colour for name, colour in entries if name == "ignore" and colour)
    classes = [(name, colour) for name, colour in entries if not (name == "ignore" and colour)]
    names = tuple(name for name, _ in classes)
    colours = tuple(colour for _, colour in classes if colour)
    if not names:
        raise DatasetError(f"The classes file {path} names no class.", CLASSES_FORMAT)
    for twice in (first_repeated(names), first_repeated((*colours, *ignored))):
        if twice is not None:
            raise DatasetError(
                f"The classes file {path} has {twice} twice.", "Give each class a name and colour of its own."
            )
    if len(colours) not in (0, len(names)):
        bare = next(name for name, colour in classes if not colour)
        raise DatasetError(f"The classes file {path} gives colours, but none to {bare}.", CLASSES_FORMAT)
    return ClassList(names, colours, ignored)


def generated_palette(count: int) -> tuple[Colour, ...]:
    """Return `count` distinct colours: those of PASCAL VOC, which spread the label's bits over the three channels."""

    def channel(label: int, offset: int) -> int:
        return sum(((label >> (3 * step + offset)) & 1) << (7 - step) for step in range(8))

    return tuple((channel(label, 0), channel(label, 1), channel(label, 2)) for label in range(count))


def _class_line(line: str) -> tuple[str, Colour | None]:
    words = line.split()
    numbers = [int(word) for word in words[-3:] if word.isdecimal()]
    if len(words) > 3 and len(numbers) == 3:
        if max(numbers) > 255:
            raise DatasetError(f"The class line {line!r} has a colour above 255.", CLASSES_FORMAT)
        return " ".join(words[:-3]), (numbers[0], numbers[1], numbers[2])
    return " ".join(words), None


def first_repeated(items: Iterable[object]) -> object | None:
    """Return the first item that occurs more than once, or None."""
    return next((item for item, count in Counter(items).items() if count > 1), None)


def check_class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Check the classes that a configuration lists, and return them as a tuple.

    Raises:
        ConfigError: there are none, or one is listed twice.
    """
    twice = first_repeated(classes)
    if not classes or twice is not None:
        raise ConfigError(
            f"data.classes={list(classes)} names {'no class' if not classes else f'{twice} twice'}.",
            "Name each class once, such as data.classes=[cat,dog].",
        )
    return tuple(classes)


def check_same_classes(first: DatasetInfo, other: DatasetInfo, name: str) -> None:
    """Check that class numbers mean the same in the split `name` as in the first.

    Raises:
        DatasetError: its classes, or the ids that its files have for them, are others or in another order.
    """
    if (first.classes, first.category_ids) != (other.classes, other.category_ids):
        strange = sorted({*first.classes} ^ {*other.classes})
        raise DatasetError(
            f"The {name} split of data={other.name} has other classes than the one that trains, or has them in another "
            f"order{': only one of them has ' + listed(strange) if strange else ''}.",
            "List the same classes, in one order, in the files of all splits.",
        )


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file, stripped; a byte order mark is skipped.

    Raises:
        DatasetError: it cannot be read, or is not in UTF-8.
    """
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not in UTF-8.", "Save it as UTF-8 text.") from error
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
