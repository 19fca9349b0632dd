"""Read the classes file of a user's dataset: names, with a colour for each where masks are in colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from coatseg.data.annotations.class_forms import CLASS_FORMS, ClassForm, ClassLine
from coatseg.data.images.reading import ColourMasks
from coatseg.errors import ConfigError, DatasetError, listed
from coatseg.structures import Colour, DatasetInfo

CLASSES_FORMAT = (
    "Write one class a line, the class of label 0 first; a colour may follow its name, as in: road 128 64 128. "
    "A line `ignore 0 0 0` names a colour whose pixels are left out; lines that begin with # are comments."
)

# Files that state more than names, so that their lines are never names.
STRUCTURED_SUFFIXES = frozenset({".csv", ".json", ".xml", ".yaml", ".yml"})
LISTS_OF_TOOLS = ("labelmap.txt", "label_colors.txt", "_classes.csv", "class_dict.csv", "classes.txt", "labels.txt")
IGNORE_IN_FORMS = "to one called ignore, whose pixels are left out."
BLACK: Colour = (0, 0, 0)
LARGEST_NUMBER = 65535


@dataclass(frozen=True)
class ClassList:
    """The content of a classes file: names, their colours or none, and the colours of pixels to ignore.

    `numbers` maps what masks hold to labels, None for pixels to ignore; it is empty where masks hold the labels.
    `notes` say what the file leaves open, and how it was taken, a line each; `form` is None for a file of our own form.
    """

    names: tuple[str, ...]
    colours: tuple[Colour, ...]
    ignored: tuple[Colour, ...]
    numbers: tuple[tuple[int, int | None], ...] = ()
    notes: tuple[str, ...] = ()
    form: ClassForm | None = None

    def colour_masks(self, path: Path, ignore_index: int) -> ColourMasks:
        """Return the reader of masks in these colours; raises DatasetError if the classes have none."""
        if not self.colours:
            raise DatasetError(f"data.colour_masks=true, but {path} has no colours.", self._colours_to_write())
        known = [(colour, label) for label, colour in enumerate(self.colours)]
        left_out = "leave its pixels out with the line: ignore {colour}" if self.form is None else IGNORE_IN_FORMS
        return ColourMasks(
            (*known, *((colour, ignore_index) for colour in self.ignored)),
            f"Give it to its class in {path.name}, or {left_out}",
        )

    def _colours_to_write(self) -> str:
        """Return how colours are written, and which ones a tool paints that does not write them."""
        if self.form is None or not self.form.paints_voc:
            return _format(self.form)
        colours = zip(self.names, generated_palette(len(self.names)), strict=True)
        lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours]
        return f"{_format(self.form)} Where datumaro leaves colours out, it paints PASCAL VOC's: {listed(lines)}."

    def labels_of_numbers(self, ignore_index: int) -> dict[int, int]:
        """Return the label of each number that masks hold; empty where they hold the labels."""
        return {number: ignore_index if label is None else label for number, label in self.numbers}


def read_classes(path: Path) -> ClassList:
    """Read a classes file: one of our own, or one of CLASS_FORMS, by the form of its lines.

    Raises:
        DatasetError: there is no such file, or it has no class, a name, colour or number twice, colours for some
            classes only, or lines of several forms.
    """
    if not path.is_file():
        raise DatasetError(f"There is no classes file {path}.", _lists_there(path.parent) or CLASSES_FORMAT)
    lines = {number: line for number, line in enumerate(read_lines(path), 1) if line and not line.startswith("#")}
    form = next((form for form in CLASS_FORMS if lines and form.fits(list(lines.values()))), None)
    if form is None and path.suffix.lower() in STRUCTURED_SUFFIXES:
        forms = "; ".join(f"{form.tool}: {form.words}" for form in CLASS_FORMS)
        raise DatasetError(f"{path} is no list of classes that is known.", f"Known are one name a line and {forms}.")
    if form is None:
        return _checked(path, [_in_range(line, _class_line(line)) for line in lines.values()])
    read = _checked(path, _lines_of(form, path, lines), form)
    if form.black_is_none and BLACK not in read.colours:
        note = f"{path.name} has no class of {' '.join(map(str, BLACK))}: pixels of that colour are left out"
        return replace(read, ignored=(*read.ignored, BLACK), notes=(note,))
    return read


def check_same_lists(path: Path, read: ClassList) -> None:
    """Raise DatasetError if the folders beside that of a classes file, as of other splits, have another of its name."""
    for other in sorted(path.parent.parent.glob(f"*/{path.name}")):
        if other != path and read_classes(other) != read:
            raise DatasetError(f"{path} and {other} list other classes.", "Export all splits with the same classes.")


def _lists_there(folder: Path) -> str:
    """Say which files look like lists of classes, in a folder and those below; empty if none do."""
    found = [path for name in LISTS_OF_TOOLS for path in (*folder.glob(name), *sorted(folder.glob(f"*/{name}")))]
    names = sorted(
        (path.relative_to(folder).as_posix() for path in found), key=lambda name: not name.startswith("train")
    )
    return f"There is {listed(names)}: set data.classes={names[0]}." if names else ""


def _format(form: ClassForm | None) -> str:
    """Return how a line of a list is written."""
    return f"It looks like {form.tool}; write each line as {form.words}." if form else CLASSES_FORMAT


def _lines_of(form: ClassForm, path: Path, lines: Mapping[int, str]) -> list[ClassLine]:
    found = []
    for number, line in list(lines.items())[form.header is not None :]:
        match = form.pattern.fullmatch(line)
        if match is None:
            raise DatasetError(f"{path}, line {number}: {line!r} is not of the form {form.words}.", _format(form))
        found.append(_in_range(line, form.parse(match), form))
    return found


def _in_range(line: str, parsed: ClassLine, form: ClassForm | None = None) -> ClassLine:
    if parsed.colour and max(parsed.colour) > 255:
        raise DatasetError(f"The class line {line!r} has a colour above 255.", _format(form))
    if parsed.number is not None and parsed.number > LARGEST_NUMBER:
        raise DatasetError(
            f"The class line {line!r} has a number above {LARGEST_NUMBER}, as no mask holds.", _format(form)
        )
    return parsed


def _checked(path: Path, lines: Sequence[ClassLine], form: ClassForm | None = None) -> ClassList:
    """Return the classes of a file's lines, if they go together."""
    left_out = [line for line in lines if line.name == "ignore" and (line.colour or line.number is not None)]
    classes = [line for line in lines if line not in left_out]
    names = tuple(line.name for line in classes)
    colours = tuple(line.colour for line in classes if line.colour)
    ignored = tuple(line.colour for line in left_out if line.colour)
    numbers: list[tuple[int, int | None]] = [
        (line.number, label) for label, line in enumerate(classes) if line.number is not None
    ]
    numbers += [(line.number, None) for line in left_out if line.number is not None]
    if not names:
        raise DatasetError(f"The classes file {path} names no class.", _format(form))
    for twice in map(first_repeated, (names, (*colours, *ignored), [number for number, _ in numbers])):
        if twice is not None:
            raise DatasetError(
                f"The classes file {path} has {twice} twice.", "Give each class a name and colour of its own."
            )
    if len(colours) not in (0, len(names)):
        bare = next(line.name for line in classes if not line.colour)
        raise DatasetError(f"The classes file {path} gives colours, but none to {bare}.", _format(form))
    return ClassList(names, colours, ignored, tuple(numbers), form=form)


def generated_palette(count: int) -> tuple[Colour, ...]:
    """Return `count` distinct colours: those of PASCAL VOC, which spread the label's bits over the three channels."""

    def channel(label: int, offset: int) -> int:
        return sum(((label >> (3 * step + offset)) & 1) << (7 - step) for step in range(8))

    return tuple((channel(label, 0), channel(label, 1), channel(label, 2)) for label in range(count))


def _class_line(line: str) -> ClassLine:
    words = line.split()
    numbers = [int(word) for word in words[-3:] if word.isdecimal()]
    if len(words) > 3 and len(numbers) == 3:
        return ClassLine(" ".join(words[:-3]), (numbers[0], numbers[1], numbers[2]))
    return ClassLine(" ".join(words))


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
