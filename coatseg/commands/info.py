"""`coatseg info`: print which backbones, heads and datasets there are, with their sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING

from coatseg.commands.terminal.arguments import group_file
from coatseg.commands.terminal.composition import choices
from coatseg.commands.terminal.console import run_verb, say
from coatseg.errors import CoatsegError, ConfigError, DatasetNotFoundError, MissingExtraError, nearest

if TYPE_CHECKING:  # importing it takes seconds, too long for --help
    from coatseg.models.backbones.coat import CoaT

USAGE = """Usage: coatseg info [backbones] [heads] [datasets]

Prints tables of what can be chosen; without a word, all three:
backbones   parameters without a classifier, multiply-accumulates for an image of 224x224, feature maps
heads       what they give, which says the task (logits: seg and multilabel, boxes: det, masks: inst, segments:
            panoptic), parameters and multiply-accumulates for an image of 512x512 on coat_small, for 19 classes, of
            objects 80, of segments 133; detectors of two stages with 1000 proposals and 100 detections; of heads with
            deformable attention only parameters are counted
datasets    classes, annotations, where the files are looked for unless data.root= says otherwise, and whether they are
            there

Multiply-accumulates are those of convolutions and matrix products. They are counted; coatseg benchmark measures."""

BACKBONE = "coat_small"
BACKBONE_SIZE, HEAD_SIZE = (224, 224), (512, 512)
Row = tuple[str, ...]


def main() -> None:
    """Read the command line and print the tables."""
    run_verb(USAGE, say_tables, bare=True)


def say_tables(words: list[str]) -> None:
    """Print the tables that the words name; without words, all tables.

    Raises:
        ConfigError: a word names no table.
    """
    for word in words:
        if word not in TABLES:
            raise ConfigError(f"coatseg info knows no {word}.", nearest(word, TABLES))
    for word in words or TABLES:
        _say_table(*TABLES[word])


def backbones() -> Iterator[Row]:
    """Yield a table row for each variant of CoaT."""
    from coatseg.models.backbones.variants import VARIANTS
    from coatseg.models.macs import backbone_macs
    from coatseg.structures import parameter_count

    for name in VARIANTS:
        backbone = _on_meta(name)
        levels = ", ".join(str(level.channels) for level in backbone.levels)
        macs = backbone_macs(backbone, BACKBONE_SIZE)
        yield name, f"{parameter_count(backbone) / 1e6:.1f}", f"{macs:.2f}", levels


def heads() -> Iterator[Row]:
    """Yield a table row for each file of conf/head, its head built on the levels of `BACKBONE`."""
    import torch

    from coatseg.config.combinations import given_by
    from coatseg.config.read import choose
    from coatseg.data.loading.random_batches import CLASSES, random_info
    from coatseg.models.macs import head_macs
    from coatseg.structures import PREDICTION_KINDS, parameter_count

    levels = _on_meta(BACKBONE).levels
    for choice in choices("head"):
        chosen = choose("head", group_file("head", choice))
        given = given_by(chosen.constructor)
        output = next(kind.output for kind in PREDICTION_KINDS if kind.output in given)
        classes, things = CLASSES[output], random_info(CLASSES[output], 3, output).things
        try:
            with torch.device("meta"):
                head = chosen.make(levels=levels, classes=classes, things=things, output=output).eval()
        except MissingExtraError as error:
            yield choice, ", ".join(sorted(given)), str(classes), error.mend, "-", "-"
            continue
        macs, below = head_macs(head, levels, HEAD_SIZE), _macs_below(getattr(head, "levels_used", len(levels)))
        yield (
            choice,
            ", ".join(sorted(given)),
            str(classes),
            f"{parameter_count(head) / 1e6:.1f}",
            "-" if macs is None else f"{macs:.1f}",
            "-" if macs is None else f"{macs + below:.1f}",
        )


def datasets() -> Iterator[Row]:
    """Yield a table row for each file of conf/data; datasets whose files are there are opened."""
    from coatseg.config.data import dataset_opener
    from coatseg.config.read import read_data

    for choice in choices("data"):
        section = group_file("data", choice)
        plan = read_data(section, trains=False)
        reader = plan.dataset.constructor
        info = getattr(reader, "info", None)
        try:
            split = dataset_opener(plan)("val")
            info, there = split.info, f"{len(split)} val samples" if "root" in section else "made when asked for"
        except DatasetNotFoundError:
            there = "no"
        except CoatsegError as error:
            there = f"not as it should be: {error.what}"
        if info is None:
            classes, annotates = getattr(reader, "facts_in_words", ("by its files", ""))
        else:
            classes, annotates = str(len(info.classes)), ", ".join(sorted(info.annotates))
        yield choice, classes, annotates, section.get("root", ""), there


TABLES: dict[str, tuple[str, Row, Callable[[], Iterator[Row]], str]] = {
    "backbones": (
        "Backbones",
        ("backbone=", "parameters (M)", "GMACs at 224x224", "channels"),
        backbones,
        "Channels are those of the maps at strides 4, 8, 16 and 32. backbone=timm takes any feature extractor of timm: "
        "backbone.model=NAME.",
    ),
    "heads": (
        f"Heads on {BACKBONE}",
        ("head=", "gives", "classes", "parameters (M)", "GMACs at 512x512", "with the backbone"),
        heads,
        "",
    ),
    "datasets": ("Datasets", ("data=", "classes", "annotates", "looked for in", "there"), datasets, ""),
}
"""For each word of the command line, the title, columns and rows of its table, and a line printed below it."""
LEFT = ("gives", "annotates", "looked for in", "there", "channels")


def _say_table(title: str, columns: Row, rows: Callable[[], Iterator[Row]], note: str) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        left = number == 0 or column in LEFT
        table.add_column(column, justify="left" if left else "right", no_wrap=number == 0 or column == "looked for in")
    for row in rows():
        table.add_row(*row)
    say(table)
    if note:
        say(note)


def _on_meta(name: str) -> CoaT:
    """Build a backbone on the meta device, without memory for its weights."""
    import torch

    from coatseg.models.backbones.coat import create_backbone

    with torch.device("meta"):
        return create_backbone(name).eval()


@cache
def _macs_below(levels: int) -> float:
    """Return the MACs, in units of 1e9, of the backbone for a head that uses its first `levels` levels."""
    from coatseg.models.macs import backbone_macs

    backbone = _on_meta(BACKBONE)
    backbone.choose_levels(range(levels))
    return backbone_macs(backbone, HEAD_SIZE)


if __name__ == "__main__":
    main()
