"""Makes a store's file ready to be used: safe from others, sound, and with the tables of this release."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from .._warn import warn
from ..exceptions import ConfigError, StoreError
from ._connection import explained, is_damage
from ._files import alone_in, network_of, prepare, set_aside
from ._schema import check, check_current, migrate


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["checked_path", "look_at", "open_file"]


# Seconds to wait for another process that is making the tables.
_WAIT = 5.0


def checked_path(path: str | os.PathLike[str]) -> Path:
    """*path*, made absolute: a change of the working directory later must not mean another file.

    Raises:
        ConfigError: if it is not the path of a file.
    """
    text = os.fspath(path)
    if not text or text == ":memory:" or text.startswith("file:"):
        raise ConfigError(
            "SQLiteStore(path) must be the path of a file. For the memory there is MemoryStore()."
        )
    return Path(text).absolute()


def open_file(path: Path) -> None:
    """Make *path* a file with the tables of this release in it, and give it back closed.

    Raises:
        ConfigError: if others could change it; see :func:`prepare`.
        StoreError: if it cannot be used, is not ours, of a newer version, or damaged once more.
    """
    # One at a time: whoever opens a file that another process moves away at that moment has parts of both.
    with alone_in(path.parent):
        if _is_made(path):
            return
        _make_way(path)
        if not _is_made(path):
            raise StoreError(
                f"{path} is damaged, and there is a damaged file from before ({path.name}.damaged-1). "
                "Find out what damages it, and move both away."
            )


def look_at(path: Path) -> None:
    """Make sure that *path* has the tables of this release already, and change nothing that is in it.

    SQLite itself may bring into the file what a killed process has left beside it.

    Raises:
        ConfigError: if there is no such file.
        StoreError: if it cannot be used, is not ours, damaged, or of another version.
    """
    if not path.is_file():
        raise ConfigError(f"There is no file {path}. Name the one that the gateway writes to.")
    if not _is_sound(path, check_current):
        raise StoreError(f"{path} is not a store, or is damaged. It was left as it is.")


def _is_made(path: Path) -> bool:
    prepare(path)
    return _is_sound(path, partial(_set_up, path))


def _is_sound(path: Path, use: Callable[[sqlite3.Connection], None]) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT, isolation_level=None)) as connection:
            use(connection)
    except sqlite3.Error as exc:
        if is_damage(exc):
            return False
        raise explained(path, exc) from None
    except StoreError as exc:
        raise StoreError(f"{path}: {exc}") from None
    return True


def _make_way(path: Path) -> None:
    aside = set_aside(path)
    if aside is not None:
        warn(
            f"{path} was damaged. It was renamed to {aside.name}, and a new file begun: the cache, the log, "
            "customers, stored prompts and what had been taken from budgets start from nothing."
        )


def _set_up(path: Path, connection: sqlite3.Connection) -> None:
    check(connection)
    _set_journal(connection, _journal_for(path))
    migrate(connection)


def _journal_for(path: Path) -> str:
    kind = network_of(path)
    if kind is None:
        return "WAL"
    warn(
        f"{path} lies on a network file system ({kind}). Processes of several machines would damage it: "
        "use it from one machine, or use RedisStore."
    )
    return "DELETE"


def _set_journal(connection: sqlite3.Connection, mode: str) -> None:
    # SQLite does not wait for others when it changes the mode, although it waits for everything else.
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}")
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
