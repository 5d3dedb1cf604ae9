"""What the command line prints: step lines, tables of metrics, progress."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from schemas.errors import InputError

console = Console(highlight=False)
_stderr = Console(stderr=True, highlight=False)
_WIDEST = 400  # characters of a table in a file


def complain(what: str, fault: object) -> None:
    """Print an error, one line a fault, to standard error."""
    for line in str(fault).splitlines():
        _stderr.print(f"[red]{what}:[/red] {escape(line)}", soft_wrap=True)


def step_line(step: str, status: str, seconds: float, counts: Mapping[str, int]) -> None:
    """The one line of counts that ends a step."""
    said = " · ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in counts.items())
    colour = {"done": "green", "unchanged": "dim", "refused": "red"}.get(status, "white")
    console.print(f"{step:17}[{colour}]{status:10}[/{colour}]{seconds:6.1f} s  {said}", soft_wrap=True)


@contextmanager
def working(what: str) -> Iterator[Progress]:
    """A spinner with elapsed time while something runs; `progress.update(0, description=...)` renames it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=_stderr, transient=True) as progress:
        progress.add_task(what, total=None)
        yield progress


def metric_rows(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table of figures; the first column is left, the rest right.

    Names fold before figures where a terminal is too narrow; a file or a pipe gets the whole width.
    """
    table = Table(title=title, title_justify="left", header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(name, justify="left" if number == 0 else "right")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    wanted = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    here = console if console.is_terminal or wanted <= console.width else Console(file=console.file, width=wanted)
    here.print(table)


def percent(value: float | None) -> str:
    """A fraction of 1 as a percentage with one decimal."""
    return "" if value is None else f"{100 * value:.1f}"


def write_json(out: Path | None, content: Any) -> None:
    """Write `--out FILE.json`, if it was given. Raises as `write_text`."""
    if out is not None:
        write_text(out, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(out: Path, content: str) -> None:
    """Write `--out FILE`, and the folders it is to lie in.

    Raises:
        InputError: it cannot be written.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(content, encoding="utf-8")
    except OSError as fault:
        raise InputError(f"cannot write {out} ({fault.strerror}): give --out another file") from None
