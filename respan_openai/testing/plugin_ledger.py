"""What a test run did with cassettes, summed up over the processes that it ran in.

A worker sends its ledger in plain values to the process that it works for, which adds them up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ._cassette import Cassette
    from .recording import Recorded


__all__ = ["Ledger"]


#: What is added, and what is united.
_SUMS: Final = ("replayed", "live", "unused", "saved", "faults", "idle", "seconds")
_SETS: Final = ("outgrown", "refused", "folders", "missing", "collected", "passed", "unread", "partial")


@dataclass(kw_only=True)
class Ledger:
    """Of one process, or of several.

    Attributes:
        replayed: Calls answered from a file.
        live: Calls sent.
        unused: Recordings that tests which passed did not ask for, although they should have.
        saved: Recordings written.
        faults: Calls answered, or broken, by a fault.
        idle: Cassettes of tests that passed and have a marker of their own, which hold no call and saw none.
        seconds: How long the replayed calls would have taken.
        left: Path of each cassette that was used -> numbers (from 1) of its recordings that nobody asked for.
        outgrown: Path of each cassette that is kept with recordings which its test has not asked for.
        refused: Path of each cassette that was recorded with an answer that is an error, and its status.
        folders: Where there are cassettes.
        missing: Where there were none yet when the tests were collected.
        collected: Node ids of all tests.
        passed: Node ids of those that passed.
        unread: Node ids of files that were skipped as a whole.
        partial: Why this is not a run of all tests; empty if it is.
    """

    replayed: int = 0
    live: int = 0
    unused: int = 0
    saved: int = 0
    faults: int = 0
    idle: int = 0
    seconds: float = 0.0
    left: dict[str, set[int]] = field(default_factory=dict[str, set[int]])
    outgrown: set[str] = field(default_factory=set[str])
    refused: set[str] = field(default_factory=set[str])
    folders: set[str] = field(default_factory=set[str])
    missing: set[str] = field(default_factory=set[str])
    collected: set[str] = field(default_factory=set[str])
    passed: set[str] = field(default_factory=set[str])
    unread: set[str] = field(default_factory=set[str])
    partial: set[str] = field(default_factory=set[str])

    def add(self, cassette: Cassette, unused: int) -> None:
        """Count *cassette*, which is over, and so many *unused* recordings."""
        counts = cassette.counts
        self.replayed += counts.replayed
        self.live += counts.live
        self.unused += unused
        self.saved += counts.saved
        self.faults += counts.faults
        self.seconds += cassette.saved_seconds

    def use(self, path: Path, left: Sequence[Recorded] = ()) -> None:
        """Note that a test used *path*, all but what is *left*."""
        numbers = _numbers(path, left) if left else set[int]()
        name = str(path.resolve())
        self.left[name] = self.left.get(name, numbers) & numbers

    @property
    def is_in_use(self) -> bool:
        """Whether there are cassettes at all."""
        return bool(self.left or self.folders)

    def summary(self) -> str:
        """One line; empty if no cassette had anything to do."""
        from ._shown import counted

        words = [f"{self.replayed} replayed", f"{self.live} live", f"{self.unused} unused"]
        words += [f"{self.saved} recorded"] if self.saved else []
        words += [counted(self.faults, "fault")] if self.faults else []
        words += [f"{self.idle} without a call"] if self.idle else []
        words += [f"saved {self.seconds:.0f} s"] if self.seconds >= 0.5 else []
        return f"respan: {', '.join(words)}" if any(self._happened) else ""

    @property
    def _happened(self) -> tuple[int, ...]:
        return self.replayed, self.live, self.unused, self.faults, self.idle

    # -- between processes

    def portable(self) -> dict[str, Any]:
        """In plain values."""
        sums = {name: getattr(self, name) for name in _SUMS}
        sets = {name: sorted(getattr(self, name)) for name in _SETS}
        return {**sums, **sets, "left": {path: sorted(numbers) for path, numbers in self.left.items()}}

    def merge(self, other: Mapping[str, Any]) -> None:
        """Add what another process has, as :meth:`portable` gives it."""
        for name in _SUMS:
            setattr(self, name, getattr(self, name) + other[name])
        for name in _SETS:
            getattr(self, name).update(other[name])
        for path, numbers in other["left"].items():
            self.left[path] = self.left.get(path, {*numbers}) & {*numbers}


def _numbers(path: Path, left: Sequence[Recorded]) -> set[int]:
    """Where in the file *path* the recordings *left* stand; of equal ones, the last."""
    from ._files import opened

    rest, numbers = [*left], set[int]()
    for number, recorded in reversed([*enumerate(opened(path).calls, 1)]):
        if recorded in rest:
            rest.remove(recorded)
            numbers.add(number)
    return numbers
