"""What the pages name is there: links, pictures, files, modules, rooms, groups; and the README stays short."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path
from pkgutil import resolve_name

import pytest

from coatseg.commands import VERBS
from coatseg.commands.terminal.composition import choices
from tests.conftest import ROOT
from tests.docs.pages import PAGES, anchors_of, code_blocks, links_of, name_of

README, LAYOUT = (ROOT / "README.md").read_text(), (ROOT / "docs" / "layout.md").read_text()
FILE = re.compile(r"(?<![\w./-])(?:coatseg|conf|tests|benchmarks)/[\w./-]*")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
MODULE = re.compile(r"(?<![\w./-])coatseg(?:\.[A-Za-z_]\w*)+")


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 150


def test_the_readme_leads_to_every_page() -> None:
    assert {name_of(page) for page in PAGES} - {"README.md"} <= set(links_of(README))


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / target).resolve() for page in PAGES for target in links_of(page.read_text())}
    assert {path for path in (ROOT / "docs").iterdir() if path.suffix in (".jpg", ".png")} <= shown


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_and_picture_is_there(page: Path) -> None:
    for target in links_of(page.read_text()):
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors_of(there.read_text()), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_and_module_that_is_named_is_there(page: Path) -> None:
    text = page.read_text()
    for path in FILE.findall(text):
        assert (ROOT / path.rstrip(".")).exists(), path
    for module in MODULE.findall(text):
        resolve_name(module)


def test_every_test_that_is_named_is_there() -> None:
    named = {name for page in PAGES for name in TEST.findall(page.read_text())}
    assert len(named) > 50
    lost = {f"{path}::{name}" for path, name in named if f"def {name}(" not in (ROOT / path).read_text()}
    assert lost == set()


def tree_of(text: str) -> list[Path]:
    """Read the drawn tree: the path of every line, by its indentation."""
    (block,) = (block for block in code_blocks(text) if "\ncoatseg/\n" in block)
    paths: list[Path] = []
    above: list[tuple[int, Path]] = [(-1, ROOT)]
    for line in block.splitlines():
        indentation = len(line) - len(line.lstrip())
        above = [(depth, path) for depth, path in above if depth < indentation]
        paths.append(above[-1][1] / line.split()[0])
        above.append((indentation, paths[-1]))
    return paths


def test_the_drawn_trees_are_those_of_the_code() -> None:
    rooms = {path.parent for path in (ROOT / "coatseg").rglob("__init__.py")}
    whole, short = tree_of(LAYOUT), tree_of(README)
    assert [path for path in (*whole, *short) if not path.exists()] == []
    assert rooms <= set(whole)
    assert {room for room in rooms if room.parent == ROOT / "coatseg"} <= set(short)


def test_the_drawn_layers_are_those_of_the_linter() -> None:
    linter = ConfigParser()
    linter.read(ROOT / ".importlinter")
    drawn = [" ".join(line.split()) for line in LAYOUT.splitlines()]
    contracts = [linter[name] for name in linter.sections() if "containers" in linter[name]]
    assert len(contracts) > 1
    for contract in contracts:
        container, layers = contract["containers"].strip(), contract["layers"].strip().splitlines()
        if container == "coatseg":
            start = drawn.index(layers[0])
            assert drawn[start : start + len(layers)] == layers
        else:
            assert f"{container.rpartition('.')[2]}: {' > '.join(layers)}" in drawn


def test_the_table_of_groups_names_no_choice_that_is_gone() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "training.md").read_text(), re.MULTILINE)
    assert {"backbone", "head", "task", "data", "loss"} <= {group for group, _ in rows}
    for group, row in rows:
        assert set(re.findall(r"\w+_\w+", row)) <= set(choices(group)), group


def test_the_readme_names_every_verb() -> None:
    (row,) = re.findall(r"^\| commands \|.*$", README, re.MULTILINE)
    assert set(VERBS) <= set(re.findall(r"\w+", row))
