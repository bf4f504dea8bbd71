"""What a test run did with cassettes, summed up over the processes that it ran in.

A worker sends its ledger in plain values to the process that it works for, which adds up.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from .files import opened
from .leftovers import Leftovers, noted


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .cassette import Cassette
    from .recording import Recorded


__all__ = ["Ledger"]


@dataclass(kw_only=True)
class Ledger:
    """Of one process, or of several.

    Attributes:
        replayed: Calls answered from a file.
        live: Calls sent.
        unused: Recordings that tests which passed did not ask for.
        saved: Recordings written.
        usd: What the replayed calls would have cost, as far as that is known.
        seconds: How long they would have taken.
        left: Path -> numbers (from 1) of the recordings that nobody asked for; of each cassette that was used.
        folders: Where there may be cassettes.
        collected: Node ids of all tests.
        passed: Node ids of those that passed.
        unknown: Node ids of files that were not collected.
        partial: Why this was not a run of all tests.
    """

    replayed: int = 0
    live: int = 0
    unused: int = 0
    saved: int = 0
    usd: float = 0.0
    seconds: float = 0.0
    left: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    folders: set[str] = field(default_factory=set[str])
    collected: set[str] = field(default_factory=set[str])
    passed: set[str] = field(default_factory=set[str])
    unknown: set[str] = field(default_factory=set[str])
    partial: set[str] = field(default_factory=set[str])

    def add(self, cassette: Cassette, *, passed: bool) -> None:
        """Count *cassette*, which is over, for a test that *passed* or did not."""
        counts = cassette.counts
        self.replayed += counts.replayed
        self.live += counts.live
        self.unused += counts.unused if passed else 0
        self.saved += counts.saved
        self.usd += cassette.saved_usd or 0.0
        self.seconds += cassette.saved_seconds

    def use(self, path: Path, unused: Sequence[Recorded] = ()) -> None:
        """Note that a test uses *path*, all but the *unused* of its recordings."""
        numbers = _numbers(opened(path).calls, unused) if unused else set[int]()
        self.left[str(path)] = self.left.get(str(path), numbers) & numbers

    @property
    def is_blank(self) -> bool:
        """Whether no call met a cassette, and none would have."""
        return not (self.replayed or self.live or self.unused or self.saved)

    def summary(self) -> str:
        """One line."""
        words = [f"{self.replayed} replayed", f"{self.live} live", f"{self.unused} unused"]
        words += [f"{self.saved} recorded"] if self.saved else []
        spared = [f"~${self.usd:.3f}"] if self.usd else []
        spared += [f"{self.seconds:.0f} s"] if self.seconds >= 0.5 else []
        words += [f"saved {' / '.join(spared)}"] if spared else []
        return f"respan: {', '.join(words)}"

    def leftovers(self, orphans: Iterable[str], shown: Mapping[str, str]) -> Leftovers:
        """For a report; *shown* has the paths that are not to be written as they are."""
        ...


def _numbers(calls: Sequence[Recorded], unused: Sequence[Recorded]) -> set[int]:
    ...
