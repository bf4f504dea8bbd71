"""One request on its way through the gateway, told in order.

1. Is it for us, may it come in, what does it ask? What cannot be read is refused; nothing is ignored.
2. A stored prompt becomes messages. The customer's profile is brought up to date.
3. The router says who may answer, in which order. An equal answer in the cache ends the search; an equal call that is
   under way is waited for.
4. What the call may cost is taken from the customer's budgets, or the call is refused with nothing sent.
5. The candidates are asked.
6. What the answer cost is settled, kept and logged before its last byte is handed over.
"""

from __future__ import annotations

import logging
import random
from functools import partial
from typing import TYPE_CHECKING, Any

from .._clock import now
from .._core.call import parse_object
from .._core.sse import Watch
from .._core.trace import Trace
from ..exceptions import ConfigError, RespanError, StoreError
from .answers import End, failure, passed_on, relayed_headers, rendered, streamed
from .asking import LIMITS, ask, call_of, seconds_for
from .cache import caching_of, is_cacheable
from .contract import JSON, ContractError, Reply, invalid
from .customers import NANO
from .echo import mocked
from .entries import HIT, Entry
from .keeping import Keeping, mark_of
from .messages import completion_message_of
from .metering import Metering
from .prompts import StoredPrompt
from .providers import Choice
from .reading import MODELS, read, served
from .relay import Relay
from .rendering import ids_in, render
from .rows import Row
from .spending import Spending
from .steps import Work
from .usage_stream import UsageHider, ask_for_usage


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from .._core.attempt import Outcome
    from .cache import Caching
    from .gateway import Caller, LocalGateway
    from .reading import Asked
    from .router import Candidate

    Steps = Generator[Any, Any, Any]


__all__ = ["handled"]


_LOG_ID = "X-Respan-Log-Id"
_REQUEST_ID = "x-respan-gateway-request-id"
_MISS = ("x-respan-cache", "miss")
_EVENTS = "text/event-stream"

#: Seconds that a call is taken to last at most whose caller has no limit.
_LONGEST_SECONDS = 3600.0

_log = logging.getLogger("respan_openai")


def handled(gateway: LocalGateway, request: Any, body: bytes, run: Callable[[Steps], Any]) -> Steps:
    """The flow that answers *request*; it returns the response.

    *run* performs further steps, at once or as an awaitable: those at the end of a stream.
    """
    try:
        path = served(request.method, request.url.raw_path)
        caller = gateway.admit(request.headers)
    except ContractError as exc:
        return rendered(request, exc.reply)
    if path == MODELS:
        return rendered(request, gateway.model_list())
    handling = _Handling(gateway, request, path, caller, run)
    try:
        return (yield from handling.answer(body))
    except ContractError as exc:
        return (yield from handling.refused(exc.reply))
    except BaseException:
        handling.abandoned()
        raise


class _Handling:
    """A request that was let in."""

    def __init__(
        self, gateway: LocalGateway, request: Any, path: str, caller: Caller, run: Callable[[Steps], Any]
    ) -> None:
        self._gateway = gateway
        self._request = request
        self._path = path
        self._caller = caller
        self._run = run
        self._at = gateway.time()
        self._began = now()
        self._row = row = Row(self._at, caller.environment, path)
        self._extra: list[tuple[str, str]] = [(_LOG_ID, row.id), (_REQUEST_ID, row.id)]
        self._trace = Trace(path, self._began)
        self._spending: Spending | None = None
        self._keeping: Keeping | None = None
        self._omits_log = False
        self._asked: Asked
        self._fields: Mapping[str, Any]
        self._metering: Metering
        gateway.running[row.id] = row

    # -- what is asked

    def answer(self, body: bytes) -> Steps:
        gateway, row = self._gateway, self._row
        self._asked = asked = read(self._path, self._request.headers, body)
        params = asked.params
        self._spending = spending = Spending(
            gateway.store, gateway.settings, self._caller.environment, params, self._at
        )
        self._omits_log = params.get("is_log_omitted", False)
        keeps_text = not params.get("disable_log", gateway.settings.disable_log)
        row.asked(asked, spending.identifier, keeps_text=keeps_text)
        yield from spending.learn()
        self._fields = yield from self._rendered()
        self._metering = metering = Metering(asked, self._fields, gateway.prices, self._at, self._began)
        metering.prompt_message = self._echoed_prompt
        mock = params.get("mock_response")
        if mock is not None:
            return (yield from self._replayed(self._mocked(mock)))
        return (yield from self._found_or_asked())

    _echoed_prompt: list[Any] | None = None

    def _rendered(self) -> Steps:
        """OpenAI's fields, with what a stored prompt makes of them."""
        asked = self._asked
        prompt, variables = asked.params.get("prompt"), asked.params.get("variables")
        if prompt is None or prompt.get("is_custom_prompt"):
            return asked.fields
        stored: dict[str, StoredPrompt] = {}
        for prompt_id in ids_in(prompt, variables):
            found = self._gateway.prompts.get(prompt_id) or (yield from self._stored_prompt(prompt_id))
            if found is not None:
                stored[prompt_id] = found
        rendered_prompt = render(self._path, asked.fields, prompt, variables, stored)
        self._row.prompted(prompt["prompt_id"], rendered_prompt)
        self._echoed_prompt = rendered_prompt.messages if prompt.get("echo") else None
        return rendered_prompt.fields

    def _stored_prompt(self, prompt_id: str) -> Steps:
        store = self._gateway.store
        try:
            kept = yield Work(partial(store.prompt, prompt_id), store.blocks)
            return None if kept is None else StoredPrompt.from_json(kept, name=prompt_id)
        except (StoreError, ConfigError) as exc:
            _log.warning("A stored prompt cannot be read. %s", exc)
            message = "The stored prompt cannot be read."
            raise invalid(message, "prompt.prompt_id", "prompt_unreadable") from None

    def _mocked(self, text: str) -> Entry:
        reply = mocked(self._path, dict(self._fields), text, self._row.id)
        usage = parse_object(reply.chunks[0]).get("usage")
        return Entry(reply.status, reply.content_type, reply.chunks, None, "mock", usage, self._row.id, self._at)

    # -- who answers

    def _found_or_asked(self) -> Steps:
        gateway, asked, fields = self._gateway, self._asked, self._fields
        draw = random.random()  # noqa: S311 -- spreads load, hides nothing
        candidates = gateway.router.candidates(asked.params, fields, asked.route, draw=draw)
        self._row["why"] = candidates[0].why
        caching = caching_of(asked.params, gateway.settings)
        named = {**fields, "model": candidates[0].model}
        if caching.enabled and asked.form is None and is_cacheable(self._path, named):
            entry = yield from self._looked_up(caching, candidates[0])
            if entry is not None:
                self._omits_log |= caching.omit_log
                self._extra.append(HIT)
                return (yield from self._replayed(entry, is_hit=True))
            self._extra.append(_MISS)
            self._row["cache"] = "miss"
        return (yield from self._asked_of(candidates))

    def _looked_up(self, caching: Caching, candidate: Candidate) -> Steps:
        gateway = self._gateway
        secret = yield from gateway.cache_secret()
        customer = None if self._spending is None else self._spending.identifier

        def partition(candidate: Candidate) -> tuple[str, ...]:
            mark = mark_of(secret, self._caller.key, candidate)
            return caching.partition(self._caller.environment, mark, customer)

        self._keeping = Keeping(
            gateway.store, gateway.flights, caching, self._path, self._fields, partition
        )
        return (yield from self._keeping.find(candidate, self._at))

    def _asked_of(self, candidates: list[Candidate]) -> Steps:
        sent, hides_usage = ask_for_usage(self._path, dict(self._fields))
        fields = sent if hides_usage else self._fields
        choices = [self._choice(candidate, fields) for candidate in candidates]
        yield from self._reserve(candidates)
        call = call_of(self._request, self._asked, b"{}" if self._asked.form is None else self._asked.raw)
        self._metering.routed = now()
        outcome: Outcome = yield from ask(call, choices, self._asked, self._gateway.settings, self._trace)
        self._row.attempted(self._trace, candidates, self._began)
        if outcome.verdict is not None:
            return (yield from self._failed(outcome))
        return (yield from self._answered(outcome, hides_usage=hides_usage))

    def _choice(self, candidate: Candidate, fields: Mapping[str, Any]) -> Choice:
        gateway = self._gateway
        provider = gateway.providers[candidate.provider]
        body = self._asked.body_for(candidate.sent, fields)
        return Choice(provider, candidate, body, gateway.health_at(candidate))

    def _reserve(self, candidates: list[Candidate]) -> Steps:
        spending, gateway = self._spending, self._gateway
        if spending is None or not spending.has_budgets:
            return
        bound = self._metering.estimate(
            candidates, len(self._asked.raw), gateway.model_of, gateway.settings.reserve_output_tokens
        )
        seconds = seconds_for(self._request) or _LONGEST_SECONDS
        yield from spending.reserve(self._row.id, bound, seconds)

    # -- what is answered

    def _answered(self, outcome: Outcome, *, hides_usage: bool) -> Steps:
        choice: Any = outcome.target
        candidate: Candidate = choice.candidate
        response: Any = outcome.answer
        self._row["provider"] = candidate.provider
        self._row["first_token"] = outcome.tried.ended - self._began if outcome.watch is not None else None
        self._gateway.measured(candidate, outcome.tried.ended - outcome.tried.began)
        headers = self._headers(response, choice)
        if outcome.watch is not None or outcome.held is None:
            return self._going_on(outcome, candidate, headers, hides_usage=hides_usage)
        body = outcome.body
        usage = outcome.read.usage if outcome.read is not None else None
        model = outcome.read.model if outcome.read is not None else None
        self._metering.count(usage, candidate)
        entry = Entry(
            response.status_code,
            response.headers.get("content-type", JSON),
            (body,),
            model,
            candidate.provider,
            None if usage is None else dict(usage),
            self._row.id,
            self._gateway.time(),
        )
        dressed = self._metering.dressed(body, partial(completion_message_of, self._path), cached=False)
        yield from self._settled(candidate, entry, streamed=False)
        return passed_on(self._request, response.status_code, headers, dressed)

    def _going_on(
        self, outcome: Outcome, candidate: Candidate, headers: Any, *, hides_usage: bool
    ) -> Any:
        response: Any = outcome.answer
        watch = outcome.watch
        relay = None if watch is None else self._relay(watch, candidate, hides_usage=hides_usage)

        def finish(error: BaseException | None) -> Steps:
            return self._streamed(relay, candidate, response, error)

        end = End(candidate.provider, finish, self._run)
        return streamed(self._request, response, headers, outcome.held or [], relay, end)

    def _relay(self, watch: Watch, candidate: Candidate | None, *, hides_usage: bool, cached: bool = False) -> Relay:
        metering = self._metering

        def summary() -> dict[str, Any]:
            if not cached:
                metering.count(watch.usage, candidate)
            return metering.summary(self._message(relay), watch.model, cached=cached)

        changes = [UsageHider(), *metering.changes] if hides_usage else metering.changes
        relay = Relay(
            self._path,
            watch,
            changes=changes,
            summary=metering.summary_events(summary),
            keeps=self._keeping is not None or self._row.keeps_text,
        )
        return relay

    def _message(self, relay: Relay) -> Any:
        return completion_message_of(self._path, relay.kept) if relay.is_kept else None

    def _streamed(
        self, relay: Relay | None, candidate: Candidate, response: Any, error: BaseException | None
    ) -> Steps:
        """A stream has come to its end, or broke off with *error*."""
        if relay is None:
            self._row["status"] = response.status_code
            yield from self._settled(candidate, None, streamed=True)
            return
        watch = relay.watch
        self._metering.count(watch.usage, candidate)
        if not relay.is_whole:
            self._row["error"] = "broken off" if error is None or isinstance(error, GeneratorExit) else type(error).__name__
        chunks = tuple(relay.kept) if relay.is_kept and relay.is_whole else ()
        usage = None if watch.usage is None else dict(watch.usage)
        entry = Entry(
            response.status_code,
            response.headers.get("content-type", _EVENTS),
            chunks,
            watch.model,
            candidate.provider,
            usage,
            self._row.id,
            self._gateway.time(),
        )
        self._row.answered(self._message(relay))
        yield from self._settled(candidate, entry, streamed=True)

    def _replayed(self, entry: Entry, *, is_hit: bool = False) -> Steps:
        """Answer with *entry*, which nobody is paid for."""
        metering, row = self._metering, self._row
        metering.count(entry.usage, None)
        row["provider"] = entry.provider
        row["cache"] = "hit" if is_hit else None
        chunks = entry.chunks
        if entry.content_type.startswith(_EVENTS):
            relay = self._relay(Watch(self._path, max_event=LIMITS.event), None, hides_usage=False, cached=is_hit)
            chunks = tuple(out for chunk in chunks if (out := relay.passed(chunk)))
            row.answered(self._message(relay))
        else:
            find = partial(completion_message_of, self._path)
            chunks = (metering.dressed(b"".join(chunks), find, cached=is_hit),)
        reply = Reply(entry.status, entry.content_type, chunks)
        yield from self._settled(None, entry, streamed=entry.content_type.startswith(_EVENTS))
        return rendered(self._request, reply, self._extra)

    # -- how it ends

    def _headers(self, response: Any, choice: Choice) -> list[tuple[bytes, bytes]]:
        own = [(name.encode(), value.encode()) for name, value in self._extra]
        replaced = {name.lower() for name, _ in own}
        kept = relayed_headers(response.headers, choice.outgoing)
        return [*(item for item in kept if item[0].lower() not in replaced), *own]

    def _failed(self, outcome: Outcome) -> Steps:
        choice: Any = outcome.target
        refusal = failure(choice.name, outcome)
        self._row["provider"] = choice.name
        may_be_billed = outcome.verdict is not None and outcome.answer is None and outcome.verdict.rule.billed
        if self._spending is not None and may_be_billed:
            self._spending.keep_estimate()
        if refusal is not None:
            raise refusal
        return (yield from self._refusal_of(outcome, choice))

    def _refusal_of(self, outcome: Outcome, choice: Choice) -> Steps:
        """A provider's own error, in its own shape."""
        response: Any = outcome.answer
        verdict = outcome.verdict
        status = response.status_code
        if verdict is not None and status < 300:
            status = verdict.status or status
        self._row["status"] = status
        self._row["error"] = None if verdict is None else verdict.reason
        headers = self._headers(response, choice)
        yield from self._unpaid()
        yield from self._ended()
        if outcome.over:
            return passed_on(self._request, status, headers, outcome.body)
        end = End(choice.name, _nothing, self._run)
        return streamed(self._request, response, headers, outcome.held or [], None, end)

    def refused(self, reply: Reply) -> Steps:
        """Answer with the gateway's own words."""
        self._row["status"] = reply.status
        self._row["error"] = reply.reason
        yield from self._unpaid()
        yield from self._ended()
        return rendered(self._request, reply, self._extra)

    def _unpaid(self) -> Steps:
        """Give back what was reserved, unless a provider may have worked for it."""
        if self._spending is not None:
            yield from self._spending.settle(0, self._gateway.time())

    def _settled(self, candidate: Candidate | None, entry: Entry | None, *, streamed: bool) -> Steps:
        row, metering, at = self._row, self._metering, self._gateway.time()
        if self._spending is not None:
            yield from self._spending.settle(metering.cost, at)
            charged = self._spending.charged(metering.cost)
            row["customer_cost"] = None if charged is None else charged / NANO
        row.metered(metering.tokens, metering.cost)
        if entry is not None:
            row["status"], row["answer_model"] = entry.status, entry.model
            if not streamed and row.keeps_text:
                row.answered(completion_message_of(self._path, _object_of(entry)))
        if self._keeping is not None and entry is not None and candidate is not None:
            yield from self._keeping.keep(candidate, entry, streamed=streamed)
        yield from self._ended()

    def _ended(self) -> Steps:
        row, gateway = self._row, self._gateway
        row["latency"] = now() - self._began
        if self._keeping is not None:
            self._keeping.land(None)
        gateway.running.pop(row.id, None)
        if self._omits_log:
            return
        try:
            yield Work(partial(gateway.store.log, row.finished()), gateway.store.blocks)
        except StoreError as exc:
            _log.warning("A row of the call log is lost. %s", exc)

    def abandoned(self) -> None:
        """The caller has gone, or something broke that is not the provider's doing: let nobody wait for this call."""
        if self._keeping is not None:
            self._keeping.land(None)
        self._gateway.running.pop(self._row.id, None)
        self._row["error"] = "abandoned"
        self._row["latency"] = now() - self._began
        if not self._omits_log:
            try:
                self._gateway.store.log(self._row.finished())
            except RespanError as exc:
                _log.warning("A row of the call log is lost. %s", exc)


def _nothing(_error: BaseException | None) -> Steps:
    return
    yield


def _object_of(entry: Entry) -> Any:
    return parse_object(b"".join(entry.chunks))
