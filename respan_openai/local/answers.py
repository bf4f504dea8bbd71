"""Responses of the gateway: its own words rendered, and a provider's passed on without what is not the caller's.

A header that shows the provider's key is left out, and so is what belongs to one connection (RFC 9110, 7.6.1), or to
the log of another gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._core.judge import Fault
from .._families import family_of
from .contract import ContractError, Reply, detail
from .streaming import chunks_for


if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._core.attempt import Outcome
    from .._core.call import Outgoing

    Headers = list[tuple[bytes, bytes]]


__all__ = ["failure", "passed_on", "relayed_headers", "rendered"]


_NOT_RELAYED = frozenset({
    b"connection",
    b"content-encoding",
    b"content-length",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-connection",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"x-respan-log-id",
})  # fmt: skip

_WITH_KEYS = frozenset({b"authorization", b"api-key"})

#: Bytes: keys of a few letters, as local servers take them, are no secret and may be part of any header.
_SHORTEST_SECRET = 8


def rendered(request: Any, reply: Reply, extra: Iterable[tuple[str, str]] = ()) -> Any:
    """*reply* as a response of *request*'s family; several chunks each on its own."""
    family = family_of(request)
    headers = [("Content-Type", reply.content_type), *reply.headers, *extra]
    if len(reply.chunks) == 1:
        return family.Response(reply.status, headers=headers, content=reply.chunks[0], request=request)
    return family.Response(
        reply.status, headers=headers, stream=chunks_for(family, reply.chunks), request=request
    )


def relayed_headers(headers: Any, outgoing: Outgoing | None, own: Headers) -> Headers:
    """Those of a provider's answer to *outgoing* that its caller may see, and *own* in the place of any of that name."""
    of_connection = (name.strip().lower().encode() for name in headers.get("connection", "").split(","))
    dropped = _NOT_RELAYED.union(of_connection, (name.lower() for name, _ in own))
    kept = [(name, value) for name, value in headers.raw if name.lower() not in dropped]
    for key in _keys_in(outgoing):
        kept = [(name, value) for name, value in kept if key not in value]
    return [*kept, *own]


def _keys_in(outgoing: Outgoing | None) -> list[bytes]:
    sent = outgoing.headers if outgoing else []
    keys = [value.rpartition(b" ")[2] for name, value in sent if name.lower() in _WITH_KEYS]
    return [key for key in keys if len(key) >= _SHORTEST_SECRET]


def passed_on(request: Any, status: int, headers: Headers, body: bytes) -> Any:
    """A response with a body that is whole."""
    return family_of(request).Response(status, headers=headers, content=body, request=request)


def failure(name: str, outcome: Outcome) -> ContractError | None:
    """What the gateway says when *name* brought no answer; ``None`` if it brought one, if only an error."""
    answer, verdict = outcome.answer, outcome.verdict
    if answer is None:
        return _unreachable(name, outcome)
    if 300 <= answer.status_code < 400:
        return detail(502, f"Provider {name!r} answered with a redirect, which is not followed.")
    if answer.status_code < 300 and (verdict is None or (verdict.status or 0) < 400):
        reason = "" if verdict is None else f" ({verdict.reason})"
        return detail(502, f"Provider {name!r} sent what is no answer{reason}.")
    return None


def _unreachable(name: str, outcome: Outcome) -> ContractError:
    if outcome.fault in {Fault.READ_TIMEOUT, Fault.LATE}:
        return detail(504, f"Provider {name!r} did not answer in time.")
    if outcome.fault is Fault.LIMIT:
        return detail(502, f"Provider {name!r} sent more than this gateway passes on.")
    # The error's class only: its text may hold the address, and the error the request with the key.
    kind = type(outcome.error).__name__
    return detail(502, f"Provider {name!r} could not be reached ({kind}).")
