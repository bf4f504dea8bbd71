"""What a gateway keeps, and what it asks of the place that keeps it.

Keys, accounts and windows are opaque here: the gateway puts whose they are into them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Row = dict[str, Any]


__all__ = ["FIELDS", "SECRET_BYTES", "Charge", "Store"]


#: Length of ``Store.secret()``.
SECRET_BYTES = 32


#: Fields of a log row that ``Store.entries`` can be asked for, besides ``id`` and ``at``.
FIELDS = (
    "environment",
    "status",
    "model",
    "provider",
    "customer_identifier",
    "custom_identifier",
    "thread_identifier",
)


class Charge(NamedTuple):
    """What one call takes from one budget.

    Attributes:
        account: Whose budget.
        window: Which part of it: ``total``, ``2026-11``, ...
        amount: Taken, in the budget's own unit (money: 1e-9 USD), at least 0.
        limit: Most that may be taken in all; ``None`` only counts.
        ends: Seconds since 1970 when the window is over. What was taken from it is forgotten some time after
            that, with the next reservation of the same account at the latest; ``None`` keeps it for good.
    """

    account: str
    window: str
    amount: int
    limit: int | None = None
    ends: float | None = None


class Store(Protocol):
    """Keeps a gateway's state. Every method may be called from several threads at once.

    Times are seconds since 1970. Every method may raise ``StoreError``: what was asked for did not happen,
    or, if a server did not answer in time, nobody can tell whether it did. A cache that fails is a miss to
    the gateway, a log that fails is a line in Python's own log, and a budget that cannot be looked up is
    decided by ``Settings.budget_failure``.
    """

    @property
    def blocks(self) -> bool:
        """Whether a method may wait for a disk or a network: awaited code then calls it in a thread."""
        ...

    def cached(self, key: str, now: float) -> bytes | None:
        """What was put under *key*, unless it has expired."""
        ...

    def put(self, key: str, value: bytes, now: float, expires: float) -> None:
        """Keep *value* under *key* until *expires*; what was there is replaced."""
        ...

    def reserve(self, hold: str, charges: Sequence[Charge], now: float, expires: float) -> Charge | None:
        """Take every charge, or none of them if one would pass its limit: then that one.

        Nobody sees a state in between, in this process or another. *hold* names the reservation for
        :meth:`settle`; a name that is in use is a ``StoreError``.
        One that is never settled stays taken; only its name is forgotten after *expires*.
        """
        ...

    def settle(self, hold: str, amounts: Sequence[int], now: float) -> None:
        """Replace what *hold* took by *amounts*, in the order of its charges.

        Once: a hold that is unknown, settled or expired is left as it is. An amount above the one that was
        reserved is taken although it may pass the limit, for it has been spent.
        """
        ...

    def taken(self, account: str, window: str) -> int:
        """What has been taken from a budget, reservations included."""
        ...

    def customer(self, identifier: str) -> Row | None:
        """What is known about a customer."""
        ...

    def save_customer(self, identifier: str, fields: Mapping[str, Any]) -> Row:
        """Lay *fields* over what is known about a customer, key by key, and return the whole."""
        ...

    def prompt(self, prompt_id: str) -> Row | None:
        """A stored prompt with its versions."""
        ...

    def save_prompt(self, prompt_id: str, prompt: Mapping[str, Any]) -> None:
        """Keep *prompt* under *prompt_id*; what was there is replaced."""
        ...

    def log(self, row: Row) -> None:
        """Keep a row of the call log: JSON values, with ``id`` (str), ``at`` (float) and ``FIELDS``.

        A row with the same ``id`` is replaced.
        """
        ...

    def entry(self, log_id: str) -> Row | None:
        """The row with that id."""
        ...

    def entries(
        self, *, limit: int = 100, before: float | None = None, where: Mapping[str, object] | None = None
    ) -> list[Row]:
        """The newest rows first, at most *limit*, older than *before*, with the values in *where*.

        *where* names ``FIELDS``. Of rows with the same ``at`` the one with the greater ``id`` comes first. A
        row without a field has ``None`` there.

        Raises:
            ParamsError: if *where* names something else.
        """
        ...

    def secret(self) -> bytes:
        """32 random bytes, made when first asked for: the same for all who share the store, for good.

        For marks of credentials (an HMAC), which must mean nothing to whoever has no access to the store.
        """
        ...

    def close(self) -> None:
        """Give back files and connections; harmless if repeated."""
        ...
