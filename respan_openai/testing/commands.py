"""``respan-openai cassettes``: look after recorded calls.

Each command is a function that writes lines to *out* and returns what the process exits with: 0, or 1 for
what somebody has to see to. ``main`` reads the arguments; it needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ._contrast import contrast
from ._conversation import conversation
from ._files import cassettes_in, leaks_in, opened
from ._shown import counted, printable
from ._upkeep import import_from, move, prune, scrub
from .errors import CassetteError
from .importing import SOURCES
from .leftovers import STALE, read_leftovers
from .secrets import Secrets


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TextIO

    from .leftovers import Unused
    from .recording import Tape


__all__ = ["PASSED_ON", "check", "diff", "listed", "main", "show"]


#: Settings of a command of typer's that leaves its arguments to ``main``.
PASSED_ON: Final = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": list[str](),
}


def check(paths: Sequence[Path], out: TextIO) -> int:
    """Look for secrets, and for files that cannot be read; name the place, never a value. 1 if there is any.

    If there is none, it is said how many files were looked at.

    Secrets are what looks like a key, and the values of the environment's ``*_KEY``, ``*_TOKEN``,
    ``*_SECRET`` and ``*_PASSWORD``.
    """
    cassettes, secrets, found = cassettes_in(paths), Secrets(), list[str]()
    for path in cassettes:
        try:
            opened(path)
        except CassetteError as exc:
            found.append(str(exc))
        found += leaks_in(path, secrets)
    lines = found or [f"{counted(len(cassettes), 'cassette')}, nothing found"]
    out.writelines(f"{line}\n" for line in lines)
    return 1 if found else 0


def show(paths: Sequence[Path], out: TextIO, *, only: int | None = None) -> int:
    """Write what was said, call by call; *only* the one of that number, counted from 1, if it is given."""
    for path in _found(paths, out):
        tape = opened(path)
        out.write(f"{path}  {_about(tape)}\n")
        for number, recorded in enumerate(tape.calls, 1):
            if only in {None, number}:
                out.writelines(f"{line}\n" for line in conversation(number, recorded))
    return 0


def diff(old: Path, new: Path, out: TextIO) -> int:
    """Write what is different in the cassette *new*; 1 if anything is."""
    lines = [*contrast(opened(old).calls, opened(new).calls)]
    out.writelines(f"{line}\n" for line in lines)
    return 1 if lines else 0


def listed(paths: Sequence[Path], out: TextIO, *, unused: Path | None = None) -> int:
    """Write a line for each cassette; with *unused*, a report, only for what no test has used.

    Then it is 1 if there is any.
    """
    if unused is not None:
        lines = [*_unused(unused)]
        out.writelines(f"{line}\n" for line in lines)
        return 1 if lines else 0
    out.writelines(f"{path}  {_about(opened(path))}\n" for path in _found(paths, out))
    return 0


def _found(paths: Sequence[Path], out: TextIO) -> list[Path]:
    """The cassettes that *paths* name; if there are none, that is written, for it may be the wrong folder."""
    found = cassettes_in(paths)
    if not found:
        out.write(f"{counted(0, 'cassette')}\n")
    return found


def _about(tape: Tape) -> str:
    origins = Counter(call.origin for call in tape.calls if call.origin is not None)
    words = [
        counted(len(tape.calls), "call"),
        *(f"{count} from {origin}" for origin, count in sorted(origins.items())),
        f"recorded {tape.recorded}" if tape.recorded else "",
        f"with {tape.by}" if tape.by else "",
        f"for {tape.test}" if tape.test else "",
    ]
    return printable(", ".join(filter(None, words)))


def _unused(report: Path) -> Iterator[str]:
    leftovers = read_leftovers(report)
    for name, unused in leftovers.unused.items():
        yield f"{name}{_numbers(Path(name), unused)}"
    for name in leftovers.orphans:
        yield f"{name}  belongs to no test"


def _numbers(path: Path, unused: Unused) -> str:
    if not unused.is_of(path):
        return f": {STALE}"
    numbers = ", ".join(map(str, unused.calls))
    word = "call" if len(unused.calls) == 1 else "calls"
    return f"  {word} {numbers} of {len(opened(path).calls)} unused"


# -- arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that *argv* says, by default the process's own arguments; returns what it is to exit
    with.

    0 if all is well, 1 if something is found or cannot be done, 2 if the arguments cannot be read. What
    cannot be done is said on standard error.
    """
    try:
        asked = _parser().parse_args(argv)
        run: Callable[[argparse.Namespace, TextIO], int] = asked.run
        return run(asked, sys.stdout)
    except CassetteError as exc:
        sys.stderr.write(f"respan-openai: {exc}\n")
        return 1
    except SystemExit as exc:  # how argparse says that it has said it
        return exc.code if isinstance(exc.code, int) else 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("respan-openai cassettes", description="Look after recorded calls.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (run, text, arguments) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        for argument, settings in arguments.items():
            command.add_argument(argument, **settings)
    return parser


_PATHS: Final[dict[str, Any]] = {
    "type": Path,
    "nargs": "+",
    "metavar": "FILE",
    "help": "files, or folders of them",
}
_FILE: Final[dict[str, Any]] = {"type": Path, "metavar": "FILE"}
_REPORT: Final = "a report of a full test run: --respan-cassette-report"

_REDACT: Final[dict[str, Any]] = {
    "action": "append",
    "default": [],
    "metavar": "RULE",
    "help": "a place, such as metadata.customer, or a pattern behind ~; may be given again",
}

_Command = tuple["Callable[[argparse.Namespace, TextIO], int]", str, dict[str, dict[str, Any]]]

_COMMANDS: Final[dict[str, _Command]] = {
    "check": (
        lambda asked, out: check(asked.paths, out),
        "Look for secrets, and for files that cannot be read.",
        {"paths": _PATHS},
    ),
    "show": (
        lambda asked, out: show(asked.paths, out, only=asked.call),
        "Write what was said.",
        {"paths": _PATHS, "--call": {"type": int, "metavar": "N", "help": "only this one, counted from 1"}},
    ),
    "diff": (
        lambda asked, out: diff(asked.old, asked.new, out),
        "Write what is different in another cassette.",
        {"old": _FILE, "new": _FILE},
    ),
    "ls": (
        lambda asked, out: listed(asked.paths, out, unused=asked.unused),
        "List cassettes, or what no test uses of them.",
        {"paths": {**_PATHS, "nargs": "*", "default": [Path()]}, "--unused": {**_FILE, "help": _REPORT}},
    ),
    "prune": (
        lambda asked, out: prune(asked.report, out, dry_run=asked.dry_run),
        "Drop what no test uses.",
        {
            "report": {**_FILE, "help": _REPORT},
            "--dry-run": {"action": "store_true", "help": "only say what would be dropped"},
        },
    ),
    "mv": (
        lambda asked, out: move(asked.file, asked.test, out),
        "Give a cassette to the test that its own is called now.",
        {"file": _FILE, "test": {"metavar": "NODE_ID", "help": "tests/test_a.py::test_b[c]"}},
    ),
    "scrub": (
        lambda asked, out: scrub(asked.paths, out, redact=asked.redact),
        "Redact once more.",
        {"paths": _PATHS, "--redact": _REDACT},
    ),
    "import": (
        lambda asked, out: import_from(asked.source, asked.paths, out, folder=asked.to, redact=asked.redact),
        "Bring in cassettes of other tools.",
        {
            "source": {"choices": sorted(SOURCES)},
            "paths": {**_PATHS, "help": "YAML files"},
            "--redact": _REDACT,
            "--to": {"type": Path, "metavar": "FOLDER", "help": "where to; beside each file by default"},
        },
    ),
}
