"""The console script `rtmotion`: what it answers with, whatever happens.

Exit codes: 0 done; 1 an unexpected fault (traceback with -v); 2 bad input, one line on stderr; 130 interrupted.
"""

import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# before torch starts its threads: spinning ones take several times as long where the cores are shared
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import typer

from rtmotion.errors import RtmotionError
from rtmotion_cli import commands
from rtmotion_cli.options import join_spacing
from rtmotion_cli.terminal import complain

DONE, FAULT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if issubclass(base, Exception) and base.__name__ == "ClickException"
)
"""What the parser raises for a wrong option; it comes from click or from typer's own copy of it."""

INPUT_FAULTS = {
    errno.EACCES: "choose a place that you may read and write",
    errno.EPERM: "choose a place that you may read and write",
    errno.EROFS: "choose a place that can be written",
    errno.ENOSPC: "free some space or choose another --out",
    errno.EDQUOT: "free some space or choose another --out",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path",
    errno.EISDIR: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
}
"""Faults of the file system that the user can mend, and how."""

app = typer.Typer(
    name="rtmotion",
    help="Forecasts respiratory motion for radiotherapy from the first phases of a 4D CT. Research use only.",
    epilog="Start with: rtmotion demo",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
commands.register(app)


@app.callback(invoke_without_command=True)
def rtmotion(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Print the version and leave.", is_eager=True),
) -> None:
    """Forecasts respiratory motion for radiotherapy from the first phases of a 4D CT. Research use only."""
    if version:
        import rtmotion as package

        typer.echo(f"rtmotion {package.__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: What follows `rtmotion` on the command line; None takes it from there.

    Returns:
        The exit code: see the top of this module.
    """
    if arguments is None:
        for stream in (sys.stdout, sys.stderr):
            # a terminal that lacks a character gets a substitute, not a fault
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    given = join_spacing(sys.argv[1:] if arguments is None else arguments)
    verbose = bool({"-v", "--verbose"} & set(given))
    with libraries_quiet(verbose):
        try:
            code = app(given, prog_name="rtmotion", standalone_mode=False)
        except KeyboardInterrupt:
            code = INTERRUPTED
        except typer.Abort:
            code = INTERRUPTED
        except typer.Exit as leave:
            code = leave.exit_code
        except RtmotionError as error:
            return _refuse(str(error), verbose)
        except UsageError as error:
            return _refuse(_usage_message(error, given), verbose)
        except BrokenPipeError:
            # whoever read our output has gone: say nothing more, not even at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return FAULT
        except OSError as error:
            if error.errno in INPUT_FAULTS:
                return _refuse(_file_message(error), verbose)
            return _fault(error, verbose)
        except MemoryError as error:
            return _fault(error, verbose, "not enough memory: crop or coarsen the volumes, or close other programs")
        except Exception as error:
            return _fault(error, verbose)
    if code == INTERRUPTED:
        complain("interrupted; files that were not finished are not there")
    return code if isinstance(code, int) else DONE


@contextmanager
def libraries_quiet(verbose: bool) -> Iterator[None]:
    """Keeps back what libraries say to programmers: it is no message to a user, and may quote the patient."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        if not sys.warnoptions:
            warnings.simplefilter("default" if verbose else "ignore")
        if not verbose:
            logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(disabled)


def _usage_message(error: Exception, given: Sequence[str]) -> str:
    """The parser's own words, and where help is."""
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    command = next((f"rtmotion {name}" for name in given[:1] if name in commands.EXAMPLES), "rtmotion")
    return f"{message.rstrip('.')}; see {command} --help"


def _file_message(error: OSError) -> str:
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{error.strerror}; {INPUT_FAULTS[error.errno or 0]}"


def _refuse(message: str, verbose: bool) -> int:
    complain(message)
    if verbose:
        traceback.print_exc()
    return BAD_INPUT


def _fault(error: BaseException, verbose: bool, message: str = "") -> int:
    complain(f"unexpected fault: {message or f'{type(error).__name__}: {error}'}; run again with -v to see where")
    if verbose:
        traceback.print_exc()
    return FAULT
