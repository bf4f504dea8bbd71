"""The command ``respan-openai``; what it does stands in ``_commands``, which needs the extra ``cli``."""

from __future__ import annotations

import sys

from ._extras import needed
from .exceptions import RespanError


__all__ = ["main"]


def main() -> None:
    """Run the command with the process's own arguments.

    Exits with 0 if all is well, with 1 if something cannot be done, and with 2 if the arguments cannot be
    read; a line on standard error says why.
    """
    try:
        needed("typer", "cli", "The command needs typer")
        from ._commands import app

        app()
    except RespanError as exc:
        sys.exit(f"respan-openai: {exc}")
