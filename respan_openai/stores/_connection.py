"""One SQLite connection that threads take turns with, for as long as each is willing to wait.

1. A transaction that writes begins as one (``BEGIN IMMEDIATE``): one that began by reading would fail at
   once, however long it may wait, if another had written meanwhile (sqlite.org/lang_transaction.html).
2. Writers of one process queue for a lock before they queue for the file, where waiting is a matter of luck.
3. What SQLite reports becomes a ``StoreError`` that says what to do, and never holds a value.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager, suppress
from threading import Lock
from typing import TYPE_CHECKING, Final

from ..exceptions import StoreError
from ._schema import check_version


if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


__all__ = ["Connection", "explained", "is_damage"]


_BUSY: Final = "is locked by another process. Try again, and look for one that holds a transaction open"
_DAMAGED: Final = "is damaged. Move it aside; the store makes a new one when it is opened"

_REASONS: Final = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_CANTOPEN: "cannot be opened. Check its folder and its owner",
    sqlite3.SQLITE_CONSTRAINT: "does not take this: a value is missing, or beyond 64 bits",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: "cannot grow: the disk is full. Make room",
    sqlite3.SQLITE_IOERR: "cannot be read or written. Check the disk",
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_READONLY: "is read-only. Check its mode, its owner and how the disk is mounted",
}

# Connections that a child inherited. Even closing them there could damage the file
# (sqlite.org/howtocorrupt.html, section 2.6).
_inherited: Final[list[sqlite3.Connection]] = []


def _code(exc: BaseException) -> int:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF  # the upper bits say more than is needed


def is_damage(exc: BaseException) -> bool:
    """Whether *exc* says that the file is no database, or not a whole one."""
    return _code(exc) in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def explained(path: Path, exc: Exception) -> StoreError:
    """What became of the file at *path*, in words."""
    return StoreError(f"{path} {_REASONS.get(_code(exc), f'could not be used ({type(exc).__name__})')}.")


class Connection:
    """A connection to the file at *path*, opened at once.

    Args:
        path: An existing file, with its tables in place.
        synchronous: ``FULL``: what is committed survives a power failure. ``NORMAL``: it survives the
            process, and the file stays whole in any case.
        writers: Held by whoever writes to this file from this process.

    Raises:
        StoreError: if it cannot be opened.
    """

    def __init__(self, path: Path, synchronous: str, writers: Lock) -> None:
        self._path, self._synchronous, self._writers = path, synchronous, writers
        self._lock = Lock()
        self._connection: sqlite3.Connection | None = None
        self._open()

    def _open(self) -> None:
        self._patience = -1
        try:
            # Transactions are begun here, not by the module; and the lock sees to it that threads take turns.
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._file = _place(self._path)
        except sqlite3.Error as exc:
            raise explained(self._path, exc) from None
        self._connection = connection

    @contextmanager
    def reading(self, wait: float) -> Generator[sqlite3.Connection]:
        """The connection, for one statement that reads, after at most *wait* seconds.

        Raises:
            StoreError: if the file cannot be used, or not in time.
        """
        with self._turn(time.monotonic() + wait) as connection:
            check_version(connection)
            yield connection

    @contextmanager
    def writing(self, wait: float, patience: float | None = None) -> Generator[sqlite3.Connection]:
        """As :meth:`reading`, for a transaction, which is committed at the end unless it was rolled back.

        Other processes are waited for *patience* seconds at most, and no longer than *wait* in all.
        """
        deadline = time.monotonic() + wait
        with _held(self._writers, self._path, deadline), self._turn(deadline, patience) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                check_version(connection)
                yield connection
                if connection.in_transaction:
                    connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def _turn(self, deadline: float, patience: float | None = None) -> Generator[sqlite3.Connection]:
        with _held(self._lock, self._path, deadline):
            left = deadline - time.monotonic()
            try:
                yield self._ready(left if patience is None else min(left, patience))
            except StoreError as exc:
                raise StoreError(f"{self._path}: {exc}") from None
            # A number beyond 64 bits, and text that is no text, do not reach SQLite.
            except (sqlite3.Error, OverflowError, UnicodeError) as exc:
                raise explained(self._path, exc) from None

    def _ready(self, patience: float) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError("the store is closed. Open another one.")
        self._check_place()
        milliseconds = max(0, int(patience * 1000))
        if milliseconds != self._patience:
            self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
            self._patience = milliseconds
        return self._connection

    def _check_place(self) -> None:
        # Without this a deleted file would be written to until the process ends, and nobody would find it.
        if self._file is None or _place(self._path) != self._file:
            raise StoreError(
                "the file was moved, deleted or replaced while it was open. Open the store again."
            )

    def close(self) -> None:
        """Close it, once the thread that uses it is done."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def pause(self) -> None:
        """Wait until no thread uses it."""
        self._lock.acquire()

    def resume(self, *, child: bool) -> None:
        """Let threads use it again; in a *child* process, a connection of its own."""
        connection = self._connection
        if child and connection is not None:
            _inherited.append(connection)
            self._connection = None
            with suppress(StoreError):  # whoever asks for it next is told that it is closed
                self._open()
        self._lock.release()


def _place(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


@contextmanager
def _held(lock: Lock, path: Path, deadline: float) -> Generator[None]:
    if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
        raise StoreError(f"{path} is in use by other threads of this process, for longer than this may wait.")
    try:
        yield
    finally:
        lock.release()
