"""A cassette's file: read at the start, written once at the end, so that nobody ever sees half of it.

Processes that share a file take turns, and each adds what it has recorded to what is there by then. Nothing is
written that a scan finds a secret in.
"""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager
from datetime import UTC, date, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import CassetteError
from .format import dumps, loads
from .gate import leaks
from .recording import Recorded, Tape


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .options import Options
    from .secrets import Secrets


__all__ = ["Keeper"]


class Keeper:
    """The file of one cassette, and those that it may read besides.

    Args:
        path: Of the file.
        options: Of the cassette.
        test: Node id of the test.
        run: Id of the test run, the same in all of its processes: what a ``rewrite`` of this run has written is added
            to, what was there before is replaced.

    Raises:
        CassetteError: if a file cannot be read as a cassette.
    """

    def __init__(self, path: Path, options: Options, *, test: str | None, run: str | None) -> None:
        self._path = path
        self._options = options
        self._test = test
        self._run = run or f"process {os.getpid()}"
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
                raise CassetteError(f"{path}: there is no such cassette. Record it, or leave it out of the list.")
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
        try:
            with _turn(self._path) as mark:
                is_ours = mark.read() == self._run
                replaces = self._options.mode == "rewrite" and not is_ours
                before = None if replaces else read(self._path)
                self._write(Tape(
                    (*(before.calls if before else ()), *recorded),
                    self._test if before is None else before.test,
                    datetime.now(UTC).date().isoformat(),
                    _versions(),
                ), secrets)  # fmt: skip
                mark.write(self._run)
        except OSError as exc:
            raise CassetteError(f"{self._path}: cannot be written ({exc.strerror or type(exc).__name__}).") from exc
        return len(recorded)

    def _write(self, tape: Tape, secrets: Secrets) -> None:
        files: dict[str, bytes] = {}
        text = dumps(tape, files)
        found = [
            f"{name}: {leak.place}: {leak.what}"
            for name, content in {self._path.name: text, **files}.items()
            for leak in leaks(content, secrets)
        ]
        if found:
            raise CassetteError(
                f"{self._path}: not written, because it would hold a secret. {'; '.join(found[:5])}. Name what must be "
                "replaced with redact=[...]."
            )
        self._path.parent.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            target = self._path.parent / name
            target.parent.mkdir(exist_ok=True)
            _replace(target, content)
        _replace(self._path, text.encode())


def read(path: Path) -> Tape | None:
    """The tape in the file *path*; ``None`` if there is no such file.

    Raises:
        CassetteError: if it is no cassette; the file is left as it is.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as exc:
        raise CassetteError(f"{path}: cannot be read ({type(exc).__name__}).") from exc
    try:
        return loads(text, lambda name: (path.parent / name).read_bytes())
    except CassetteError as exc:
        raise CassetteError(f"{path}: {exc}") from None


def _replace(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


class _Mark:
    """What a lock file says: whose run wrote the cassette last."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        return self._path.read_text(encoding="utf-8")

    def write(self, run: str) -> None:
        self._path.write_text(run, encoding="utf-8")


@contextmanager
def _turn(path: Path) -> Iterator[_Mark]:
    """Let no other process write the cassette meanwhile. The lock lies outside the repository that the file is in."""
    name = sha256(str(path.resolve()).encode()).hexdigest()[:24]
    lock = Path(tempfile.gettempdir()) / f"respan-cassette-{name}.lock"
    with lock.open("a+b") as file:
        _hold(file.fileno())
        yield _Mark(lock)


if os.name == "nt":  # pragma: no cover -- tested where it runs

    def _hold(descriptor: int) -> None:
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]

else:

    def _hold(descriptor: int) -> None:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _versions() -> str:
    return ", ".join(f"{name} {_version(name)}" for name in ("openai", "respan-openai"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
