"""The command ``antiphon bridge``. It connects to the broker of a bridge, and receives no events.

The bridge is an optional part, so nothing here imports it before the command runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from antiphon._util.columns import display_width, pad
from antiphon.diagrams._locate import LocateError, describe, find_attributes, find_object
from antiphon.diagrams._text import escape_unprintable

if TYPE_CHECKING:
    from antiphon.bridges import Bridge, DeadLetter

__all__ = ("add_bridge_parser", "add_command")

#: The exit status if the broker cannot be reached.
_EXIT_UNAVAILABLE: Final = 1

_GAP: Final = "  "


def add_command(add_parser: Callable[..., argparse.ArgumentParser], name: str, text: str) -> argparse.ArgumentParser:
    """Add the parser of a command. The text describes it in the list of commands and in its own help."""
    return add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")


def add_bridge_parser(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command to its parser."""
    parser.add_argument(
        "path", metavar="PATH", help="the bridge: package.module:attribute, or package.module:function() to call it"
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    health = add_command(
        actions.add_parser, "health", "show the state of each group, and settings of the broker that may lose events"
    )
    _add_format(health)
    health.set_defaults(connects=True, run=partial(_run_connected, _show_health))

    dead = add_command(actions.add_parser, "dead", "list the dead letters of the groups that the bridge receives")
    _add_selection(dead)
    _add_format(dead)
    dead.set_defaults(connects=True, run=partial(_run_connected, _show_dead_letters))

    for verb, text in (("requeue", "deliver dead letters to their group again"), ("drop", "delete dead letters")):
        action = add_command(actions.add_parser, verb, text)
        action.add_argument(
            "letters", nargs="*", metavar="LETTER", help="a dead letter, as `dead` shows it, or the id of its event"
        )
        action.add_argument("--all", action="store_true", help="all dead letters, instead of those that you name")
        _add_selection(action)
        action.set_defaults(connects=True, run=partial(_run_connected, _settle), verb=verb)

    asyncapi = add_command(
        actions.add_parser, "asyncapi", "describe the published and received events as AsyncAPI 3, in JSON"
    )
    asyncapi.add_argument("--title", help="the title of the document; default: the source of the bridge")
    asyncapi.add_argument(
        "--api-version",
        default="1.0.0",
        metavar="VERSION",
        help="the version of the document; default: %(default)s",
    )
    asyncapi.set_defaults(run=_show_asyncapi)


def _add_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--format",
        choices=("table", "json"),
        default="table",
        metavar="FORMAT",
        help="table or json; default: %(default)s",
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--channel", help="only dead letters of this channel")
    parser.add_argument("--group", help="only dead letters of this group")


def _find_bridge(path: str) -> Bridge:
    try:
        from antiphon.bridges import Bridge
    except ImportError as exc:
        raise LocateError(str(exc)) from exc
    module, value, location = find_object(path, Bridge, "bridges")
    if not isinstance(value, Bridge):
        others = [f"{module.__name__}:{name}" for name in find_attributes(module, Bridge, depth=1)]
        fix = f"write {' or '.join(others[:3])}" if others else f"no bridge was found in {module.__name__}"
        raise LocateError(f"{location} is {describe(value)}, not a Bridge: {fix}")
    return value


def _run_connected(
    action: Callable[[Bridge, argparse.Namespace], Awaitable[None]], options: argparse.Namespace
) -> int | None:
    bridge = _find_bridge(options.path)
    from antiphon.bridges import BridgeUnavailable, ConfigurationError

    async def run() -> None:
        async with bridge.connected():
            await action(bridge, options)

    try:
        anyio.run(run)
    except BridgeUnavailable as exc:
        print(f"antiphon: {escape_unprintable(str(exc))}", file=sys.stderr)  # noqa: T201
        return _EXIT_UNAVAILABLE
    except ConfigurationError as exc:
        raise LocateError(str(exc)) from exc
    return None


async def _show_health(bridge: Bridge, options: argparse.Namespace) -> None:
    health = await bridge.health()
    groups = [
        {
            "channel": state.stream,
            "partition": state.partition,
            "group": state.group,
            "lag": state.lag,
            "pending": state.pending,
            "oldest": state.oldest,
            "dead": state.dead,
        }
        for state in health.receives
        if state.group is not None
    ]
    if options.format == "json":
        _print_json({"groups": groups, "warnings": health.warnings})
        return
    rows = [
        [str(value) for value in {**group, "oldest": _format_seconds(group["oldest"])}.values()] for group in groups
    ]
    _print_table(("channel", "partition", "group", "lag", "pending", "oldest", "dead"), rows)
    for warning in health.warnings:
        print(f"warning: {warning}")  # noqa: T201


def _format_seconds(seconds: object) -> str:
    return f"{seconds:.0f} s" if isinstance(seconds, float | int) else "–"


async def _show_dead_letters(bridge: Bridge, options: argparse.Namespace) -> None:
    letters = [letter async for letter in bridge.dead_letters() if _is_selected(letter, options)]
    if options.format == "json":
        _print_json([_as_json(letter) for letter in letters])
        return
    rows = [
        (
            _get_address(letter),
            letter.type or "–",
            letter.id or "–",
            str(letter.attempts),
            f"{letter.time:%Y-%m-%d %H:%M:%S}",
            letter.reason,
        )
        for letter in letters
    ]
    _print_table(("dead letter", "type", "id", "attempts", "moved here (UTC)", "reason"), rows)


def _as_json(letter: DeadLetter) -> dict[str, object]:
    return {
        "letter": _get_address(letter),
        "channel": letter.stream,
        "partition": letter.partition,
        "group": letter.group,
        "type": letter.type,
        "id": letter.id,
        "attempts": letter.attempts,
        "time": letter.time.isoformat(),
        "reason": letter.reason,
        "data": letter.data.decode(errors="backslashreplace"),
    }


async def _settle(bridge: Bridge, options: argparse.Namespace) -> None:
    """Requeue or drop dead letters. If one of them does not exist, do nothing."""
    wanted = set(options.letters)
    if bool(wanted) == options.all:
        raise LocateError(f"{options.verb}: name dead letters, or write --all")
    found: list[DeadLetter] = []
    missing = set(wanted)
    async for letter in bridge.dead_letters():
        names = {_get_address(letter), letter.id}
        if _is_selected(letter, options) and (options.all or names & wanted):
            missing -= names
            # All are collected first: a letter that is delivered again may come back meanwhile.
            found.append(letter)
    if missing:
        raise LocateError(f"{options.verb}: there is no dead letter {', '.join(sorted(missing))}; nothing was done")
    for letter in found:
        is_done = await (letter.requeue() if options.verb == "requeue" else letter.drop())
        done = {"requeue": "requeued", "drop": "dropped"}[options.verb] if is_done else "already gone:"
        print(f"{done} {_get_address(letter)}")  # noqa: T201


def _is_selected(letter: DeadLetter, options: argparse.Namespace) -> bool:
    return options.channel in (None, letter.stream) and options.group in (None, letter.group)


def _get_address(letter: DeadLetter) -> str:
    return f"{letter.stream}/{letter.partition}/{letter.group}/{letter.position}"


def _show_asyncapi(options: argparse.Namespace) -> None:
    bridge = _find_bridge(options.path)
    from antiphon.bridges import ConfigurationError

    try:
        _print_json(bridge.asyncapi(title=options.title, version=options.api_version))
    except ConfigurationError as exc:
        raise LocateError(str(exc)) from exc


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201


def _print_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        print("nothing")  # noqa: T201
        return
    lines = [titles, *([escape_unprintable(cell) for cell in row] for row in rows)]
    widths = [max(map(display_width, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["─" * width for width in widths])
    for line in lines:
        print(_GAP.join(pad(cell, width) for cell, width in zip(line, widths, strict=True)).rstrip())  # noqa: T201
