"""What a test run has not used: recordings that no test asked for, and files that belong to no test.

One run notes it, and ``cassettes prune`` reads it. A file that has changed in between is left alone, because
the numbers of its calls may be those of others by now.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from .errors import CassetteError


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


__all__ = ["STALE", "Leftovers", "Unused", "noted", "read_leftovers", "written_leftovers"]


STALE: Final = "not the file of the report any more. Run the tests again."
"""What is said of a file that has changed in between."""


class Unused(NamedTuple):
    """Of one file.

    Attributes:
        sha256: Of the file as it was, in hexadecimal.
        calls: Their numbers, counted from 1.
    """

    sha256: str
    calls: tuple[int, ...]

    def is_of(self, path: Path) -> bool:
        """Whether the file is still the one that it was."""
        return path.is_file() and _digest(path) == self.sha256


class Leftovers(NamedTuple):
    """Of one test run.

    Attributes:
        unused: By path.
        orphans: Paths of cassettes that belong to no test.
    """

    unused: Mapping[str, Unused]
    orphans: tuple[str, ...] = ()


def noted(path: Path, calls: Iterable[int]) -> Unused:
    """The unused *calls* (numbers, counted from 1) of the cassette *path*, as it is now."""
    return Unused(_digest(path), tuple(calls))


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def written_leftovers(leftovers: Leftovers) -> str:
    """*leftovers* as JSON."""
    unused = {path: each._asdict() for path, each in leftovers.unused.items()}
    report = {"respan_leftovers": 1, "unused": unused, "orphans": leftovers.orphans}
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def read_leftovers(path: Path) -> Leftovers:
    """What :func:`written_leftovers` wrote to *path*.

    Raises:
        CassetteError: if the file cannot be read, or is anything else.
    """
    try:
        return _leftovers(json.loads(path.read_bytes()))
    except OSError as exc:
        raise CassetteError(f"{path}: cannot be read ({exc.strerror or type(exc).__name__}).") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise CassetteError(
            f"{path}: no report of unused recordings. A full test run writes one: --respan-cassette-report."
        ) from None


def _leftovers(report: Any) -> Leftovers:
    if report["respan_leftovers"] != 1:
        raise ValueError
    unused = {
        path: Unused(_text(each["sha256"]), _numbers(each["calls"]))
        for path, each in report["unused"].items()
    }
    return Leftovers(unused, tuple(map(_text, report["orphans"])))


def _numbers(values: Any) -> tuple[int, ...]:
    if not all(type(value) is int and value > 0 for value in values):
        raise ValueError
    return tuple(cast("list[int]", values))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
