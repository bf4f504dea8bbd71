"""What the caller gets: the answer that a provider gave, one that was kept, or a refusal; and how that ends the call."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from .._core.sse import Watch
from .._core.steps import Close
from .answers import failure, passed_on, relayed_headers, rendered
from .asking import LIMITS
from .contract import JSON, Reply
from .entries import HIT, Entry
from .messages import Answer, completion_message_of
from .relay import Relay
from .streaming import Body, End, streamed
from .usage_stream import UsageHider


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from .._core.attempt import Outcome
    from .exchange import Exchange
    from .relay import Change
    from .router import Candidate
    from .targets import Target

    Steps = Generator[Any, Any, Any]


__all__ = ["delivered", "failed", "refused", "replayed"]


_EVENTS = "text/event-stream"


class _Body(NamedTuple):
    """What came, and what it says; *content_type* is that of a provider who names none."""

    content_type: str
    chunks: tuple[bytes, ...]
    model: str | None
    usage: Mapping[str, Any] | None


def delivered(exchange: Exchange, outcome: Outcome, *, hides_usage: bool) -> Steps:
    """The response for an attempt that brought an answer, be it whole or going on."""
    target: Any = outcome.target
    candidate: Candidate = target.candidate
    exchange.row["provider"] = candidate.provider
    exchange.gateway.measured(candidate, outcome.tried.ended - outcome.tried.began)
    if outcome.watch is None and outcome.held is not None:
        return (yield from _whole(exchange, outcome, target))
    if outcome.watch is None:
        return _passing(exchange, outcome, target, None)
    exchange.row["first_token"] = outcome.tried.ended - exchange.began
    counts = exchange.metering.counts
    changes: list[Change] = [UsageHider(), counts] if hides_usage else [counts]
    return _passing(exchange, outcome, target, _relay(exchange, outcome.watch, candidate, changes))


def _whole(exchange: Exchange, outcome: Outcome, target: Target) -> Steps:
    response: Any = outcome.answer
    read, candidate, metering = outcome.read, target.candidate, exchange.metering
    usage = None if read is None or read.usage is None else dict(read.usage)
    metering.count(usage, candidate)
    answer = metering.counted(Answer(exchange.path, outcome.body), usage)
    whole = _Body(JSON, (answer.body,), None if read is None else read.model, usage)
    entry = _entry(exchange, response, candidate, whole)
    dressed = metering.dressed(answer, cached=False)
    yield exchange.work(partial(exchange.delivered, entry, candidate, lambda: answer.message, streamed=False))
    return passed_on(exchange.request, entry.status, _headers(exchange, response, target), dressed.body)


def _entry(exchange: Exchange, response: Any, candidate: Candidate, body: _Body) -> Entry:
    usage = None if body.usage is None else dict(body.usage)
    return Entry(
        response.status_code,
        response.headers.get("content-type") or body.content_type,
        body.chunks,
        body.model,
        candidate.provider,
        usage,
        exchange.row.id,
        exchange.gateway.time(),
    )


def _headers(exchange: Exchange, response: Any, target: Target) -> list[tuple[bytes, bytes]]:
    own = [(name.encode(), value.encode()) for name, value in exchange.answer_headers()]
    return relayed_headers(response.headers, target.outgoing, own)


# -- streams


def _passing(exchange: Exchange, outcome: Outcome, target: Target, relay: Relay | None) -> Any:
    response: Any = outcome.answer
    finish = partial(_stream_ended, exchange, response, target.candidate, relay)
    end = End(target.name, finish, blocks=exchange.gateway.store.blocks)
    body = Body(response, outcome.held or [], is_read=outcome.over, relay=relay, end=end)
    return streamed(exchange.request, response.status_code, _headers(exchange, response, target), body)


def _relay(exchange: Exchange, watch: Watch, candidate: Candidate, changes: Sequence[Change]) -> Relay:
    metering = exchange.metering

    def summary() -> dict[str, Any]:
        metering.count(watch.usage, candidate)
        return metering.summary(_said(exchange, relay), watch.model, cached=False)

    relay = Relay(
        exchange.path,
        watch,
        changes=changes,
        dressing=metering.dressing,
        summary=metering.summary_events(summary),
        keeps=exchange.keeping is not None or exchange.row.keeps_text or metering.wants_summary,
    )
    return relay


def _said(exchange: Exchange, relay: Relay) -> dict[str, Any] | None:
    return completion_message_of(exchange.path, relay.kept) if relay.is_kept else None


def _stream_ended(
    exchange: Exchange,
    response: Any,
    candidate: Candidate,
    relay: Relay | None,
    error: BaseException | None,
) -> None:
    """A stream has come to its end, or broke off with *error*; may wait for the store."""
    is_whole = error is None if relay is None else relay.is_whole
    if not is_whole or isinstance(error, Exception):
        exchange.row["error"] = type(error).__name__ if isinstance(error, Exception) else "broken off"
    if relay is None:
        exchange.answered(response.status_code)
        return
    watch = relay.watch
    exchange.metering.count(watch.usage, candidate)
    if not is_whole:
        exchange.metering.cost = None  # what was counted so far is not all that was written
    chunks = tuple(relay.kept) if relay.is_kept and is_whole else ()
    entry = _entry(exchange, response, candidate, _Body(_EVENTS, chunks, watch.model, watch.usage))
    exchange.delivered(entry, candidate, partial(_said, exchange, relay), streamed=True)


# -- answers that nobody is paid for


def replayed(exchange: Exchange, entry: Entry, *, is_hit: bool = False) -> Steps:
    """The response for *entry*, which came from the cache (*is_hit*) or was made up by the caller."""
    exchange.metering.count(entry.usage, None)
    exchange.row["provider"] = entry.provider
    if is_hit:
        exchange.row["cache"] = "hit"
        exchange.headers.append(HIT)
    is_stream = entry.content_type.lower().startswith(_EVENTS)
    replay = (_replayed_events if is_stream else _replayed_body)(exchange, entry, is_hit)
    yield exchange.work(partial(exchange.answered, entry.status, model=entry.model, message=replay.message))
    reply = Reply(entry.status, entry.content_type, replay.chunks)
    return rendered(exchange.request, reply, exchange.answer_headers())


class _Replay(NamedTuple):
    """What the caller gets of an entry, and how to find what it says."""

    chunks: tuple[bytes, ...]
    message: Callable[[], object]


def _replayed_body(exchange: Exchange, entry: Entry, is_hit: bool) -> _Replay:
    answer = Answer(exchange.path, b"".join(entry.chunks))
    dressed = exchange.metering.dressed(answer, cached=is_hit)
    return _Replay((dressed.body,), lambda: answer.message)


def _replayed_events(exchange: Exchange, entry: Entry, is_hit: bool) -> _Replay:
    message = partial(completion_message_of, exchange.path, entry.chunks)
    chunks = _dressed_events(exchange, entry, is_hit) if exchange.metering.adds else entry.chunks
    return _Replay(chunks, message)


def _dressed_events(exchange: Exchange, entry: Entry, is_hit: bool) -> tuple[bytes, ...]:
    metering, watch = exchange.metering, Watch(exchange.path, max_event=LIMITS.event)

    def summary() -> dict[str, Any]:
        message = completion_message_of(exchange.path, entry.chunks)
        return metering.summary(message, watch.model, cached=is_hit)

    summaries = metering.summary_events(summary)
    relay = Relay(exchange.path, watch, dressing=metering.dressing, summary=summaries)
    chunks = [relay.passed(chunk) for chunk in entry.chunks]
    return tuple(chunk for chunk in [*chunks, relay.over()] if chunk)


# -- refusals


def refused(exchange: Exchange, reply: Reply) -> Steps:
    """The gateway's own words."""
    yield exchange.work(partial(exchange.refused, reply.status, reply.reason))
    return rendered(exchange.request, reply, exchange.answer_headers())


def failed(exchange: Exchange, outcome: Outcome) -> Steps:
    """The response for a failure: the provider's own error, in its own shape, or what became of it.

    Raises:
        ContractError: 502 or 504 if there is no such error.
    """
    target: Any = outcome.target
    response: Any = outcome.answer
    verdict: Any = outcome.verdict
    exchange.row["provider"] = target.candidate.provider
    refusal = failure(target.name, outcome)
    if refusal is not None:
        if not outcome.over:
            yield Close(response)
        raise refusal
    status = response.status_code if response.status_code >= 300 else verdict.status
    headers = _headers(exchange, response, target)
    yield exchange.work(partial(exchange.refused, status, verdict.reason))
    if outcome.over:
        return passed_on(exchange.request, status, headers, outcome.body)
    return _passing(exchange, outcome, target, None)
