"""A store on a Redis or Valkey server, which many machines share."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from typing import TYPE_CHECKING, Any, Final

from ..exceptions import ConfigError, StoreError
from ._amounts import check_amounts, fitting, held_already, room
from ._redis_client import Client
from ._scripts import LOG, PAGE, RESERVE, SETTLE
from ._values import check_where, dumped, dumped_row, loaded, most_rows, row_of
from .protocol import SECRET_BYTES


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .protocol import Charge, Row


__all__ = ["RedisStore"]


# Part of every key. A release that keeps something else under its keys counts up, and sees none of the old.
_LAYOUT: Final = 1
_LONGEST_NAME: Final = 200
_LONGEST_EXPIRY_MS: Final = 10 * 366 * 24 * 3600 * 1000  # Redis refuses one that leads beyond 64 bits
_PAGE_ROWS: Final = 200
_EXPIRES: Final = struct.Struct(">d")  # seconds since 1970, in front of a cached value


class RedisStore:
    """Keeps a gateway's state on a Redis or Valkey server, for gateways on any number of machines.

    **The server is as secret as what your users write**: prompts and answers lie on it as plain text, in the
    cache and in the log. Give it a password, and use ``rediss://`` outside a private network.

    The server decides what survives it. Budgets are as safe as its persistence: with ``appendfsync everysec``
    a crash may give back the last second, and so may a failover to a replica. Its ``maxmemory-policy`` must
    be ``noeviction`` or one of ``volatile-*``: ``allkeys-*`` would throw away budgets, and they would begin
    at 0. One server with replicas is meant, not Redis Cluster.

    An operation is one round trip. Connecting, and then each answer, is waited for *timeout* seconds at most,
    and nothing is repeated. After three failures in a row nothing is asked for 5 seconds, every method raises
    ``StoreError`` at once, and then one is let through to see. A reservation whose answer did not come in
    time may have been taken; it stays taken then.

    Needs ``pip install 'respan-openai[redis]'``.

    Args:
        url: ``redis://[user:password@]host[:port][/database]``, ``rediss://...`` for TLS or
            ``unix://[user:password@]path``. A host name is looked up by the system, which may take longer
            than *timeout*; an address is not.
        namespace: Begins every key; gateways with the same one share budgets, cache and log. The layout's
            version follows it: a release with another layout sees nothing of this one's, budgets included.
        max_rows: Rows of the call log; the oldest ones fall out. ``None`` keeps all of them.
        timeout: Seconds.
        clock: For tests: seconds that only grow, for the 5 seconds above.

    Raises:
        ConfigError: if the URL, or another argument, cannot be used, or the package ``redis`` is missing.
            Nothing is connected yet: a server that is down is an error of the first method.
    """

    def __init__(
        self,
        url: str,
        *,
        namespace: str = "respan-openai",
        max_rows: int | None = 10_000,
        timeout: float = 0.05,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not namespace:
            raise ConfigError("RedisStore(namespace=...) must not be empty: others may use the same server.")
        self._max_rows = most_rows("RedisStore(max_rows=...)", max_rows)
        self._client = Client(url, timeout=timeout, clock=clock)
        self._prefix = f"{namespace}:{_LAYOUT}"

    def __repr__(self) -> str:
        return f"RedisStore({self._client.shown!r})"

    @property
    def blocks(self) -> bool:
        """True: a method waits for the network."""
        return True

    # -- cache

    def cached(self, key: str, now: float) -> bytes | None:
        """See :meth:`Store.cached`."""
        found = self._client.ask("GET", self._key("cache", key))
        if found is None:
            return None
        if len(found) < _EXPIRES.size:
            raise StoreError("A cached value on Redis cannot be read: something else has written to it.")
        (expires,) = _EXPIRES.unpack_from(found)
        return bytes(found[_EXPIRES.size :]) if expires > now else None

    def put(self, key: str, value: bytes, now: float, expires: float) -> None:
        """See :meth:`Store.put`. How much the server keeps is up to its ``maxmemory``."""
        if expires <= now:
            self._client.ask("DEL", self._key("cache", key))
        else:
            kept = _EXPIRES.pack(expires) + value
            self._client.ask("SET", self._key("cache", key), kept, "PX", _milliseconds(expires - now))

    # -- budgets

    def reserve(self, hold: str, charges: Sequence[Charge], now: float, expires: float) -> Charge | None:
        """See :meth:`Store.reserve`."""
        check_amounts(charge.amount for charge in charges)
        keys = [
            self._key("hold", hold),
            *(self._key("taken", charge.account, charge.window) for charge in charges),
        ]
        times: list[str | int] = [_number(now), _number(expires), _milliseconds(expires - now)]
        refused: int = self._client.run(RESERVE, keys, [*times, *_values_of(charges, now, expires)])
        if refused == -2:
            raise held_already()
        return None if refused == -1 else charges[refused]

    def settle(self, hold: str, amounts: Sequence[int], now: float) -> None:
        """See :meth:`Store.settle`."""
        check_amounts(amounts)
        held = self._client.run(SETTLE, [self._key("hold", hold)], [_number(now), *amounts])
        if held != -1:
            fitting(held, len(amounts))

    def taken(self, account: str, window: str) -> int:
        """See :meth:`Store.taken`."""
        return int(loaded(self._client.ask("GET", self._key("taken", account, window)) or b"0"))

    # -- customers and prompts

    def customer(self, identifier: str) -> Row | None:
        """See :meth:`Store.customer`."""
        return _fields(self._client.ask("HGETALL", self._key("customer", identifier))) or None

    def save_customer(self, identifier: str, fields: Mapping[str, Any]) -> Row:
        """See :meth:`Store.save_customer`."""
        key = self._key("customer", identifier)
        pairs = [text for name, value in fields.items() for text in (dumped([name]), dumped([value]))]
        writes = [("HSET", key, *pairs)] if pairs else []
        return _fields(self._client.ask_together(*writes, ("HGETALL", key))[-1])

    def prompt(self, prompt_id: str) -> Row | None:
        """See :meth:`Store.prompt`."""
        return row_of(self._client.ask("GET", self._key("prompt", prompt_id)))

    def save_prompt(self, prompt_id: str, prompt: Mapping[str, Any]) -> None:
        """See :meth:`Store.save_prompt`."""
        self._client.ask("SET", self._key("prompt", prompt_id), dumped(prompt))

    def secret(self) -> bytes:
        """See :meth:`Store.secret`."""
        key, made = self._key("secret", "1"), os.urandom(SECRET_BYTES).hex()
        return bytes.fromhex(
            bytes(self._client.ask_together(("SET", key, made, "NX"), ("GET", key))[-1]).decode()
        )

    # -- log

    def log(self, row: Row) -> None:
        """See :meth:`Store.log`."""
        values: list[str | int] = [dumped([row["id"]]), _number(row["at"]), dumped_row(row), self._max_rows]
        self._client.run(LOG, self._log_keys, values)

    def entry(self, log_id: str) -> Row | None:
        """See :meth:`Store.entry`."""
        return row_of(self._client.ask("HGET", self._log_keys[1], dumped([log_id])))

    def entries(
        self, *, limit: int = 100, before: float | None = None, where: Mapping[str, object] | None = None
    ) -> list[Row]:
        """See :meth:`Store.entries`. Filters as it reads, 200 rows with each round trip."""
        wanted = check_where(where).items()
        found: dict[str, Row] = {}  # by id: what is written meanwhile may push a row into the next page
        for row in self._newest("+inf" if before is None else f"({_number(before)}"):
            if len(found) >= limit:
                break
            if all(row.get(name) == value for name, value in wanted):
                found[row["id"]] = row
        return list(found.values())

    def _newest(self, bound: str) -> Iterator[Row]:
        read = 0
        while page := self._client.run(PAGE, self._log_keys, [bound, read, _PAGE_ROWS]):
            read += len(page)
            yield from (loaded(text) for text in page if text is not None)

    # -- as a whole

    def close(self) -> None:
        """Give the connections back; harmless if repeated. Whoever asks after that gets a ``StoreError``."""
        self._client.close()

    @property
    def _log_keys(self) -> list[str]:
        return [self._key("log", "ids"), self._key("log", "rows")]

    def _key(self, kind: str, *names: str) -> str:
        # As JSON no two lists of names look alike, and each is ASCII in one line.
        name = dumped(names)
        if len(name) > _LONGEST_NAME:
            name = hashlib.sha256(name.encode()).hexdigest()
        return f"{self._prefix}:{kind}:{name}"


def _number(seconds: float) -> str:
    return repr(float(seconds))


def _milliseconds(seconds: float) -> int:
    return max(1, round(min(seconds * 1000, _LONGEST_EXPIRY_MS)))


def _values_of(charges: Sequence[Charge], now: float, expires: float) -> Iterator[int]:
    # All charges are looked at before one is taken: one that follows on the same budget has so much less
    # room.
    taken: dict[tuple[str, str], int] = {}
    for charge in charges:
        budget = charge.account, charge.window
        before = taken.get(budget, 0)
        yield max(room(charge) - before, -1)
        yield charge.amount
        # As long as the hold itself: settling what is gone would begin it again, below 0.
        yield 0 if charge.ends is None else _milliseconds(max(charge.ends, expires) - now)
        taken[budget] = before + charge.amount


def _fields(found: Mapping[bytes, bytes]) -> Row:
    return {loaded(name)[0]: loaded(text)[0] for name, text in found.items()}
