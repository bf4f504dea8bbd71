"""The tables of a store's SQLite file, and how a file grows from one version to the next.

1. ``PRAGMA user_version`` is the number of steps that have been taken. A step is never changed; a new version
   adds one.
2. ``PRAGMA application_id`` tells such a file from another application's.
3. Sizes are counted by triggers, in the transaction that changes them, so that no process has to count rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..exceptions import StoreError


if TYPE_CHECKING:
    from sqlite3 import Connection


__all__ = ["APPLICATION", "STEPS", "VERSION", "check", "check_current", "check_version", "migrate"]


#: ``RSPN``, in the file's header.
APPLICATION = int.from_bytes(b"RSPN", "big")

_CACHE = (
    "CREATE TABLE totals (name TEXT PRIMARY KEY, amount INTEGER NOT NULL) WITHOUT ROWID",
    "INSERT INTO totals VALUES ('cache', 0), ('log', 0)",
    """CREATE TABLE cache
         (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, value BLOB NOT NULL, expires REAL NOT NULL)""",
    "CREATE INDEX cache_expires ON cache (expires)",
    """CREATE TRIGGER cache_added AFTER INSERT ON cache BEGIN
         UPDATE totals SET amount = amount + length(new.key) + length(new.value) WHERE name = 'cache'; END""",
    """CREATE TRIGGER cache_removed AFTER DELETE ON cache BEGIN
         UPDATE totals SET amount = amount - length(old.key) - length(old.value) WHERE name = 'cache'; END""",
)

# SQLite turns a sum beyond 64 bits into a rounded one without a word: the CHECK refuses it.
_LEDGER = (
    """CREATE TABLE budgets (account TEXT NOT NULL, period TEXT NOT NULL,
         taken INTEGER NOT NULL CHECK (typeof(taken) = 'integer'), ends REAL,
         PRIMARY KEY (account, period)) WITHOUT ROWID""",
    "CREATE TABLE holds (hold TEXT PRIMARY KEY, charges TEXT NOT NULL, expires REAL NOT NULL) WITHOUT ROWID",
    "CREATE INDEX holds_expires ON holds (expires)",
)

_RECORDS = (
    "CREATE TABLE customers (identifier TEXT PRIMARY KEY, fields TEXT NOT NULL)",
    "CREATE TABLE prompts (prompt_id TEXT PRIMARY KEY, prompt TEXT NOT NULL)",
    "CREATE TABLE secret (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL)",
)

# The row comes last: it lies in pages of its own, through which SQLite would go to reach what is behind it.
_LOG = (
    """CREATE TABLE log
         (id TEXT PRIMARY KEY, at REAL NOT NULL, environment, status, model, provider, customer_identifier,
         custom_identifier, thread_identifier, row TEXT NOT NULL)""",
    "CREATE INDEX log_at ON log (at, id)",
    """CREATE TRIGGER log_added AFTER INSERT ON log BEGIN
         UPDATE totals SET amount = amount + 1 WHERE name = 'log'; END""",
    """CREATE TRIGGER log_removed AFTER DELETE ON log BEGIN
         UPDATE totals SET amount = amount - 1 WHERE name = 'log'; END""",
)

#: What turns an empty file into one of each version.
STEPS = (_CACHE, _LEDGER, _RECORDS, _LOG)

#: Of the files that this release reads and writes.
VERSION = len(STEPS)


def check(connection: Connection) -> None:
    """Make sure that the file is ours, or empty, and not of a version to come. Nothing is written.

    Raises:
        StoreError: if it is another application's, or was written by a newer release.
        sqlite3.DatabaseError: if it is no database.
    """
    ((tables,),) = connection.execute("SELECT count(*) FROM sqlite_master")
    if tables and _pragma(connection, "application_id") != APPLICATION:
        raise StoreError("the file is another application's database. Name a file of the store's own.")
    check_version(connection)


def check_current(connection: Connection) -> None:
    """Same as :func:`check`, for a file that is to be used as it is: it must have the tables of this release.

    Raises:
        StoreError: as there, and if the file still lacks some of them.
        sqlite3.DatabaseError: if it is no database.
    """
    check(connection)
    if _pragma(connection, "user_version") < VERSION:
        raise StoreError(
            "the file is of an older release, or empty. Start the gateway with it once, and look again."
        )


def check_version(connection: Connection) -> None:
    """Make sure that no newer release has changed the tables.

    Raises:
        StoreError: if one has; nothing is read or written then.
    """
    found = _pragma(connection, "user_version")
    if found > VERSION:
        raise StoreError(
            f"the file is of version {found}, and this release of respan-openai knows none above {VERSION}. "
            "Upgrade respan-openai, or name another file."
        )


def migrate(connection: Connection) -> None:
    """Take the steps that the file still lacks, all or none of them.

    Raises:
        StoreError: as :func:`check`, if another process has changed the file meanwhile.
    """
    if _pragma(connection, "user_version") == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    check(connection)
    for step in STEPS[_pragma(connection, "user_version") :]:
        for statement in step:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _pragma(connection: Connection, name: str) -> int:
    ((value,),) = connection.execute(f"PRAGMA {name}")
    return int(value)
