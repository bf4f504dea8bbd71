"""What changes cassettes: dropping calls, moving a file to another test, redacting anew, importing."""

from __future__ import annotations

from operator import ne
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ._files import cassettes_in, opened, removed, write
from ._shown import counted
from ._yaml import MAX_BYTES
from .errors import CassetteError
from .importing import imported
from .leftovers import STALE, read_leftovers
from .names import file_of
from .recording import Tape
from .redact import Redactor
from .secrets import Secrets


if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO

    from .leftovers import Unused
    from .recording import Recorded


__all__ = ["import_from", "move", "prune", "scrub"]


# -- what nobody uses


def prune(report: Path, out: TextIO, *, dry_run: bool = False) -> int:
    """Drop the recordings and the files that *report* says no test has used; with *dry_run* only say which.

    A file without a recording left is removed. One that has changed since the report is left alone, and then
    the result is 1.

    Raises:
        CassetteError: if the report, or a cassette in it, cannot be read, or one cannot be written.
    """
    leftovers, is_stale = read_leftovers(report), False
    for name, unused in leftovers.unused.items():
        if unused.is_of(Path(name)):
            _drop(Path(name), unused, out, dry_run=dry_run)
        else:
            is_stale = True
            out.write(f"{name}: left alone, {STALE}\n")
    for path in filter(Path.is_file, map(Path, leftovers.orphans)):
        _remove(path, out, dry_run=dry_run)
    return int(is_stale)


def _drop(path: Path, unused: Unused, out: TextIO, *, dry_run: bool) -> None:
    tape = opened(path)
    kept = tuple(call for number, call in enumerate(tape.calls, 1) if number not in unused.calls)
    if not kept:
        _remove(path, out, dry_run=dry_run)
        return
    if not dry_run:
        write(path, tape._replace(calls=kept), Secrets())
    dropped = f"{len(tape.calls) - len(kept)} of {counted(len(tape.calls), 'recording')}"
    out.write(f"{path}: {dropped} {'would be ' if dry_run else ''}dropped\n")


def _remove(path: Path, out: TextIO, *, dry_run: bool) -> None:
    opened(path)  # what is no cassette is not ours to remove
    if not dry_run:
        removed(path)
    out.write(f"{path}: {'would be ' if dry_run else ''}removed\n")


# -- other tests, other rules


def move(path: Path, test: str, out: TextIO) -> int:
    """Make *path* the cassette of *test*, a node id, because that is what its test is called now.

    Raises:
        CassetteError: if the cassette cannot be read or written, it is not named after its test, or the other
            test has one already.
    """
    tape = opened(path)
    target = _moved(path, tape.test or "", test)
    if target is None:
        raise CassetteError(
            f"{path}: not named after the test that recorded it. Rename it where that name is given."
        )
    if target.exists():
        raise CassetteError(f"{target}: exists already. Remove the one of the two that is out of date.")
    write(target, tape._replace(test=test), Secrets())
    removed(path)
    out.write(f"{path}: now {target}\n")
    return 0


def _moved(path: Path, old: str, new: str) -> Path | None:
    """Where the cassette of *new* lies, if that of *old* lies at *path*."""
    ways = [(folder, nested) for nested in (True, False) for folder in path.parents]
    folder, nested = next((way for way in ways if file_of(old, way[0], nested=way[1]) == path), (None, False))
    if folder is None:
        return None
    # Of a test in no folder both ways are the same, and the usual one is meant.
    is_nested = nested and "/" in old
    return file_of(new, folder if is_nested else _beside(folder, old, new), nested=is_nested)


def _beside(folder: Path, old: str, new: str) -> Path:
    """The folder for cassettes beside the test *new*, if *folder* is the one beside the test *old*."""
    was, is_now = (PurePosixPath(test.partition("::")[0]).parent.parts for test in (old, new))
    around = folder.parent.parts
    root = len(around) - len(was)
    return Path(*around[:root], *is_now, folder.name) if around[max(0, root) :] == was else folder


def scrub(paths: Sequence[Path], out: TextIO, *, redact: Sequence[str] = ()) -> int:
    """Replace secrets that became known since the cassettes were recorded, or that somebody wrote into them.

    *redact* names further ones, as the option of a cassette does.

    Raises:
        CassetteError: if a cassette cannot be read or written, or if a secret is left that cannot be
            replaced.
    """
    for path in cassettes_in(paths):
        tape, redactor = opened(path), Redactor(Secrets(), redact)
        calls = tuple(redactor.calls(tape.calls))
        if calls != tape.calls:
            write(path, tape._replace(calls=calls), redactor.secrets)
            out.write(f"{path}: {sum(map(ne, calls, tape.calls))} of {len(calls)} recordings redacted\n")
    return 0


# -- other tools


def import_from(
    source: str, paths: Sequence[Path], out: TextIO, *, folder: Path | None = None, redact: Sequence[str] = ()
) -> int:
    """Write a cassette of ours for each of *source*'s (``vcr`` or ``cassetter``), of the same name and
    ``.json``.

    Args:
        source: Whose cassettes they are.
        paths: YAML files.
        out: Is told what was written.
        folder: Where to; ``None`` for beside each file.
        redact: Further secrets, as the option of a cassette names them.

    Raises:
        CassetteError: if a file cannot be read as such a cassette, there is one of ours already, or a secret
            is left in it that cannot be replaced.
    """
    for path in paths:
        target = (path.parent if folder is None else folder) / f"{path.stem}.json"
        if target.exists():
            raise CassetteError(f"{target}: exists already. Remove it, or write to another folder with --to.")
        redactor = Redactor(Secrets(), redact)
        calls = tuple(redactor.calls(_foreign(source, path, redactor.secrets)))
        write(target, Tape(calls), redactor.secrets)
        out.write(f"{path}: {counted(len(calls), 'recording')}, now {target}\n")
    return 0


def _foreign(source: str, path: Path, secrets: Secrets) -> list[Recorded]:
    try:
        with path.open("rb") as file:
            return imported(file.read(MAX_BYTES + 1), source, secrets)
    except OSError as exc:
        raise CassetteError(f"{path}: cannot be read ({exc.strerror or type(exc).__name__}).") from None
    except CassetteError as exc:
        raise CassetteError(f"{path}: {exc}") from None
