"""Responses of the gateway: its own words rendered, and a provider's passed on without what is not the caller's.

A header that shows the provider's key is left out, and so is what belongs to one connection (RFC 9110, 7.6.1).
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from .._bodies import chunks_of
from .._core.judge import Fault
from .._families import fault_of, family_of
from .contract import ContractError, Reply, detail


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from .._core.attempt import Outcome
    from .._core.call import Outgoing
    from .relay import Relay

    Headers = list[tuple[bytes, bytes]]


__all__ = ["failure", "passed_on", "relayed_headers", "rendered", "streamed"]


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
})  # fmt: skip

#: Bytes: keys of a few letters, as local servers take them, are no secret and may be part of any header.
_SHORTEST_SECRET = 8


def rendered(request: Any, reply: Reply, extra: Iterable[tuple[str, str]] = ()) -> Any:
    """*reply* as a response of *request*'s family, each chunk on its own."""
    family = family_of(request)
    headers = [("Content-Type", reply.content_type), *reply.headers, *extra]
    stream = _classes(family).chunks(reply.chunks)
    return family.Response(reply.status, headers=headers, stream=stream, request=request)


def relayed_headers(headers: Any, outgoing: Outgoing | None) -> Headers:
    """Those of a provider's answer that its caller may see."""
    dropped = _NOT_RELAYED | {name.strip().lower().encode() for name in headers.get("connection", "").split(",")}
    keys = _keys_in(outgoing)
    return [
        (name, value)
        for name, value in headers.raw
        if name.lower() not in dropped and not any(key in value for key in keys)
    ]


def _keys_in(outgoing: Outgoing | None) -> list[bytes]:
    sent = outgoing.headers if outgoing else []
    keys = [value.rpartition(b" ")[2] for name, value in sent if name.lower() in {b"authorization", b"api-key"}]
    return [key for key in keys if len(key) >= _SHORTEST_SECRET]


def passed_on(request: Any, status: int, headers: Headers, body: bytes) -> Any:
    """A response with a body that is whole."""
    return family_of(request).Response(status, headers=headers, content=body, request=request)


def streamed(
    request: Any, response: Any, headers: Headers, held: list[bytes], relay: Relay | None, end: End
) -> Any:
    """A response whose body goes on: *held*, which was read before, then the rest of the provider's *response*."""
    family = family_of(request)
    stream = _classes(family).relayed(request, response, held, relay, end)
    return family.Response(response.status_code, headers=headers, stream=stream, request=request)


def failure(name: str, outcome: Outcome) -> ContractError | None:
    """What the gateway says when *name* brought no answer; ``None`` if it brought one, if only an error."""
    answer = outcome.answer
    if answer is None:
        return _unreachable(name, outcome)
    if 300 <= answer.status_code < 400:
        return detail(502, f"Provider {name!r} answered with a redirect, which is not followed.")
    if answer.status_code < 300 and (outcome.verdict is None or (outcome.verdict.status or 0) < 400):
        reason = "" if outcome.verdict is None else f" ({outcome.verdict.reason})"
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


class End:
    """Told once how a stream ended; what is to be done then are steps, performed by *run*."""

    def __init__(self, name: str, finish: Callable[[BaseException | None], Any], run: Callable[[Any], Any]) -> None:
        self._name = name
        self._finish = finish
        self._run = run
        self._told = False

    def __call__(self, error: BaseException | None = None) -> Any:
        """Do it, or return an awaitable of it; ``None`` if it was done before."""
        if self._told:
            return None
        self._told = True
        return self._run(self._finish(error))

    def error_for(self, error: BaseException, request: Any) -> BaseException:
        """What the caller gets for *error*: one of its own library, that holds nothing of the provider's request."""
        if fault_of(error) is None:
            return error
        family = family_of(request)
        text = f"Provider {self._name!r} broke the stream off ({type(error).__name__})."
        return family.ReadError(text, request=request)  # type: ignore[no-any-return]


class _Classes:
    def __init__(self, chunks: type[Any], relayed: type[Any]) -> None:
        self.chunks = chunks
        self.relayed = relayed


@lru_cache(maxsize=2)
def _classes(family: Any) -> _Classes:  # noqa: C901 -- classes, whose methods it counts as its own branches
    class Chunks(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: tuple[bytes, ...]) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._chunks:
                yield chunk

    class Relayed(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        """A provider's body on its way; *end* is told before its last bytes are handed over."""

        def __init__(self, request: Any, response: Any, held: list[bytes], relay: Relay | None, end: End) -> None:
            self._request = request
            self._response = response
            self._held = held
            self._relay = relay
            self._end = end

        def _passed(self, chunk: bytes, *, seen: bool) -> tuple[bytes, bool]:
            relay = self._relay
            return (chunk, False) if relay is None else (relay.passed(chunk, seen=seen), relay.is_over)

        def __iter__(self) -> Iterator[bytes]:
            held, self._held = self._held, []
            try:
                for seen, chunk in chain(
                    ((True, chunk) for chunk in held),
                    ((False, chunk) for chunk in chunks_of(self._response, awaited=False)),
                ):
                    out, is_over = self._passed(chunk, seen=seen)
                    if is_over:
                        self._end()
                    if out:
                        yield out
                tail = b"" if self._relay is None else self._relay.over()
                self._end()
                if tail:
                    yield tail
            except BaseException as exc:
                self._end(exc)
                if (told := self._end.error_for(exc, self._request)) is exc:
                    raise
                raise told from None

        async def __aiter__(self) -> AsyncIterator[bytes]:
            held, self._held = self._held, []
            try:
                for chunk in held:
                    out, is_over = self._passed(chunk, seen=True)
                    if is_over and (ended := self._end()) is not None:
                        await ended
                    if out:
                        yield out
                async for chunk in chunks_of(self._response, awaited=True):
                    out, is_over = self._passed(chunk, seen=False)
                    if is_over and (ended := self._end()) is not None:
                        await ended
                    if out:
                        yield out
                tail = b"" if self._relay is None else self._relay.over()
                if (ended := self._end()) is not None:
                    await ended
                if tail:
                    yield tail
            except BaseException as exc:
                if (ended := self._end(exc)) is not None:
                    await ended
                if (told := self._end.error_for(exc, self._request)) is exc:
                    raise
                raise told from None

        def close(self) -> None:
            try:
                self._response.close()
            finally:
                self._end(GeneratorExit())

        async def aclose(self) -> None:
            try:
                await self._response.aclose()
            finally:
                if (ended := self._end(GeneratorExit())) is not None:
                    with suppress(GeneratorExit):
                        await ended

    return _Classes(Chunks, Relayed)
