"""One request on its way through the gateway, told in order.

1. Is it for us, may it come in, what does it ask? What cannot be read is refused; nothing is ignored.
2. The customer's profile is brought up to date. A stored prompt becomes messages.
3. The router says who may answer, in which order. An equal answer in the cache ends the search; an equal call
   that is under way is waited for.
4. What the call may cost is taken from the customer's budgets, or the call is refused with nothing sent.
5. The candidates are asked.
6. What the answer cost is settled, kept and logged before its last byte is handed over (``exchange``).
"""

from __future__ import annotations

import logging
import math
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from .._clock import now
from .._core.call import parse_object
from .._families import seconds_for
from ..exceptions import ConfigError, StoreError
from .answers import rendered
from .asking import ask, call_of
from .cache import caching_of, is_cacheable
from .contract import ContractError, invalid
from .delivery import delivered, failed, refused, replayed
from .echo import mocked
from .entries import Entry
from .exchange import Exchange
from .keeping import PATIENCE_SECONDS, Keeping
from .listing import model_list
from .messages import Answer
from .metering import Metering
from .primary import ASKED_FOR, ONLY_CANDIDATE
from .prompts import StoredPrompt
from .providers import name_at, paths_of
from .reading import MODELS, read, served
from .rendering import ids_in, render
from .spending import Spending
from .targets import Target
from .usage_stream import ask_for_usage


if TYPE_CHECKING:
    from collections.abc import Generator

    from .._core.attempt import Outcome
    from .cache import Caching
    from .gateway import LocalGateway
    from .router import Candidate

    Steps = Generator[Any, Any, Any]


__all__ = ["handled"]


_MISS = ("x-respan-cache", "miss")

#: Seconds that a call is taken to last at most whose caller has no limit.
_LONGEST_SECONDS = 3600.0

_log = logging.getLogger("respan_openai")


def handled(gateway: LocalGateway, request: Any, body: bytes) -> Steps:
    """The flow that answers *request*; it returns the response."""
    try:
        path = served(request.method, request.url.raw_path)
        caller = gateway.admit(request.headers)
    except ContractError as exc:
        return rendered(request, exc.reply)
    if path == MODELS:
        return rendered(request, model_list(gateway.router.models, gateway.providers))
    return (yield from _ended(Exchange(gateway, request, path, caller), body))


def _ended(exchange: Exchange, body: bytes) -> Steps:
    """The answer, or the refusal; whatever else happens, the exchange is over then."""
    try:
        try:
            return (yield from _answered(exchange, body))
        except ContractError as exc:
            return (yield from refused(exchange, exc.reply))
    except GeneratorExit:
        exchange.dropped()
        raise
    except BaseException as exc:
        yield exchange.work(partial(exchange.abandoned, exc))
        raise


def _answered(exchange: Exchange, body: bytes) -> Steps:
    yield from _introduced(exchange, body)
    gateway, asked = exchange.gateway, exchange.asked
    fields, echoed = yield from _rendered(exchange)
    exchange.fields = fields = dict(fields) if fields is not asked.fields else fields
    exchange.metering = Metering(asked, fields, gateway.prices, exchange.at, exchange.began)
    exchange.metering.prompt_message = echoed
    mock = asked.params.get("mock_response")
    if mock is not None:
        return (yield from replayed(exchange, _mocked(exchange, mock)))
    return (yield from _found_or_asked(exchange))


# -- what is asked


def _introduced(exchange: Exchange, body: bytes) -> Steps:
    gateway = exchange.gateway
    exchange.asked = asked = read(exchange.path, exchange.request.headers, body)
    params, environment = asked.params, exchange.caller.environment
    exchange.spending = spending = Spending(gateway.store, gateway.settings, environment, params, exchange.at)
    exchange.omits_log = params.get("is_log_omitted", False)
    keeps_text = not params.get("disable_log", gateway.settings.disable_log)
    exchange.row.asked(asked, spending.identifier, keeps_text=keeps_text)
    yield from spending.learn()


def _rendered(exchange: Exchange) -> Steps:
    """OpenAI's fields with what a stored prompt makes of them, and its messages if they are to be shown."""
    asked = exchange.asked
    prompt, variables = asked.params.get("prompt"), asked.params.get("variables")
    if prompt is None or prompt.get("is_custom_prompt"):
        return asked.fields, None
    stored: dict[str, StoredPrompt] = {}
    for prompt_id in ids_in(prompt, variables):
        found = exchange.gateway.prompts.get(prompt_id) or (yield from _stored_prompt(exchange, prompt_id))
        if found is not None:
            stored[prompt_id] = found
    made = render(exchange.path, asked.fields, prompt, variables, stored)
    exchange.row.prompted(prompt["prompt_id"], made)
    return made.fields, made.messages if prompt.get("echo") else None


def _stored_prompt(exchange: Exchange, prompt_id: str) -> Steps:
    try:
        kept = yield exchange.work(partial(exchange.gateway.store.prompt, prompt_id))
        return None if kept is None else StoredPrompt.from_json(kept, name=prompt_id)
    except (StoreError, ConfigError) as exc:
        _log.warning("A stored prompt cannot be read. %s", exc)
        message = "The stored prompt cannot be read."
        raise invalid(message, "prompt.prompt_id", "prompt_unreadable") from None


def _mocked(exchange: Exchange, text: str) -> Entry:
    row_id, model = exchange.row.id, exchange.fields.get("model")
    reply = mocked(exchange.path, dict(exchange.fields), text, row_id)
    usage = parse_object(reply.chunks[0]).get("usage")
    chunks = _counted(exchange, reply.chunks, usage)
    return Entry(reply.status, reply.content_type, chunks, model, "mock", usage, row_id, exchange.at)


def _counted(exchange: Exchange, chunks: tuple[bytes, ...], usage: Any) -> tuple[bytes, ...]:
    metering = exchange.metering
    if usage:
        return (metering.counted(Answer(exchange.path, b"".join(chunks)), usage).body,)
    return tuple(event for chunk in chunks for event in metering.counts.passed(chunk))


# -- who answers


def _found_or_asked(exchange: Exchange) -> Steps:
    gateway, asked, fields = exchange.gateway, exchange.asked, exchange.fields
    draw = random.random()  # noqa: S311 -- spreads load, hides nothing
    candidates = gateway.router.candidates(asked.params, fields, asked.route, draw=draw)
    exchange.candidates = candidates = _serving(gateway, exchange.path, candidates)
    first = candidates[0]
    exchange.row["why"] = first.why
    caching = caching_of(asked.params, gateway.settings)
    named = {**fields, "model": first.model}
    if caching.enabled and asked.form is None and is_cacheable(exchange.path, named):
        entry = yield from _found(exchange, caching, first)
        if entry is not None:
            exchange.omits_log |= caching.omit_log
            return (yield from replayed(exchange, entry, is_hit=True))
        exchange.headers.append(_MISS)
        exchange.row["cache"] = "miss"
    return (yield from _asked(exchange))


def _serving(gateway: LocalGateway, path: str, candidates: list[Candidate]) -> list[Candidate]:
    """Those whose provider serves *path*; and the one that the request names, to be told what is wrong with it."""
    able = [each for each in candidates if path in paths_of(gateway.providers[each.provider])]
    first = candidates[0]
    is_named = first.why in {ASKED_FOR, ONLY_CANDIDATE}
    return able if able and (first in able or not is_named) else [first, *able]


def _found(exchange: Exchange, caching: Caching, candidate: Candidate) -> Steps:
    """What the cache has for the call; ``None`` for nothing, or if it cannot be used."""
    gateway, caller = exchange.gateway, exchange.caller
    mark = yield from gateway.cache_marks(caller)
    if mark is None:
        return None
    customer = None if exchange.spending is None else exchange.spending.identifier

    def partition(candidate: Candidate) -> tuple[str, ...]:
        return caching.partition(caller.environment, mark(candidate), customer)

    exchange.keeping = Keeping(
        gateway.store,
        gateway.flights,
        caching,
        path=exchange.path,
        fields=exchange.fields,
        partition=partition,
        patience=min(PATIENCE_SECONDS, (seconds_for(exchange.request) or math.inf) / 2),
    )
    return (yield from exchange.keeping.find(candidate, exchange.at))


def _asked(exchange: Exchange) -> Steps:
    asked = exchange.asked
    sent, hides_usage = ask_for_usage(exchange.path, exchange.fields)
    targets = [_target(exchange, candidate, sent) for candidate in exchange.candidates]
    yield from _reserved(exchange, targets)
    exchange.metering.routed, exchange.is_sent = now(), True
    outcome: Outcome = yield from ask(
        call_of(exchange.request, asked), targets, asked, exchange.gateway.settings, exchange.trace
    )
    if outcome.verdict is not None:
        return (yield from failed(exchange, outcome))
    return (yield from delivered(exchange, outcome, hides_usage=hides_usage))


def _target(exchange: Exchange, candidate: Candidate, fields: dict[str, Any]) -> Target:
    gateway = exchange.gateway
    provider = gateway.providers[candidate.provider]
    write = partial(exchange.asked.body_for, name_at(provider, candidate.sent), fields)
    return Target(provider, candidate, write, gateway.health_at(candidate))


def _reserved(exchange: Exchange, targets: list[Target]) -> Steps:
    spending, gateway = exchange.spending, exchange.gateway
    if spending is None or not spending.has_budgets:
        return
    bound = exchange.metering.estimate(
        exchange.candidates,
        max(len(target.body) for target in targets),
        gateway.settings.reserve_output_tokens,
    )
    yield from spending.reserve(exchange.row.id, bound, seconds_for(exchange.request) or _LONGEST_SECONDS)
