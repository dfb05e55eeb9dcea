"""The command line, ``python -m antiphon``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TextIO

from antiphon import diagrams
from antiphon._cli.demo import run_demo
from antiphon._cli.rich_output import print_with_rich
from antiphon.diagrams import Description
from antiphon.diagrams._catalogue_source import find_catalogue_source
from antiphon.diagrams._locate import LocateError, find_dispatcher

__all__ = ("main",)

#: The exit status for wrong arguments, as in argparse.
_EXIT_USAGE: Final = 2

#: The exit status after Ctrl-C, as in shells.
_EXIT_INTERRUPTED: Final = 130

_FORMATS: Final[dict[str, Callable[[Description], str]]] = {
    "table": diagrams.table,
    "tree": diagrams.tree,
    "json": diagrams.json,
    "mermaid": diagrams.mermaid,
    "dot": diagrams.dot,
    "markdown": diagrams.markdown,
}

_PATH_HELP: Final = "the dispatcher: package.module:attribute, or package.module:function() to call a function"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The arguments of the command. By default those of the process.

    Returns:
        The exit status: 0, 2 if an argument is not usable, or 130 after Ctrl-C.
    """
    _escape_unprintable_output(sys.stdout)
    _escape_unprintable_output(sys.stderr)
    options = _make_parser().parse_args(arguments)
    try:
        run: Callable[[argparse.Namespace], None] = options.run
        run(options)
        sys.stdout.flush()
    except LocateError as exc:
        print(f"antiphon: {exc}", file=sys.stderr)  # noqa: T201
        return _EXIT_USAGE
    except BrokenPipeError:
        # The reader, such as `head`, closed the pipe. Redirect the rest of the output, because Python flushes stdout
        # at exit and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return _EXIT_INTERRUPTED
    return 0


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m antiphon", description="Show the listeners and events of a program."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listeners = commands.add_parser("listeners", help="show the listeners of each key, in the order in which they run")
    listeners.add_argument("path", metavar="PATH", help=_PATH_HELP)
    listeners.add_argument(
        "--event", metavar="KEY", help="only this name, or the keys that match this pattern: 'order.*'"
    )
    listeners.add_argument("--format", choices=tuple(_FORMATS), default="table", help="default: %(default)s")
    listeners.set_defaults(run=_show_listeners)

    catalogue = commands.add_parser("catalogue", help="write a page about the events, in Markdown")
    catalogue.add_argument("path", metavar="PATH", help=_PATH_HELP)
    catalogue.add_argument(
        "--events",
        action="append",
        default=[],
        metavar="MODULE",
        help="a module that defines events; default: the module `events` in the package of PATH, or the module of PATH",
    )
    catalogue.add_argument(
        "--sources",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="a package in which to search for dispatches; default: the package of the module that defines events",
    )
    catalogue.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: standard output")
    catalogue.set_defaults(run=_write_catalogue)

    demo = commands.add_parser("demo", help="dispatch an event sequentially and concurrently, and show the times")
    demo.set_defaults(run=_show_demo)
    return parser


def _show_listeners(options: argparse.Namespace) -> None:
    description = find_dispatcher(options.path)[1].describe()
    if options.event is not None:
        try:
            description = description.filter(options.event)
        except ValueError as exc:
            raise LocateError(f"--event: {exc}") from None
    if not print_with_rich(description, options.format):
        print(_FORMATS[options.format](description))  # noqa: T201


def _write_catalogue(options: argparse.Namespace) -> None:
    page = find_catalogue_source(options.path, events=options.events, sources=options.sources).render()
    if options.output is None:
        print(page)  # noqa: T201
        return
    try:
        options.output.write_text(f"{page}\n", encoding="utf-8", newline="\n")
    except OSError as exc:
        raise LocateError(f"{options.output} cannot be written: {exc.strerror or exc}") from exc


def _show_demo(_options: argparse.Namespace) -> None:
    for line in run_demo():
        print(line, flush=True)  # noqa: T201


def _escape_unprintable_output(stream: TextIO) -> None:
    # Write escapes for characters that the encoding of the stream does not have, instead of raising.
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
