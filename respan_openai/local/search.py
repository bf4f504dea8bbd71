"""Which rows of the call log somebody wants to see, as the query of a URL says it, and finding them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlencode


if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Self

    from ..stores.protocol import Row, Store


__all__ = ["ROWS", "Found", "Search", "find", "under_way"]


#: Rows of one page. Each is read whole, and may hold a prompt and an answer of a MiB each.
ROWS: Final = 50
#: Most times that a store is asked for as many rows, to fill one page.
_TRIES: Final = 40

#: Compared as a whole, by the store itself.
_EXACT: Final = ("environment", "model", "provider", "customer_identifier")
#: Searched for a part of them.
_IDENTIFIERS: Final = ("id", "customer_identifier", "custom_identifier", "thread_identifier")

_CLASSES: Final = {f"{digit}xx": range(digit * 100, digit * 100 + 100) for digit in range(1, 6)}
_ERRORS: Final = range(400, 600)


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What rows must be like; what is empty does not matter.

    Attributes:
        environment: Of the key that the call came with.
        status: ``429``; or ``4xx``, ``5xx``; or ``error``, for 400 and above.
        model: As it was asked for.
        provider: That answered.
        customer_identifier: Whose call it was.
        text: Part of an identifier (call, customer, custom, thread), in any case.
        before: Seconds since 1970: rows older than that.
    """

    environment: str = ""
    status: str = ""
    model: str = ""
    provider: str = ""
    customer_identifier: str = ""
    text: str = ""
    before: float | None = None

    @classmethod
    def from_query(cls, query: str) -> Self:
        """What the query of a URL asks for; what it does not know is left out."""
        given = {name: value.strip() for name, value in parse_qsl(query, errors="replace")}
        texts = {field.name: given.get(field.name, "") for field in fields(cls) if field.name != "before"}
        return cls(**texts, before=_number(given.get("before", "")))

    def within(self, environment: str | None) -> Self:
        """This search in *environment* alone, whatever was asked for; ``None`` leaves it as it is."""
        return self if environment is None else replace(self, environment=environment)

    def query(self, **changes: Any) -> str:
        """The query that asks for this with *changes*, with its question mark if there is anything to ask for."""
        changed = replace(self, **changes)
        given = {field.name: getattr(changed, field.name) for field in fields(changed)}
        text = urlencode({name: value for name, value in given.items() if value not in {"", None}})
        return f"?{text}" if text else ""

    def where(self) -> dict[str, object]:
        """What a store compares itself."""
        exact: dict[str, object] = {name: getattr(self, name) for name in _EXACT if getattr(self, name)}
        return exact | ({"status": int(self.status)} if self._is_number else {})

    @property
    def _is_number(self) -> bool:
        return self.status.isdecimal() and len(self.status) <= 3

    def matches(self, row: Row) -> bool:
        """Whether *row* is wanted, whatever a store has compared."""
        return (
            all(row.get(name) == value for name, value in self.where().items())
            and self._has_status(row.get("status"))
            and self._has_text(row)
        )

    def _has_status(self, status: object) -> bool:
        if not self.status or self._is_number:
            return True
        wanted = _ERRORS if self.status.lower() == "error" else _CLASSES.get(self.status.lower(), range(0))
        return status in wanted

    def _has_text(self, row: Row) -> bool:
        text = self.text.casefold()
        return not text or any(text in str(row.get(name) or "").casefold() for name in _IDENTIFIERS)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


class Found(NamedTuple):
    """Rows, the newest first, and where older ones begin: ``None`` if there are none."""

    rows: list[Row]
    older: float | None


def find(store: Store, search: Search, limit: int = ROWS) -> Found:
    """The newest rows of *store* that *search* wants, at most *limit*.

    Of very many rows that it does not want only some are looked through: then there may be fewer, with ``older``
    saying where to go on. Rows logged in the same microsecond as the last one are not found by going on there.

    Raises:
        StoreError: if the store cannot be read.
    """
    rows: list[Row] = []
    before = search.before
    for _ in range(_TRIES):
        batch = store.entries(limit=limit, before=before, where=search.where())
        for row in batch:
            if len(rows) == limit:
                return Found(rows, before)
            before = row["at"]
            if search.matches(row):
                rows.append(row)
        if len(batch) < limit:
            return Found(rows, None)
    return Found(rows, before)


def under_way(rows: Iterable[Row], search: Search) -> list[Row]:
    """Those of *rows*, which run at this moment, that *search* wants; none if it asks for older ones."""
    return [] if search.before is not None else [row for row in rows if search.matches(row)]
