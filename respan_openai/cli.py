"""The command ``respan-openai``; most of it stands in ``_commands``, which needs the extra ``cli``."""

from __future__ import annotations

import sys


__all__ = ["main"]

#: Extras that a command needs, where these are not ``cli`` alone.
_EXTRAS = {"serve": "cli,server"}

#: What a shell says of a command that Ctrl-C has ended: 128, and the signal's number.
_INTERRUPTED = 130


def main() -> None:
    """Run the command with the process's own arguments.

    Exits with 0 if all is well, with 1 if something cannot be done, and with 2 if the arguments cannot be
    read; a line on standard error says why. With 130 if it is interrupted before it has begun.
    """
    try:
        _run(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _run(arguments: list[str]) -> None:
    # Not at the top of this file: openai takes a second, in which somebody may press Ctrl-C.
    from .exceptions import RespanError

    run = _cassettes if arguments[:1] == ["cassettes"] else _typed
    try:
        run(arguments)
    except RespanError as exc:
        sys.exit(f"respan-openai: {exc}")


def _cassettes(arguments: list[str]) -> None:
    """The one command that needs no extra."""
    from .testing.commands import main as run

    sys.exit(run(arguments[1:]))


def _typed(arguments: list[str]) -> None:
    from ._extras import needed

    needed("typer", _EXTRAS.get("".join(arguments[:1]), "cli"), "The command needs typer")
    from ._commands import app

    app()
