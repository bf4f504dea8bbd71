"""The end of a test run: the line that sums it up, and what is said about files that no test used."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from ._shown import counted
from .errors import CassetteError
from .plugin_orphans import leftovers_of, orphans_of, relative, why_partial


if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plugin_run import Run


__all__ = ["conclude"]


def conclude(run: Run, session: pytest.Session, exit_code: int) -> list[str]:
    """Do what is to be done once at the end of the run; returns the lines that are shown.

    Orphans that are errors make a run that passed fail.
    """
    summary = run.ledger.summary()
    lines = [*([summary] if summary else []), *_outgrown(run, session), *_refused(run, session), *_first(run)]
    if run.settings.orphans == "ignore" and not run.settings.report:
        return lines
    why = why_partial(session.config) or _why_unfinished(run, exit_code)
    if why:
        return lines + _refusals(run, why)
    return lines + _whole(run, session)


def _outgrown(run: Run, session: pytest.Session) -> list[str]:
    """No warnings, for those may be errors, and the tests have passed."""
    if not run.ledger.outgrown:
        return []
    start, paths = session.config.invocation_params.dir.resolve(), sorted(run.ledger.outgrown)
    keep = f"{counted(len(paths), 'cassette')} {'keeps' if len(paths) == 1 else 'keep'}"
    return [
        f"respan: {keep} recordings that were not asked for, for the mode new drops none:",
        *(f"  {relative(Path(path), start)}" for path in paths),
        "  drop them:  --respan-record=rewrite; or --respan-cassette-report=F, respan-openai cassettes prune F",
    ]


def _refused(run: Run, session: pytest.Session) -> list[str]:
    """Who records with a wrong key, in a test that expects no answer, would never be told."""
    if not run.ledger.refused:
        return []
    start = session.config.invocation_params.dir.resolve()
    found = (each.rpartition(": ") for each in sorted(run.ledger.refused))
    return [
        "respan: recorded with errors; if a test is not about one, record it again:",
        *(f"  {relative(Path(path), start)}: {status}" for path, _, status in found),
    ]


def _first(run: Run) -> list[str]:
    """Who has just recorded the first cassettes of a folder is told how a review folds them."""
    if not run.ledger.saved:
        return []
    places = sorted(place for name in run.ledger.missing if (place := _unfolded(name)))
    head = "respan: the first cassettes; so that a review folds them, add to .gitattributes:"
    return [head, *(f"  {place} linguist-generated" for place in places)] if places else []


def _unfolded(name: str) -> str:
    """A pattern of git's for the folder *name*; empty if that is in no repository, holds no cassettes, or is told."""
    folder = Path(name).resolve()
    above = [each for each in folder.parents if (each / ".git").exists()]
    if not above or not folder.is_dir():
        return ""
    files = [each / ".gitattributes" for each in folder.parents if each.is_relative_to(above[0])]
    try:
        lines = [
            line
            for path in files
            if path.is_file()
            for line in path.read_text("utf-8", "replace").splitlines()
        ]
    except OSError:
        return ""
    told = (line for line in lines if folder.name in line and not line.lstrip().startswith("#"))
    if any("linguist-generated" in re.split(r"[\s=]+", line) for line in told):
        return ""
    place = f"{folder.relative_to(above[0]).as_posix()}/**"
    return f'"{place}"' if " " in place else place


def _why_unfinished(run: Run, exit_code: int) -> str:
    if exit_code not in {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}:
        return "the run did not come to its end"
    return next(iter(sorted(run.ledger.partial)), "")


def _refusals(run: Run, why: str) -> list[str]:
    """What was asked for, and cannot be done. Orphans are looked for without being asked, so of these only the rest."""
    asked = [f"{run.settings.report} is not written"] if run.settings.report else []
    asked += ["orphans are not looked for"] if run.settings.orphans in {"error", "delete"} else []
    return [f"respan: {' and '.join(asked)}: not all tests were run ({why})."] if asked else []


def _whole(run: Run, session: pytest.Session) -> list[str]:
    start, orphans = session.config.invocation_params.dir.resolve(), orphans_of(run.ledger)
    lines = _told(run.settings.orphans, orphans, start)
    if run.settings.orphans == "error" and orphans and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if run.settings.orphans == "delete":
        orphans = []
    return lines + (_report(run, orphans, start) if run.settings.report else [])


#: What is said of orphans: whether they are removed, whether it is one.
_VERBS: Final = {
    (False, True): "belongs to no test",
    (False, False): "belong to no test",
    (True, True): "belonged to no test and was removed",
    (True, False): "belonged to no test and were removed",
}


def _told(orphans_are: str, orphans: Sequence[Path], start: Path) -> list[str]:
    if not orphans or orphans_are == "ignore":
        return []
    verb = _VERBS[orphans_are == "delete", len(orphans) == 1]
    advice = [] if orphans_are == "delete" else ["  remove them:  --respan-orphans=delete"]
    problems = _remove(orphans) if orphans_are == "delete" else []
    names = [f"  {relative(path, start)}" for path in orphans]
    return [f"respan: {counted(len(orphans), 'cassette')} {verb}:", *names, *advice, *problems]


def _remove(paths: Sequence[Path]) -> list[str]:
    from ._files import removed

    problems: list[str] = []
    for path in paths:
        try:
            removed(path)
        except CassetteError as exc:
            problems.append(f"  {exc}")
    return problems


def _report(run: Run, orphans: Sequence[Path], start: Path) -> list[str]:
    from .leftovers import written_leftovers

    path = start / run.settings.report
    leftovers = leftovers_of(run.ledger, orphans, start)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written_leftovers(leftovers), encoding="utf-8")
    except OSError as exc:
        return [f"respan: {path}: cannot be written ({exc.strerror or type(exc).__name__})."]
    unused = counted(sum(len(each.calls) for each in leftovers.unused.values()), "unused recording")
    files = f"{counted(len(orphans), 'file')} of no test"
    return [f"respan: {unused} and {files}: see {run.settings.report}"]
