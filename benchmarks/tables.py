"""Measurements as Markdown tables to read and as JSON to keep."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.machine import machine_facts, told
from coatseg.system.atomic import whole_file

Record = dict[str, Any]
"""The measurements of one row by name, as JSON can hold them."""


@dataclass(frozen=True)
class Table:
    """Records, and how each column of the printed table is written from one; the first column is text."""

    title: str
    columns: Mapping[str, Callable[[Record], str]]
    records: Sequence[Record]

    def markdown(self) -> str:
        """Return the table in Markdown."""
        rows = [[write(record) for write in self.columns.values()] for record in self.records]
        lines = [list(self.columns), ["---", *["---:"] * (len(self.columns) - 1)], *rows]
        return "\n".join([f"{self.title}\n", *(f"| {' | '.join(cells)} |" for cells in lines)])


def publish(benchmark: str, compared: str, tables: Sequence[Table], arguments: argparse.Namespace) -> None:
    """Print what was compared and the measurements, and write them to `arguments.output`."""
    facts = machine_facts()
    print(f"\n{compared}\n\n{told(facts)}")
    for table in tables:
        print(f"\n{table.markdown()}")
    content = {
        "benchmark": benchmark,
        "compared": compared,
        "machine": facts,
        "settings": vars(arguments),
        "tables": [{"title": table.title, "records": list(table.records)} for table in tables],
    }
    with whole_file(arguments.output) as file:
        file.write(json.dumps(content, indent=1, default=str).encode())
    print(f"\nall measurements: {arguments.output}")


def milliseconds(seconds: float) -> str:
    """Return a time as text, in whole milliseconds from 100 on."""
    return f"{1000 * seconds:.0f}" if seconds >= 0.1 else f"{1000 * seconds:.1f}"


def megabytes(count: float) -> str:
    """Return a number of bytes as text, in units of 2^20."""
    return f"{count / 2**20:.0f}"
