"""A cassette's file: read at the start, written once at the end, so that nobody ever sees half of it.

Processes that share a file take turns, and each adds what it has recorded to what is there by then. Nothing is
written that a scan finds a secret in.
"""

from __future__ import annotations

import errno
import getpass
import os
import stat
import tempfile
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING
from uuid import uuid4

from .._versions import version_of
from ._files import opened, write
from .errors import CassetteError
from .recording import Recorded, Tape


if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from .options import Options
    from .secrets import Secrets


__all__ = ["Keeper"]


class Keeper:
    """The file of one cassette, and those that it may read besides.

    Args:
        path: Of the file.
        options: Of the cassette.
        test: Node id of the test.
        run: Id of the test run, the same in all of its processes; default a new one. What a ``rewrite`` of this run
            has written is added to, what was there before is replaced.

    Raises:
        CassetteError: if a file cannot be read as a cassette.
    """

    def __init__(self, path: Path, options: Options, *, test: str | None, run: str | None) -> None:
        self._path = path
        self._options = options
        self._test = test
        self._run = run or uuid4().hex
        self._tape = read(path)

    @property
    def exists(self) -> bool:
        """Whether the file was there at the start."""
        return self._tape is not None

    def recorded(self) -> list[Sequence[Recorded]]:
        """The file's calls, then those of each further file."""
        extra = [self._path.parent / Path(each) for each in self._options.extra]
        tapes = [self._tape, *map(read, extra)]
        for path, tape in zip(extra, tapes[1:], strict=True):
            if tape is None:
                raise CassetteError(
                    f"{path}: there is no such cassette. Record it, or leave it out of the list."
                )
        return [() if tape is None else tape.calls for tape in tapes]

    def check(self, *, recording: bool) -> None:
        """Make sure that the file may be used.

        Raises:
            CassetteError: if its recordings are older than ``max_age`` allows, unless they are made anew.
        """
        days = self._options.max_days
        if days is None or recording or self._tape is None or self._tape.recorded is None:
            return
        age = (datetime.now(UTC).date() - date.fromisoformat(self._tape.recorded)).days
        if age > days:
            raise CassetteError(
                f"{self._path}: recorded {age} days ago, and max_age is {self._options.max_age}. Record it anew with "
                "--respan-record=rewrite."
            )

    def save(self, recorded: Sequence[Recorded], secrets: Secrets) -> int:
        """Write *recorded*, with what is to be kept of the file; returns how many were written.

        Raises:
            CassetteError: if a secret was found in what would be written, and then nothing is; or if the file cannot
                be written.
        """
        if not recorded and self._options.mode != "rewrite":
            return 0
        with _turn(self._path) as mark:
            replaces = self._options.mode == "rewrite" and mark.read() != self._run.encode()
            before = None if replaces else read(self._path)
            calls = (*(before.calls if before else ()), *recorded)
            test = self._test if before is None else before.test
            write(self._path, Tape(calls, test, datetime.now(UTC).date().isoformat(), _versions()), secrets)
            mark.seek(0)
            mark.truncate()
            mark.write(self._run.encode())
        return len(recorded)


def read(path: Path) -> Tape | None:
    """The tape in the file *path*, its answers still to be read; ``None`` if there is no such file.

    Raises:
        CassetteFileError: if it is no cassette; the file is left as it is.
    """
    return opened(path, at_once=False) if path.exists() else None


@contextmanager
def _turn(path: Path) -> Generator[IO[bytes]]:
    """Let no other process write the cassette meanwhile; yields a file that says whose run wrote it last.

    That file is the lock, and lies outside the repository that the cassette is in.

    Raises:
        CassetteError: if it cannot be used, or might be somebody else's.
    """
    name = sha256(str(path.resolve()).encode()).hexdigest()[:24]
    lock = Path(tempfile.gettempdir()) / f"respan-cassette-{getpass.getuser()}-{name}.lock"
    try:
        with _lock_file(lock) as file:
            yield file
    except OSError as exc:
        raise CassetteError(
            f"{path}: not written, because {lock} cannot be its lock ({exc.strerror or type(exc).__name__}). Remove "
            "that file, or let TMPDIR name a folder of your own."
        ) from None


@contextmanager
def _lock_file(path: Path) -> Generator[IO[bytes]]:
    # Others may write to that folder too. What they could put there to have a file of ours overwritten is a link.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
    with os.fdopen(descriptor, "r+b") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise OSError(errno.EINVAL, "it is a link or a device")
        _hold(descriptor)
        yield file


if os.name == "nt":  # pragma: no cover -- tested where it runs

    def _hold(descriptor: int) -> None:
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]

else:

    def _hold(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _versions() -> str:
    return ", ".join(f"{name} {version_of(name)}" for name in ("openai", "respan-openai"))
