"""What must hold after every fault, whatever it was: four promises, checked in one place."""

from __future__ import annotations

import base64
import inspect
import itertools
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import anyio


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

    from .scripted import Scripted


#: Seconds beyond a deadline and a tenth of it that a loaded machine may take.
SLACK = 1.0


@asynccontextmanager
async def standing(
    targets: Mapping[Scripted, int | range | None],
    *clients: Any,
    deadline: float = 10.0,
    canaries: Mapping[Scripted, Iterable[str]] | None = None,
    patience: float = 5.0,
) -> AsyncIterator[None]:
    """A block of calls, at whose end *clients* are closed and must have left everything in order.

    1. Each target has seen as many requests as *targets* says: a number, a range, or ``None`` for any. Requests
       from before the block count too.
    2. No connection is open at any target.
    3. No target was sent a canary of another: raw, URL-quoted, in hex, or in base64.
    4. The block took at most *deadline* seconds and a tenth, and ``SLACK``. It is a bound for what must not
       hang, not a measurement.

    If the block itself raises, that goes on and nothing is checked.

    Args:
        targets: Requests for each target.
        clients: Of the SDK; they are closed.
        deadline: Seconds.
        canaries: Beside the targets' own.
        patience: Seconds that closed clients have to hang up.
    """
    began = time.monotonic()
    try:
        yield
        took = time.monotonic() - began
    finally:
        for client in clients:
            await close(client)
    closed = await until(lambda: all(target.closed() for target in targets), patience)

    assert closed, f"left open: {[target for target in targets if target.open]}"
    for target, number in targets.items():
        assert not target.troubles, f"the script of {target} failed: {target.troubles}"
        _check_number(target, number)
    astray = [*strays(targets, canaries)]
    assert not astray, "; ".join(astray)
    assert took <= deadline * 1.1 + SLACK, f"took {took:.2f} s, with a deadline of {deadline} s"


def _check_number(target: Scripted, number: int | range | None) -> None:
    allowed = range(number, number + 1) if isinstance(number, int) else number
    paths = [f"{seen.method} {seen.path}" for seen in target.requests]
    assert allowed is None or len(paths) in allowed, f"{target}: expected {number}, came {paths}"


async def close(client: Any) -> None:
    """Close a client of either kind."""
    closing = client.close()
    if inspect.isawaitable(closing):
        await closing


async def until(holds: Callable[[], Any], patience: float = 5.0) -> bool:
    """Wait until *holds*, while everything else goes on; false if *patience* seconds were not enough."""
    deadline = time.monotonic() + patience
    while not holds():
        if time.monotonic() > deadline:
            return False
        await anyio.sleep(0.005)
    return True


# --- canaries --------------------------------------------------------------


def strays(
    targets: Iterable[Scripted], canaries: Mapping[Scripted, Iterable[str]] | None = None
) -> Iterator[str]:
    """What came to a target and belongs to another, each as a sentence without the secret."""
    owned = {target: {*target.canaries, *(canaries or {}).get(target, ())} for target in targets}
    for (owner, secrets), (target, known) in itertools.permutations(owned.items(), 2):
        if any(contains(_all_of(target), secret) for secret in secrets - known):
            yield f"{target.name} was sent a secret of {owner.name}"


def _all_of(target: Scripted) -> bytes:
    # Bodies once more: chunks may cut what stands in them.
    return b"\n".join([target.bytes, *(seen.body for seen in [*target.requests])])


def contains(data: bytes, secret: str) -> bool:
    """Whether *secret* stands in *data* in any of its :func:`forms`, whichever of its characters are quoted."""
    readings = (data, unquote_to_bytes(data), unquote_to_bytes(data.replace(b"+", b" ")))
    return any(form in reading for form in forms(secret) for reading in readings)


def forms(secret: str) -> set[bytes]:
    """*secret* as it may travel: raw, URL-quoted, in hex, and in base64 of both alphabets at any alignment.

    Raises:
        ValueError: if it is so short that chance would find it.
    """
    raw = secret.encode()
    if len(raw) < 8:
        raise ValueError(f"a canary needs 8 bytes or more, got {len(raw)}")
    return {raw, quote_from_bytes(raw, safe="").encode(), raw.hex().encode(), *_in_base64(raw)}


def _in_base64(raw: bytes) -> Iterator[bytes]:
    for before in range(3):
        # Of the characters at both ends, some bits belong to the neighbours: left out.
        first, last = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * before + raw)[first:last]
