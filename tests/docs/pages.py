"""The pages of the documentation, and what a test finds in them: code blocks, commands, links."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT

PAGES = (ROOT / "README.md", ROOT / "data" / "README.md", *sorted((ROOT / "docs").glob("*.md")))
NOT_RUN = "not run"
"""What a block, a paragraph or a row of a table says of commands that no test can check."""

COMMAND = re.compile(r"(\$ )?(?=(python|coatseg|make|bash|pip install) \S)")
FENCE = re.compile(r"^```.*$", re.MULTILINE)
SPAN = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
ERROR = "error: "


@dataclass(frozen=True)
class Command:
    """A command as it stands on a page, the error that is shown as its answer, and whether it is marked as not run."""

    page: str
    text: str
    error: str = ""
    marked: bool = False

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def sections_of(text: str) -> Iterator[tuple[str, bool]]:
    """Part a page at its blank lines; what is code is told by True and comes without its indentation."""
    for number, part in enumerate(FENCE.split(text)):
        if number % 2:
            yield textwrap.dedent(part).strip("\n"), True
            continue
        for section in re.split(r"\n(?:[ \t]*\n)+", part.strip("\n")):
            indented = all(line.startswith("    ") for line in section.splitlines())
            yield textwrap.dedent(section) if indented else section, indented


def code_blocks(text: str) -> list[str]:
    """Find the blocks of code whole, blank lines included, without their indentation."""
    fenced = [part.strip("\n") for part in FENCE.split(text)[1::2]]
    indented = re.findall(r"(?:^    .*\n(?:\n+(?=    ))?)+", "\n".join(FENCE.split(text)[::2]) + "\n", re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in (*fenced, *indented)]


def commands_of(page: str, text: str) -> list[Command]:
    """Find every command: lines of code blocks, and spans of code in paragraphs and tables."""
    found: list[Command] = []
    for section, is_code in sections_of(text):
        found += _of_block(page, section) if is_code else _of_prose(page, section)
    return found


def _of_block(page: str, block: str) -> Iterator[Command]:
    lines = re.sub(r"\s*\\\n\s*", " ", block).splitlines()
    for line, *answer in (lines[start:] for start in range(len(lines))):
        if match := COMMAND.match(line):
            error = "\n".join(answer) if answer and answer[0].startswith(ERROR) else ""
            yield Command(page, line[match.end() :], error.removeprefix(ERROR), NOT_RUN in block)


def _of_prose(page: str, paragraph: str) -> Iterator[Command]:
    rows = paragraph.splitlines() if paragraph.startswith("|") else [" ".join(paragraph.split())]
    for row in rows:
        for span in SPAN.findall(row):
            if COMMAND.match(span):
                yield Command(page, span, marked=NOT_RUN in row)


def links_of(text: str) -> list[str]:
    """List the targets of links and pictures that are no addresses of the web."""
    return [target for target in LINK.findall(text) if "://" not in target]


def anchors_of(text: str) -> set[str]:
    """Name the headings as links to them do."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
