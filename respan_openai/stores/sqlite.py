"""A store in one file, which the processes of one machine share.

There are three connections. How safe a commit is belongs to the connection: the *ledger* one (budgets,
customers, prompts) waits until the disk has what it commits. The *quick* one (cache, log) does not: a power
failure may cost its last second, a killed process costs nothing. The *reader* goes through the log, which may
take long; with a write-ahead log it is in nobody's way. Threads take turns with each; one connection for each
thread would let them race for the file instead, and could neither be closed nor be reopened after a fork from
one place.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any

from ._amounts import check_amounts, fitting, held_already
from ._connection import Connection
from ._forks import watch
from ._opening import checked_path, look_at, open_file
from ._statements import add_row, customer_in, newest, took, total_of, value_of, values_of
from ._values import check_where, dumped, loaded, most_rows, positive, row_of, seconds
from .protocol import SECRET_BYTES


if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from .protocol import Charge, Row


__all__ = ["SQLiteStore"]


#: Seconds that whoever looks into the log waits for others who do: nobody waits for them.
_LOOK = 5.0


class SQLiteStore:
    """Keeps a gateway's state in a file that processes of one machine share, and that outlives them.

    **The file is as secret as what your users write**: prompts and answers lie in it as plain text, in the
    cache and in the log, and what is deleted stays readable until it is written over. It is made with mode
    0600, as are ``-wal`` and ``-shm`` beside it.

    Budgets, customers and prompts survive a power failure once they are written; the cache and the log
    survive the process, and may lose their last second with the machine. Log rows are trimmed to *max_rows*,
    and the cache to *max_bytes* by leaving out what was put first.

    Nothing waits for other processes longer than *wait*, and the cache no longer than a tenth of that: then a
    ``StoreError`` says so. After a fork the child has connections of its own.

    A file that is damaged when it is opened is renamed to ``<name>.damaged-1`` with a warning, and a new one
    begun, in which nothing has been taken from any budget; that happens once, and is an error after that. A
    file that an older release wrote is brought up to date; one that a newer release wrote is refused, also if
    it writes while the file is open. On a network file system, where processes of several machines would
    damage the file, there is a warning, and no write-ahead log.

    Args:
        path: The file; its folder must exist, and must not be writable for all users. Made if there is none.
        max_bytes: Size of the cache, in bytes of keys and values. The file does not shrink.
        max_rows: Rows of the call log; the oldest ones fall out. ``None`` keeps all of them.
        wait: Seconds that a budget, a customer, a prompt or a log row waits for others who write.
        as_is: For whoever only looks: a file that this release cannot read as it is is refused, and none is
            made, renamed, given another mode or brought up to date.

    Raises:
        ConfigError: if a bound or *wait* is not positive, or if others could change the file or its folder: a
            link, another owner, a folder with mode 0777. With *as_is*, if there is no file.
        StoreError: if the file cannot be opened, is another application's, or was written by a newer release.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        max_bytes: int = 256 * 2**20,
        max_rows: int | None = 100_000,
        wait: float = 0.25,
        as_is: bool = False,
    ) -> None:
        self._max_bytes = positive("SQLiteStore(max_bytes=...)", max_bytes)
        self._max_rows = most_rows("SQLiteStore(max_rows=...)", max_rows)
        self._wait = seconds("SQLiteStore(wait=...)", wait)
        self._path = checked_path(path)
        (look_at if as_is else open_file)(self._path)
        self._writers = Lock()
        self._ledger = Connection(self._path, "FULL", self._writers)
        self._quick = Connection(self._path, "NORMAL", self._writers)
        self._reader = Connection(self._path, "NORMAL", self._writers)
        watch(self)

    @property
    def _connections(self) -> tuple[Connection, ...]:
        return self._ledger, self._quick, self._reader

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self._path)!r})"

    @property
    def blocks(self) -> bool:
        """True: a method may wait for the disk."""
        return True

    # -- cache

    def cached(self, key: str, now: float) -> bytes | None:
        """See :meth:`Store.cached`."""
        with self._quick.reading(self._wait / 10) as db:
            found = db.execute("SELECT value FROM cache WHERE key = ? AND expires > ?", (key, now)).fetchone()
        return None if found is None else bytes(found[0])

    def put(self, key: str, value: bytes, now: float, expires: float) -> None:
        """See :meth:`Store.put`. A value larger than the cache is not kept."""
        with self._quick.writing(self._wait, self._wait / 10) as db:
            db.execute("DELETE FROM cache WHERE key = ? OR expires <= ?", (key, now))
            if expires > now and len(key) + len(value) <= self._max_bytes:
                db.execute("INSERT INTO cache (key, value, expires) VALUES (?, ?, ?)", (key, value, expires))
                self._make_room(db)

    def _make_room(self, db: sqlite3.Connection) -> None:
        while total_of(db, "cache") > self._max_bytes:
            db.execute("DELETE FROM cache WHERE id = (SELECT min(id) FROM cache)")

    # -- budgets

    def reserve(self, hold: str, charges: Sequence[Charge], now: float, expires: float) -> Charge | None:
        """See :meth:`Store.reserve`. Each charge is checked and taken by one statement."""
        check_amounts(charge.amount for charge in charges)
        with self._ledger.writing(self._wait) as db:
            db.execute("DELETE FROM holds WHERE expires <= ?", (now,))
            if db.execute("SELECT 1 FROM holds WHERE hold = ?", (hold,)).fetchone():
                raise held_already()
            for charge in charges:
                if not took(db, charge, now):
                    db.execute("ROLLBACK")
                    return charge
            db.execute(
                "INSERT INTO holds VALUES (?, ?, ?)",
                (hold, dumped([tuple(charge[:3]) for charge in charges]), expires),
            )
        return None

    def settle(self, hold: str, amounts: Sequence[int], now: float) -> None:
        """See :meth:`Store.settle`."""
        check_amounts(amounts)
        with self._ledger.writing(self._wait) as db:
            found = db.execute(
                "SELECT charges FROM holds WHERE hold = ? AND expires > ?", (hold, now)
            ).fetchone()
            if found is None:
                return
            charges = loaded(found[0])
            fitting(len(charges), len(amounts))
            db.execute("DELETE FROM holds WHERE hold = ?", (hold,))
            for (account, window, held), amount in zip(charges, amounts, strict=True):
                db.execute(
                    "UPDATE budgets SET taken = taken + ? WHERE account = ? AND period = ?",
                    (amount - held, account, window),
                )

    def taken(self, account: str, window: str) -> int:
        """See :meth:`Store.taken`."""
        with self._ledger.reading(self._wait) as db:
            return (
                value_of(db, "SELECT taken FROM budgets WHERE account = ? AND period = ?", account, window)
                or 0
            )

    # -- customers and prompts

    def customer(self, identifier: str) -> Row | None:
        """See :meth:`Store.customer`."""
        with self._ledger.reading(self._wait) as db:
            return customer_in(db, identifier)

    def save_customer(self, identifier: str, fields: Mapping[str, Any]) -> Row:
        """See :meth:`Store.save_customer`."""
        with self._ledger.writing(self._wait) as db:
            text = dumped({**(customer_in(db, identifier) or {}), **fields})
            db.execute("INSERT OR REPLACE INTO customers VALUES (?, ?)", (identifier, text))
        row: Row = loaded(text)
        return row

    def prompt(self, prompt_id: str) -> Row | None:
        """See :meth:`Store.prompt`."""
        with self._ledger.reading(self._wait) as db:
            return row_of(value_of(db, "SELECT prompt FROM prompts WHERE prompt_id = ?", prompt_id))

    def save_prompt(self, prompt_id: str, prompt: Mapping[str, Any]) -> None:
        """See :meth:`Store.save_prompt`."""
        text = dumped(prompt)
        with self._ledger.writing(self._wait) as db:
            db.execute("INSERT OR REPLACE INTO prompts VALUES (?, ?)", (prompt_id, text))

    def secret(self) -> bytes:
        """See :meth:`Store.secret`."""
        with self._ledger.writing(self._wait) as db:
            db.execute("INSERT OR IGNORE INTO secret VALUES (1, ?)", (os.urandom(SECRET_BYTES),))
            return bytes(db.execute("SELECT value FROM secret").fetchone()[0])

    # -- log

    def log(self, row: Row) -> None:
        """See :meth:`Store.log`."""
        values = values_of(row)
        with self._quick.writing(self._wait) as db:
            add_row(db, values, self._max_rows)

    def entry(self, log_id: str) -> Row | None:
        """See :meth:`Store.entry`."""
        with self._reader.reading(max(self._wait, _LOOK)) as db:
            return row_of(value_of(db, "SELECT row FROM log WHERE id = ?", log_id))

    def entries(
        self, *, limit: int = 100, before: float | None = None, where: Mapping[str, object] | None = None
    ) -> list[Row]:
        """See :meth:`Store.entries`."""
        wanted = check_where(where)
        with self._reader.reading(max(self._wait, _LOOK)) as db:
            found = newest(db, limit, before, wanted)
        return [loaded(text) for text in found]

    # -- as a whole

    def close(self) -> None:
        """Close the file. Whatever is asked for after that raises ``StoreError``; harmless if repeated."""
        for connection in self._connections:
            connection.close()

    def pause(self) -> None:
        """Wait until no thread is inside, because the process is about to fork."""
        self._writers.acquire()
        for connection in self._connections:
            connection.pause()

    def resume(self, *, child: bool) -> None:
        """Go on after a fork; a *child* opens the file anew."""
        for connection in self._connections:
            connection.resume(child=child)
        self._writers.release()
