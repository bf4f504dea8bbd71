"""Cassettes that belong to no test any more, and recordings that no test asks for; known only after a run of all tests.

A file is kept where in doubt: a test that was skipped or failed may use it, and so may those of a file that was skipped
as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from ._files import cassettes_in, opened
from .errors import CassetteError
from .leftovers import Leftovers, noted


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plugin_ledger import Ledger


__all__ = ["leftovers_of", "orphans_of", "relative", "why_partial"]


#: Options of pytest that leave tests out.
_NARROWING: Final = {
    "keyword": "-k",
    "markexpr": "-m",
    "lf": "--lf",
    "stepwise": "--sw",
    "deselect": "--deselect",
    "ignore": "--ignore",
    "ignore_glob": "--ignore-glob",
    "collectonly": "--collect-only",
}


def why_partial(config: pytest.Config) -> str:
    """Why the tests of this run are not all, as far as the command line tells; empty if they are."""
    narrowed = [flag for name, flag in _NARROWING.items() if config.getoption(name, None)]
    if narrowed:
        return f"{narrowed[0]} was given"
    if config.args_source is pytest.Config.ArgsSource.ARGS:
        return "paths were given"
    is_below = config.invocation_params.dir.resolve() != config.rootpath.resolve()
    is_here = config.args_source is pytest.Config.ArgsSource.INVOCATION_DIR
    return "it began in a folder below the project's" if is_here and is_below else ""


def orphans_of(ledger: Ledger) -> list[Path]:
    """Cassettes in the run's folders that belong to no test, sorted."""
    folders = filter(Path.is_dir, map(Path, ledger.folders))
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


def leftovers_of(ledger: Ledger, orphans: Sequence[Path], folder: Path) -> Leftovers:
    """What a run has not used; with paths as :func:`relative` has them."""
    unused = {
        relative(Path(path), folder): noted(Path(path), sorted(numbers))
        for path, numbers in sorted(ledger.left.items())
        if numbers
    }
    return Leftovers(unused, tuple(relative(path, folder) for path in orphans))


def relative(path: Path, folder: Path) -> str:
    """*path* from *folder* if it lies below it, else as it is."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
