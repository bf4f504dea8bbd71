"""Cassettes that belong to no test any more, and recordings that no test asks for; known only after a run of all tests.

A file is kept where in doubt: a test that was skipped or failed may use it, and so may tests of a file that was skipped
as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from .errors import CassetteError
from .files import cassettes_in, opened, removed
from .leftovers import Leftovers, noted, written_leftovers


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plugin_ledger import Ledger


__all__ = ["leftovers_of", "orphans_of", "remove", "why_partial"]


#: Options of pytest that leave tests out, and their values where they do not.
_NARROWING: Final = {
    "keyword": "-k",
    "markexpr": "-m",
    "lf": "--lf",
    "stepwise": "--sw",
    "deselect": "--deselect",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
}


def why_partial(config: pytest.Config) -> str:
    """Why the tests of this run are not all; empty if they are, as far as the command line tells."""
    narrowed = [flag for name, flag in _NARROWING.items() if config.getoption(name, None)]
    if narrowed:
        return f"{narrowed[0]} was given"
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return "paths were given"
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS and _is_below(config):
        return "it was started in a folder below the project's"
    return ""


def _is_below(config: pytest.Config) -> bool:
    return config.invocation_params.dir.resolve() != config.rootpath.resolve()


def orphans_of(ledger: Ledger) -> list[Path]:
    """Cassettes in the run's folders that belong to no test, sorted."""
    folders = [Path(each) for each in sorted(ledger.folders)]
    found = {path.resolve() for path in cassettes_in(folders)}
    return sorted(path for path in found if str(path) not in ledger.left and _is_orphan(path, ledger))


def _is_orphan(path: Path, ledger: Ledger) -> bool:
    undecided = ledger.collected - ledger.passed
    try:
        test = opened(path).test
    except CassetteError:
        return False
    if test is None:
        return not undecided and not ledger.unread
    return test not in undecided and test.partition("::")[0] not in ledger.unread


def remove(paths: Sequence[Path]) -> list[str]:
    """Remove cassettes; returns what could not be, and why."""
    problems: list[str] = []
    for path in paths:
        try:
            removed(path)
        except CassetteError as exc:
            problems.append(str(exc))
    return problems


def leftovers_of(ledger: Ledger, orphans: Sequence[Path], folder: Path) -> Leftovers:
    """What a run has not used; paths are relative to *folder* where they lie below it."""
    unused = {
        _relative(Path(path), folder): noted(Path(path), sorted(numbers))
        for path, numbers in sorted(ledger.left.items())
        if numbers
    }
    return Leftovers(unused, tuple(_relative(path, folder) for path in orphans))


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def report_to(path: Path, leftovers: Leftovers) -> None:
    """Write the report for ``cassettes prune``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(written_leftovers(leftovers), encoding="utf-8")
