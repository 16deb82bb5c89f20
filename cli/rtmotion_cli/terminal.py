"""What is said to the terminal: results on stdout, progress and complaints on stderr."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer

PLAIN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe."""

Step = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done and the number of its steps."""


def one_line(text: str) -> str:
    r"""The text without line breaks and without characters that would steer the terminal.

    >>> one_line("a file named\n\x1b[31mred")
    'a file named ?[31mred'
    """
    return "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))


def complain(message: str) -> None:
    """One line on stderr."""
    typer.echo(f"rtmotion: {one_line(message)}", err=True)


def write_json(value: Any) -> None:
    """One JSON object on stdout."""
    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def write_line(text: str) -> None:
    """One line of a result on stdout."""
    typer.echo(one_line(text))


def write_table(columns: Sequence[str], rows: Sequence[Sequence[object]], right: Sequence[str] = ()) -> None:
    """A table on stdout; its texts are shown as they are, markup and control characters included.

    Args:
        columns: Headings.
        rows: One entry a column.
        right: Headings of the columns that are aligned to the right (numbers).
    """
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(str(cell))) for cell in row))
    console.print(table)


@dataclass(frozen=True)
class Terminal:
    """How much one run says on stderr.

    Attributes:
        quiet: Nothing but errors.
        verbose: Every stage with its time, warnings of libraries, tracebacks.
    """

    quiet: bool = False
    verbose: bool = False

    def say(self, text: str) -> None:
        """One line on stderr, unless quiet."""
        if not self.quiet:
            typer.echo(one_line(text), err=True)

    def warn(self, warnings: Sequence[str]) -> None:
        """What the user should know, each once."""
        for text in dict.fromkeys(warnings):
            self.say(f"warning: {text}")

    @contextmanager
    def progress(self, title: str) -> Iterator[Step]:
        """A progress bar on stderr while the body runs; none without a terminal, or if quiet.

        Yields:
            What to call with the name of a stage, the steps done and the number of its steps.
        """
        if self.quiet or not sys.stderr.isatty():
            if self.verbose:
                self.say(f"{title} ...")
            yield lambda stage, done, total: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(file=sys.stderr), transient=not self.verbose) as bar:
            task = bar.add_task(one_line(title), total=None)

            def step(stage: str, done: int, total: int) -> None:
                bar.update(task, description=one_line(f"{title}: {stage}"), completed=done, total=total)

            yield step
