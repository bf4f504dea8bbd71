"""Makes a store's file ready to be used: safe from others, sound, and with the tables of this release."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from .._warn import warn
from ..exceptions import ConfigError, StoreError
from ._connection import explained, is_damage
from ._files import network_of, prepare, set_aside
from ._schema import check, migrate


__all__ = ["checked_path", "open_file"]


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
    if _is_sound(path):
        return
    _make_way(path)
    if not _is_sound(path):
        raise StoreError(
            f"{path} is damaged, and there is a damaged file from before ({path.name}.damaged-1). "
            "Find out what damages it, and move both away."
        )


def _is_sound(path: Path) -> bool:
    prepare(path)
    try:
        _set_up(path)
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


def _set_up(path: Path) -> None:
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
    try:
        check(connection)
        _set_journal(connection, _journal_for(path))
        migrate(connection)
    finally:
        connection.close()


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
