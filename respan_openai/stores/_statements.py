"""What a ``SQLiteStore`` says to SQLite in more than a line, each within a transaction that is open."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ._amounts import room
from ._values import dumped_row, row_of
from .protocol import FIELDS


if TYPE_CHECKING:
    from collections.abc import Mapping
    from sqlite3 import Connection

    from .protocol import Charge, Row


__all__ = ["add_row", "customer_in", "newest", "took", "total_of", "value_of", "values_of"]


_TAKE = """INSERT INTO budgets (account, period, taken, ends) SELECT ?1, ?2, ?3, ?5 WHERE ?4 >= 0
           ON CONFLICT (account, period) DO UPDATE SET taken = taken + excluded.taken WHERE taken <= ?4"""
_MARKS = ", ".join("?" * (3 + len(FIELDS)))
_ADD_ROW = f"INSERT INTO log (id, at, row, {', '.join(FIELDS)}) VALUES ({_MARKS})"  # noqa: S608 -- our names
_DROP_OLDEST = "DELETE FROM log WHERE id IN (SELECT id FROM log ORDER BY at, id LIMIT ?)"
_NEWEST = "SELECT row FROM log WHERE at < ?{} ORDER BY at DESC, id DESC LIMIT ?"


def value_of(db: Connection, statement: str, *values: object) -> Any:
    """The first value of the first row; ``None`` if there is no row."""
    found = db.execute(statement, values).fetchone()
    return None if found is None else found[0]


def total_of(db: Connection, name: str) -> int:
    """Size of the ``cache`` in bytes, or of the ``log`` in rows."""
    return int(value_of(db, "SELECT amount FROM totals WHERE name = ?", name))


def took(db: Connection, charge: Charge, now: float) -> bool:
    """Take *charge*, and say whether it fitted; for a window with an end, those that are over are dropped."""
    if charge.ends is not None:
        db.execute("DELETE FROM budgets WHERE account = ? AND ends <= ?", (charge.account, now))
    values = charge.account, charge.window, charge.amount, room(charge), charge.ends
    return db.execute(_TAKE, values).rowcount > 0


def customer_in(db: Connection, identifier: str) -> Row | None:
    """What is known about a customer."""
    return row_of(value_of(db, "SELECT fields FROM customers WHERE identifier = ?", identifier))


def values_of(row: Row) -> tuple[object, ...]:
    """*row* as :func:`add_row` takes it; made before a transaction begins, because that may take long."""
    return row["id"], row["at"], dumped_row(row), *(_bound(row.get(name)) for name in FIELDS)


def add_row(db: Connection, values: tuple[object, ...], most: int) -> None:
    """Put a row into the log, in the place of one with its id, and drop the oldest ones beyond *most*."""
    db.execute("DELETE FROM log WHERE id = ?", values[:1])
    db.execute(_ADD_ROW, values)
    db.execute(_DROP_OLDEST, (max(total_of(db, "log") - most, 0),))


def newest(db: Connection, limit: int, before: float | None, where: Mapping[str, object]) -> list[str]:
    """Rows of the log as JSON; see ``Store.entries``. The names in *where* are columns."""
    conditions = "".join(f" AND {name} IS ?" for name in where)
    values = (math.inf if before is None else before, *map(_bound, where.values()), max(limit, 0))
    return [text for (text,) in db.execute(_NEWEST.format(conditions), values)]


def _bound(value: object) -> object:
    # Half a surrogate pair can stand in JSON, but not in UTF-8.
    return value.encode(errors="replace").decode() if isinstance(value, str) else value
