"""Cassettes in a test run: opened for a test or a block, closed with a verdict, and counted.

A test has passed if its setup and its call have; that is known when fixtures are torn down, because pytest has made
those reports by then.
"""

from __future__ import annotations

import os
import secrets
import warnings
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .errors import CassetteError
from .plugin_keys import Keys
from .plugin_ledger import Ledger
from .plugin_network import Guard
from .plugin_orphans import why_partial
from .plugin_settings import Settings


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .cassette import Cassette
    from .options import Options


__all__ = ["RUN", "Run", "failed"]


def failed(text: str, hint: str = "") -> BaseException:
    """pytest's own outcome, which neither the SDK nor an ``except Exception`` takes for an error; without a traceback."""
    return pytest.fail.Exception(f"{text}{hint}", pytrace=False)


class _Course:
    """What is known about a test that runs."""

    def __init__(self) -> None:
        self.outcomes: dict[str, bool] = {}
        self.cassettes: list[Cassette] = []

    @property
    def passed(self) -> bool:
        return self.outcomes.get("setup", False) and self.outcomes.get("call", False)


_COURSE = pytest.StashKey[_Course]()


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
        self.ledger.partial |= {reason for reason in [why_partial(config)] if reason}
        self._id = _id_of(config)
        self._guard = Guard(self.settings.allowed, failed)
        self._keys = Keys()
        self._blocks: list[Cassette] = []
        self._recorded: set[Path] = set()
        self._tests = 0
        self._failures = 0

    # -- tests

    def collected(self, item: pytest.Item) -> None:
        """*item* is one of the tests; there may be cassettes beside its file."""
        self.ledger.collected.add(item.nodeid)
        folder = item.path.parent / self.settings.folder
        if str(folder) not in self.ledger.folders and folder.is_dir():
            self.ledger.folders.add(str(folder))

    @contextmanager
    def around(self, item: pytest.Item) -> Iterator[None]:
        """While *item* runs, its fixtures included."""
        item.stash[_COURSE] = _Course()
        self._tests += 1
        if self._will_replay(item):
            self._keys.lend()
        try:
            if self.settings.blocks_network:
                with self._guard.during(item.nodeid):
                    yield
            else:
                yield
        finally:
            self._keys.take_back()

    def _will_replay(self, item: pytest.Item) -> bool:
        fixtures: list[str] = getattr(item, "fixturenames", [])
        if not (is_marked(item) or {"respan_cassette", "respan_cassettes"} & {*fixtures}):
            return self.settings.is_auto
        try:
            return self.settings.options(*_marked(item)).mode == "none"
        except CassetteError:
            return False  # said when the cassette is opened

    def saw(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """*report* was made for *item*; a mismatch that it does not show is added to it."""
        course = item.stash[_COURSE]
        if report.when == "setup":
            course.outcomes.clear()
        course.outcomes[report.when] = course.outcomes.get(report.when, True) and report.passed
        if report.failed:
            self._failures += 1
            shown = report.longreprtext
            hidden = [text for each in (*course.cassettes, *self._blocks) for text in each.mismatches]
            report.sections += [("respan cassette", text) for text in hidden if text not in shown]
        if report.when == "call" and course.passed:
            self.ledger.passed.add(item.nodeid)

    # -- cassettes

    @contextmanager
    def during_test(
        self, item: pytest.Item, folder: Path, name: str, config: Mapping[str, Any]
    ) -> Iterator[Cassette]:
        """The cassette *name* in *folder* in front of the network, for the rest of the test *item*."""
        course = item.stash[_COURSE]
        path, extra = places(item, folder, name)
        layers = [{"unused": "ignore"}] if _is_shared(item) else []
        ...

    @contextmanager
    def during_block(self, path: Path, options: Mapping[str, Any]) -> Iterator[Cassette]:
        ...
