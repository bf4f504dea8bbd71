"""A test run and its tests: which of them passed, and which cassettes they use.

A test has passed if its setup and its call have: pytest has made those reports by the time that fixtures are torn down.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from inspect import currentframe
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from warnings import warn

import pytest

from .errors import CassetteError
from .plugin_ledger import Ledger
from .plugin_places import MARKER, asked, default_name, hint, names_in, place
from .plugin_player import Player, failed
from .plugin_settings import Settings


if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import FrameType

    from ._cassette import Cassette


__all__ = ["Cassettes", "Run"]


class _Course:
    """What is known about a test that runs."""

    def __init__(self) -> None:
        self._passed: dict[str, bool] = {}
        self.cassettes: list[Cassette] = []

    def note(self, report: pytest.TestReport) -> None:
        """Of a phase; there are several of one if it has subtests, and a setup begins another attempt."""
        if report.when == "setup":
            self._passed.clear()
        self._passed[report.when] = self._passed.get(report.when, True) and report.passed

    @property
    def passed(self) -> bool:
        """Whether the attempt has, so far."""
        return self._passed.get("setup", False) and self._passed.get("call", False)


_COURSE: Final = pytest.StashKey[_Course]()


class Run:
    """One process of a test run.

    Attributes:
        settings: What holds for all of it.
        ledger: What was done so far, here and in the workers that are over.

    Raises:
        pytest.UsageError: if the settings are not accepted.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.settings = Settings(config)
        self.ledger = Ledger()
        run = getattr(config, "workerinput", {}).get("testrunuid") or secrets.token_hex(8)
        self._player = Player(self.settings, self.ledger, run)
        self._blocks: list[Cassette] = []
        self._named = Counter[tuple[Path, str]]()
        self._tests = 0
        self._failures = 0

    def collected(self, item: pytest.Item) -> None:
        """*item* is one of the tests; there may be cassettes beside its file."""
        self.ledger.collected.add(item.nodeid)
        self._named.update((item.path.parent, name) for name in names_in(item))
        folder = str(item.path.parent / self.settings.folder)
        if folder not in self.ledger.folders and folder not in self.ledger.missing:
            is_there = os.path.isdir(folder)  # noqa: PTH112 -- asked for every folder with tests
            (self.ledger.folders if is_there else self.ledger.missing).add(folder)

    @contextmanager
    def around(self, item: pytest.Item) -> Generator[None]:
        """While *item* runs, with all of its fixtures."""
        item.stash[_COURSE] = _Course()
        self._tests += 1
        with ExitStack() as stack:
            stack.callback(self._player.keys.take_back)
            is_used = self._player.is_on or self._uses_cassette(item)
            if self._player.is_on or (is_used and self._will_replay(item)):
                self._player.keys.lend()
            if is_used or self.settings.blocks_network:
                stack.enter_context(self._player.guard.during(item.nodeid))
            yield

    def _will_replay(self, item: pytest.Item) -> bool:
        """Whether *item* is to find keys when its first fixture makes a client."""
        try:
            return self.settings.options(*asked(item).options).mode == "none"
        except CassetteError:
            return False  # which is said when the cassette is opened

    def _uses_cassette(self, item: pytest.Item) -> bool:
        if item.get_closest_marker(MARKER) is not None:
            return True
        if {"respan_cassette", "respan_cassettes"}.intersection(getattr(item, "fixturenames", ())):
            return True
        if not self.settings.is_auto:
            return False
        folder = Path(self.settings.folder)
        return (item.path.parent / folder / default_name(item.nodeid, folder)).exists()

    def saw(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """*report* was made for *item*; a mismatch that it does not show is added to it."""
        course = item.stash[_COURSE]
        course.note(report)
        if report.failed:
            self._failures += 1
            texts = [text for each in (*course.cassettes, *self._blocks) for text in each.mismatches]
            shown = report.longreprtext if texts else ""
            report.sections += [("respan cassette", text) for text in texts if text not in shown]
        if report.when == "call" and course.passed:
            self.ledger.passed.add(item.nodeid)

    # -- their cassettes

    def begin(self, item: pytest.Item, folder: Path, name: str, config: Mapping[str, Any]) -> Cassette:
        """Put a cassette in front of the network for *item*: *name* in *folder*, if its markers say nothing else."""
        try:
            cassette = self._cassette_of(item, folder, name, config)
        except CassetteError as exc:
            raise failed(f"respan cassette: {exc}") from None
        item.stash[_COURSE].cassettes.append(cassette)
        return cassette

    def _cassette_of(self, item: pytest.Item, folder: Path, name: str, config: Mapping[str, Any]) -> Cassette:
        wanted = asked(item)
        path = place(folder, name if wanted.name is None else wanted.name)
        shared = {"unused": "ignore"} if wanted.is_shared or self._is_shared(item) else dict[str, Any]()
        extra = {"extra": [place(folder, each) for each in wanted.extra]}
        options = self.settings.options(shared, config, *wanted.options, extra)
        is_lost = options.mode == "none" and not path.exists()
        moved = hint(item.nodeid, folder, self.ledger.collected) if is_lost else ""
        return self._player.open(path, options, test=item.nodeid, hint=moved)

    def _is_shared(self, item: pytest.Item) -> bool:
        """Whether other tests of this run name the same cassette."""
        return any(self._named[item.path.parent, name] > 1 for name in names_in(item))

    def end(self, item: pytest.Item, cassette: Cassette) -> None:
        """Take *cassette* away again.

        Raises:
            BaseException: pytest's outcome, if anything is wrong that the test has not shown.
        """
        course = item.stash[_COURSE]
        course.cassettes.remove(cassette)
        self.ledger.idle += course.passed and _is_idle(item, cassette)
        _judge(self._player.close(cassette, item.warn, passed=course.passed))

    @contextmanager
    def block(self, folder: Path, names: Sequence[str], options: Mapping[str, Any]) -> Generator[Cassette]:
        """A cassette for a block, wherever it is: the first of *names* in *folder*; the others are only read."""
        tests, failures = self._tests, self._failures
        try:
            path, *extra = [place(folder, each) for each in names]
            cassette = self._player.open(path, self.settings.options(options, {"extra": extra}))
        except CassetteError as exc:
            raise failed(f"respan cassette: {exc}") from None
        self._blocks.append(cassette)
        try:
            yield cassette
        except BaseException:
            self._blocks.remove(cassette)
            self._player.close(cassette, warn, passed=False)
            raise
        self._blocks.remove(cassette)
        if self._tests != tests:  # of the tests that use it, this process need not run all
            cassette.options = replace(cassette.options, unused="ignore")
        _judge(self._player.close(cassette, warn, passed=self._failures == failures))


class Cassettes:
    """The fixture ``respan_cassettes``: cassettes for blocks."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __call__(self, name: str, *extra: str, **options: Any) -> AbstractContextManager[Cassette]:
        """A cassette for a ``with`` block.

        Args:
            name: In the folder for cassettes beside the file in which the call stands.
            extra: Names of further ones, which are only read.
            options: As ``Options`` has them.
        """
        folder = _folder_of(currentframe()) / self._run.settings.folder
        return self._run.block(folder, (name, *extra), options)


def _folder_of(frame: FrameType | None) -> Path:
    """Where the file lies in which the function of *frame* was called."""
    caller = frame and frame.f_back
    return Path(caller.f_code.co_filename).parent if caller else Path()


def _is_idle(item: pytest.Item, cassette: Cassette) -> bool:
    """Whether *item* has a *cassette* for nothing, by a marker of its own: of many under one, some may."""
    is_meant = any(mark.name == MARKER for mark in item.own_markers)
    return is_meant and cassette.mode != "off" and not cassette.requests and not cassette.unused


def _judge(texts: Sequence[str]) -> None:
    if texts:
        raise failed("\n".join(texts))
