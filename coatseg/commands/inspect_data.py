"""`coatseg inspect data=...`, or the path of a folder: what is in a dataset and what is wrong, before hours are spent.

The file has another name than its verb, since processes that are started from this folder would find it in place of
Python's own module inspect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coatseg.commands.terminal.arguments import read_keys
from coatseg.commands.terminal.console import leave, quiet_libraries, run_verb, say, say_findings
from coatseg.errors import ConfigError, DatasetError, RunExistsError

if TYPE_CHECKING:  # importing it takes seconds, too long for --help
    from coatseg.data.inspection import Inspection
    from coatseg.structures import Dataset, Sample

USAGE = """Usage: coatseg inspect data=NAME [data.KEY=VALUE ...] [split=NAME] [samples=N] [workers=N] [output=DIR]
       coatseg inspect PATH [data.KEY=VALUE ...] [split=NAME] [samples=N] [workers=N] [output=DIR]

With the PATH of a folder alone it says which tool's export that is and why, prints the line that trains with it, and
inspects with that line. Keys that are given besides come after those of the line, and replace them.

Reads every sample of a dataset, or with samples=N so many of each split, evenly spread, and prints what is in it and
what is wrong. Splits are train, val and, if there is one, test, or those named with split=val or split=[train,val];
train is data.train_split where that is given. Images are read whole, each once, whatever data.window draws in training,
and with data.limit=N so many of each split are its first ones.
workers=N processes read, by default one a core. output=DIR, by default runs/inspect-NAME, gets report.md,
inspection.json with every place of every finding, and samples.png, a sheet of pictures=12 samples (0 for none).
Modules of your own are named with plugins=[NAME].

Broken are datasets that cannot be opened, files that cannot be read, masks that lie elsewhere than their GeoTIFF,
labels that are no class, boxes beyond their image or in fractions of it, segments that are not listed, values that are
no numbers, and a train split that can teach nothing: all is ignored, or all objects are crowds. The exit code is 1
then. Suspicious are images in two splits or twice in one (by their decoded pixels), masks ignored everywhere, masks of
0 and 255, a single class, classes that are never seen, palettes that contradict each other, images of one colour,
values that a file states for no data, masks without a pixel or not where their boxes are, objects annotated twice,
segments without a pixel or of another area than is stated, stuff in several segments, things that are all crowds, and
pixels far from the mean that is stated or of few bits. python train.py and coatseg evaluate say the same of the samples
that they check first, and stop at what is broken. A command line that cannot be leaves with 2."""

OWN = ("split", "samples", "workers", "output", "pictures", "plugins")
BROKEN = 1
SHEET = "samples.png"
MOST_ROWS = 40
"""Tables with more rows are not printed; they are in the report."""


def main() -> None:
    """Read the command line and inspect the dataset."""
    run_verb(USAGE, inspect_typed)


def inspect_typed(arguments: list[str]) -> int:
    """Inspect the dataset that the arguments name, or that lies in the folder that they name; return the exit code."""
    try:
        options = read_keys(
            _with_line(arguments),
            "inspect",
            OWN,
            "data=camvid, or the path of a folder",
            sections=("data",),
            groups=("data",),
            verbatim=("output",),
        )
        return BROKEN if inspect_data(options) else 0
    except DatasetError as error:
        leave(error, BROKEN)


def _with_line(arguments: list[str]) -> list[str]:
    """Replace the path of a folder by the arguments that read what is in it, which are said."""
    paths = [argument for argument in arguments if is_path(argument)]
    if not paths:
        return arguments
    if len(paths) > 1:
        raise ConfigError(f"{paths[0]} and {paths[1]} are two folders.", "Inspect one after the other.")
    rest = [argument for argument in arguments if argument != paths[0]]
    if any(argument.startswith("data=") for argument in rest):
        raise ConfigError(
            f"{paths[0]} beside data=NAME is too much.", f"Leave data= out, or write data.root={paths[0]}."
        )
    from coatseg.data.recognition import recognise

    root, (best, *others) = recognise(Path(paths[0]))
    say(f"{root} is {best.name}: {best.reason}")
    for note in best.notes:
        say(f"  {note}")
    say(f"python train.py {best.line(root)}")
    for other in others:
        if other.sure == best.sure:
            say(f"it could also be {other.name}: {other.reason}\npython train.py {other.line(root)}")
    if best.first:
        raise DatasetError(f"{root} cannot be read as it is.", best.first)
    return [*best.data_arguments(root), *rest]


def is_path(argument: str) -> bool:
    """Return whether an argument is the path of a folder and no key: one that is there, or one with a slash."""
    key, equals, _ = argument.partition("=")
    return "/" in key or (not equals and Path(argument).is_dir())


def inspect_data(options: Mapping[str, Any]) -> bool:
    """Inspect the dataset that the options name, print and write a report, and return whether anything is broken."""
    from coatseg.config.data import open_split
    from coatseg.config.read import read_data
    from coatseg.data.inspection import inspect_dataset
    from coatseg.data.inspection.report import write_inspection
    from coatseg.registry.names import load_plugins
    from coatseg.registry.options import NonNegativeInt, PositiveInt, fitting
    from coatseg.system.fsspec_folders import Place
    from coatseg.system.output import check_writable
    from coatseg.visualize.samples import sample_sheet
    from coatseg.visualize.sheets import save_picture

    quiet_libraries()
    if "name" not in options.get("data", {}):
        raise ConfigError("Which data?", "Give data=NAME; coatseg info datasets lists them.")
    splits = _split_names(options.get("split"))
    samples = fitting(options.get("samples"), PositiveInt | None, "samples")
    workers = fitting(options.get("workers"), NonNegativeInt | None, "workers")
    count = fitting(options.get("pictures", 12), NonNegativeInt, "pictures")
    load_plugins(fitting(options.get("plugins", []), list[str], "plugins"))
    plan = read_data(options["data"])
    folder = Path(str(options.get("output", f"runs/inspect-{plan.dataset.name}")))
    check_output(folder)

    @cache  # the lists of files are read once
    def opened(split: str) -> Dataset:
        dataset = open_split(plan, split)
        check_writable(Place(folder))  # before hours are spent, and not for data that cannot be opened
        return dataset

    with counted_splits() as progress:
        inspection = inspect_dataset(opened, splits, samples=samples, workers=workers, progress=progress)
    _say_inspection(inspection)
    pictured = _pictured(inspection, opened, count)
    if pictured:
        save_picture(sample_sheet(pictured, inspection.info), folder / SHEET)
    else:  # the sheet of an earlier inspection shows other samples
        (folder / SHEET).unlink(missing_ok=True)
    say(f"report: {write_inspection(folder, inspection, [('samples', SHEET)] if pictured else [])}")
    return inspection.broken


def check_output(folder: Path) -> None:
    """Raise if something other than an inspection has written to `folder`; an inspection may be repeated.

    Raises:
        ConfigError: it is a file.
        RunExistsError: it holds another command's report.
    """
    from coatseg.data.inspection.report import DETAILS, REPORT
    from coatseg.system.output import ELSEWHERE, check_folder

    check_folder(folder)
    if (folder / REPORT).exists() and not (folder / DETAILS).exists():
        raise RunExistsError(f"{folder} has {REPORT} of something else.", ELSEWHERE)


@contextmanager
def counted_splits() -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of each split, one after the other; yield the function to call after each sample."""
    from coatseg.commands.terminal.progress import counted

    with ExitStack() as shown:
        counts: dict[str, Callable[[int], None]] = {}

        def moved(split: str, done: int, total: int) -> None:
            if split not in counts:
                shown.close()
                counts[split] = shown.enter_context(counted(split, total))
            counts[split](1)

        yield moved


def _split_names(stated: Any) -> Sequence[str] | None:
    from coatseg.registry.options import fitting

    names = [stated] if isinstance(stated, str) else stated
    splits: list[str] | None = fitting(names, list[str] | None, "split")
    return splits


def _say_inspection(inspection: Inspection) -> None:
    from rich.table import Table

    from coatseg.data.inspection.tables import tables

    for made in tables(inspection):
        if len(made.rows) > MOST_ROWS:
            say(f"{made.title}: {len(made.rows)} rows, in the report")
            continue
        shown = Table(title=made.title, title_justify="left", caption=made.note or None, caption_justify="left")
        for number, column in enumerate(made.columns):
            shown.add_column(column, justify="right" if number else "left", no_wrap=not number)
        for row in made.rows:
            shown.add_row(*row)
        say(shown)
    for split in inspection.splits:
        for repair in split.repairs:
            say(f"{inspection.info.name} {split.name}: {repair}")
    for name, why in inspection.absent.items():
        say(f"not looked at: {name} ({why})")
    say_findings(inspection.findings)
    if not inspection.findings:
        say("nothing broken or suspicious was found")


def _pictured(inspection: Inspection, open_split: Callable[[str], Dataset], count: int) -> list[tuple[str, Sample]]:
    """Read the samples of the sheet again: evenly spread over those that can be drawn, equally many of every split."""
    from coatseg.data.inspection.reading import spread

    sound = {split.name: [facts for facts in split.samples if facts.sound] for split in inspection.splits}
    there = {name: facts for name, facts in sound.items() if facts}
    pictured = []
    for name, facts in there.items() if count else ():
        dataset = open_split(name)
        for number in spread(len(facts), max(1, count // len(there))):
            pictured.append((f"{name} {facts[number].id}", dataset[facts[number].index]))
    return pictured


if __name__ == "__main__":
    main()
