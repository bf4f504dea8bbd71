"""What a call took and cost, and what its answer says about it: counters, tokens by kind, the summary."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .._clock import now
from .._core.call import dump_object, parse_object
from .breakdown import BreakdownEvents, breakdown, with_breakdown, with_token_breakdown
from .contract import is_object
from .messages import completion_message_of, prompt_messages_of
from .price import cost, estimate, longest_answer
from .prices import Prices
from .rows import coerced
from .usage import tokens_of, with_cache_counters
from .usage_stream import with_usage


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .price import Price
    from .reading import Asked
    from .router import Candidate
    from .settings import Model
    from .usage import Tokens

    Object = dict[str, Any]


__all__ = ["Metering"]


_TOKEN_BREAKDOWN = "token-breakdown-2026-03-26"  # noqa: S105 -- the name of a beta feature

_JSON_PATHS = frozenset({"/chat/completions", "/responses", "/embeddings"})

#: Most chunks of a stream have none, or a null: parsing them would cost more than all the rest.
_USAGE = re.compile(rb'"usage"\s*:\s*\{')


class Metering:
    """One call's; a ``Change`` of its stream as well, which sees to the counters.

    Args:
        asked: The request.
        fields: OpenAI's, prompts rendered.
        prices: Of models.
        at: Seconds since 1970 when it came.
        began: The same moment, in monotonic seconds.

    Attributes:
        tokens: What it took; ``None`` until that is known.
        cost: In 1e-9 USD; ``None`` until that is known.
        routed: Monotonic seconds when the first provider was asked; until then, when it came.
        prompt_message: Messages of the stored prompt, if its ``echo`` asks for them.
        wants_summary: Whether the answer is to have a ``request_breakdown``.

    Raises:
        ContractError: 400 if a price that came with the request is none.
    """

    def __init__(
        self, asked: Asked, fields: Mapping[str, Any], prices: Prices, at: float, began: float
    ) -> None:
        self.tokens: Tokens | None = None
        self.cost: int | None = None
        self.routed = began
        self.prompt_message: list[Any] | None = None
        self._asked = asked
        self._units = asked.params.get("prompt_unit_price"), asked.params.get("completion_unit_price")
        Prices.with_units(None, *self._units)
        self._fields = dict(fields)
        self._prices = prices
        self._at = at
        self._began = began
        self.wants_summary = bool(asked.params.get("request_breakdown"))
        self._wants_kinds = _TOKEN_BREAKDOWN in asked.beta

    def _price(self, candidate: Candidate) -> Price | None:
        return Prices.with_units(self._prices.of(candidate.provider, candidate.sent), *self._units)

    # -- what it costs

    def estimate(
        self,
        candidates: Iterable[Candidate],
        size: int,
        model_of: Callable[[Candidate], Model | None],
        default: int,
    ) -> int | None:
        """The most that an answer may cost, whoever of *candidates* gives it; ``None`` if one of them has no price.

        Args:
            candidates: Those who may be asked.
            size: Of the largest request to one of them, in bytes.
            model_of: What is declared about a candidate's model.
            default: Tokens of an answer where neither the request nor the model says how long it may be.
        """
        bounds = [self._bound(candidate, size, model_of(candidate), default) for candidate in candidates]
        known = [bound for bound in bounds if bound is not None]
        return max(known, default=0) if len(known) == len(bounds) else None

    def _bound(self, candidate: Candidate, size: int, model: Model | None, default: int) -> int | None:
        longest = (model and model.max_output) or default
        return estimate(size, longest_answer(self._asked.path, self._fields, longest), self._price(candidate))

    def count(self, usage: object, candidate: Candidate | None) -> None:
        """Note what the provider counted; *candidate* is ``None`` for an answer that nobody is paid for."""
        self.tokens = tokens_of(usage)
        self.cost = 0 if candidate is None else cost(self.tokens, self._price(candidate))

    # -- what the answer says about it

    def summary(self, message: Object | None, model: str | None, *, cached: bool) -> Object:
        """The ``request_breakdown`` of the call as it stands."""
        asked = self._asked
        return breakdown(
            tokens=self.tokens,
            cost=self.cost,
            prompt_messages=prompt_messages_of(asked.path, self._fields),
            completion_message=message,
            model=model,
            cached=cached,
            at=self._at,
            status_code=200,
            stream=asked.streams,
            latency=now() - self._began,
            routing_time=self.routed - self._began,
            full_request=asked.fields,
            metadata=coerced(asked.params.get("metadata") or {}),
        )

    def dressed(self, body: bytes, *, cached: bool) -> bytes:
        """A whole answer's *body* with what was asked to be added to it; the same bytes if that is nothing."""
        answer = parse_object(body) if self._asked.path in _JSON_PATHS else {}
        changed = self._dressed(answer, cached=cached) if answer else answer
        try:
            return body if changed == answer else dump_object(changed)
        except (
            ValueError
        ):  # NaN, or half a surrogate pair: Python reads them, JSON and UTF-8 do not have them
            return body

    def _dressed(self, answer: Object, *, cached: bool) -> Object:
        changed = dict(answer)
        usage: object = answer.get("usage")
        if is_object(usage) and usage:
            changed["usage"] = self._counted(usage)
        if self.prompt_message is not None:
            changed["prompt_message"] = self.prompt_message
        if not self.wants_summary:
            return changed
        message = completion_message_of(self._asked.path, answer)
        return with_breakdown(changed, self.summary(message, answer.get("model"), cached=cached))

    def _counted(self, usage: Object) -> Object:
        counted = with_cache_counters(usage, self._asked.path)
        return with_token_breakdown(counted, tokens_of(usage)) if self._wants_kinds else counted

    def passed(self, event: bytes) -> list[bytes]:
        """*event* of a stream, with the same counters in its usage if it tells one."""
        if _USAGE.search(event) is None:
            return [event]
        return [with_usage(event, self._asked.path, self._counted)]

    def summary_events(self, summary: Callable[[], Object]) -> BreakdownEvents | None:
        """What puts the summary into a stream; ``None`` if it was not asked for."""
        return BreakdownEvents(self._asked.path, summary) if self.wants_summary else None
