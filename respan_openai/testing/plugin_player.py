"""Opens and closes cassettes for tests, and keeps around them what must hold while they are open.

While a cassette sends, the hosts that it needs may be reached, and no stand-in for a key is in the environment.
While one replays, there is a key for every client, and nobody reaches those hosts past it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest

from .errors import CassetteError
from .plugin_keys import Keys
from .plugin_network import Guard


if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ._cassette import Cassette
    from .options import Options
    from .plugin_ledger import Ledger
    from .plugin_settings import Settings
    from .recording import Recorded


__all__ = ["Player", "failed"]


def failed(text: str, hint: str = "") -> BaseException:
    """pytest's own outcome, without a traceback; neither the SDK nor ``except Exception`` takes it for an error."""
    return pytest.fail.Exception(text + hint, pytrace=False)


class Player:
    """All cassettes of one process.

    Args:
        settings: What holds for all of them.
        ledger: Where they are counted.
        run: Id of the test run, the same in all of its processes.

    Attributes:
        guard: Refuses connections where they are blocked.
        keys: Stand-ins for keys.
    """

    def __init__(self, settings: Settings, ledger: Ledger, run: str) -> None:
        self.guard = Guard(settings.allowed, failed)
        self.keys = Keys()
        self._settings = settings
        self._ledger = ledger
        self._run = run
        self._open: list[Cassette] = []
        self._recorded: set[Path] = set()
        self._refuse(())

    @property
    def is_on(self) -> bool:
        """Whether any is open."""
        return bool(self._open)

    def open(self, path: Path, options: Options, *, test: str | None = None, hint: str = "") -> Cassette:
        """Put a cassette in front of the network.

        Raises:
            CassetteError: if it cannot be used.
        """
        from ._cassette import Cassette

        if options.mode == "once" and path in self._recorded:
            options = replace(options, mode="new")  # another test of this run has begun the file
        cassette = Cassette(path, options, test=test, run=self._run)
        cassette.raising = partial(failed, hint=hint)
        self._open.append(cassette.start())
        self._settle()
        return cassette

    def close(self, cassette: Cassette, warn: Callable[[Warning], None], *, passed: bool) -> list[str]:
        """Take *cassette* away; returns what is wrong, text by text.

        Args:
            cassette: One that is open.
            warn: Is told of what is not quite wrong.
            passed: Whether what used the cassette did.
        """
        unused = cassette.options.unused
        left = cassette.unused if passed and not cassette.mismatches else []
        problems = self._stopped(cassette, passed=passed)
        self._ledger.add(cassette, 0 if unused == "ignore" else len(left))
        self._use(cassette, left)
        if left and unused != "ignore":
            self._tell(cassette, len(left), warn if unused == "warn" else None)
        return [*(cassette.mismatches if passed else ()), *problems]

    def _tell(self, cassette: Cassette, left: int, warn: Callable[[Warning], None] | None) -> None:
        """Say that so many recordings are *left*: in the mode ``new`` at the end of the run."""
        from ._shown import counted

        if cassette.mode == "new":
            self._ledger.outgrown.add(str(cassette.path.resolve()))
        elif warn is not None:
            text = f"respan cassette: {counted(left, 'recorded call')} not asked for in {cassette.path}."
            warn(pytest.PytestWarning(text))

    def _stopped(self, cassette: Cassette, *, passed: bool) -> list[str]:
        if cassette.options.unused == "warn":
            cassette.options = replace(cassette.options, unused="ignore")
        try:
            problems = cassette.stop(passed=passed)
        except CassetteError as exc:
            problems = [str(exc)]
        self._open.remove(cassette)
        self._settle()
        return [f"respan cassette: {problem}" for problem in problems]

    def _use(self, cassette: Cassette, left: Sequence[Recorded]) -> None:
        self._ledger.use(cassette.path, left if self._settings.report else ())
        for path in cassette.options.extra:
            self._ledger.use(cassette.path.parent / path)
        if cassette.counts.saved:
            self._recorded.add(cassette.path)
            path = cassette.path.resolve()
            self._ledger.refused |= {f"{path}: {status}" for status in cassette.errors}

    def _settle(self) -> None:
        is_live = any(each.is_recording or each.mode in {"verify", "off"} for each in self._open)
        self.guard.allowed = [*self._settings.allowed, *(self._settings.hosts if is_live else ())]
        self._refuse(self._settings.hosts if self._open and not is_live else ())
        if is_live:
            self.keys.take_back()
        elif self._open:
            self.keys.lend()

    def _refuse(self, hosts: Sequence[str]) -> None:
        self.guard.refused = ["*"] if self._settings.blocks_network else [*hosts]
