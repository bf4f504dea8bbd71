"""What a call took and cost, and what its answer says about it: counters, tokens by kind, the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._clock import now
from .._core.plain import is_object
from .breakdown import BreakdownEvents, breakdown, with_breakdown, with_token_breakdown
from .masking import masked
from .messages import prompt_messages_of
from .price import cost, estimate, longest_answer
from .prices import Prices
from .rows import coerced
from .usage import tokens_of, with_cache_counters
from .usage_stream import UsageEvents


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .messages import Answer
    from .price import Price
    from .reading import Asked
    from .router import Candidate
    from .usage import Tokens

    Object = dict[str, Any]


__all__ = ["Metering"]


_TOKEN_BREAKDOWN = "token-breakdown-2026-03-26"  # noqa: S105 -- the name of a beta feature


class Metering:
    """One call's.

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

    def estimate(self, candidates: Iterable[Candidate], size: int, default: int) -> int | None:
        """The most that an answer of any of *candidates* may cost; ``None`` if one of them has no price.

        Args:
            candidates: Those who may be asked.
            size: Of the largest request to one of them, in bytes.
            default: Tokens of an answer where neither the request nor the model says how long it may be.
        """
        bounds = [self._bound(candidate, size, default) for candidate in candidates]
        known = [bound for bound in bounds if bound is not None]
        return max(known, default=0) if len(known) == len(bounds) else None

    def _bound(self, candidate: Candidate, size: int, default: int) -> int | None:
        longest = (candidate.declared and candidate.declared.max_output) or default
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
            prompt_messages=prompt_messages_of(asked.path, masked(self._fields)),
            completion_message=message,
            model=model,
            cached=cached,
            at=self._at,
            status_code=200,
            stream=asked.streams,
            latency=now() - self._began,
            routing_time=self.routed - self._began,
            full_request=masked(asked.fields),
            metadata=coerced(asked.params.get("metadata") or {}),
        )

    def counted(self, answer: Answer, usage: Object | None) -> Answer:
        """*answer*, which tells *usage*, with both names of its cache counters, as every caller gets it."""
        counted = usage and self._counters(usage)
        if counted is usage or not answer.says:
            return answer
        return answer.saying({**answer.says, "usage": counted})

    @property
    def counts(self) -> UsageEvents:
        """What does to a stream as :meth:`counted` does to a whole answer."""
        return UsageEvents(self._asked.path, self._counters)

    def _counters(self, usage: Object) -> Object:
        return with_cache_counters(usage, self._asked.path)

    @property
    def adds(self) -> bool:
        """Whether this caller asked for anything to be added to the answer."""
        return self.wants_summary or self._wants_kinds or self.prompt_message is not None

    def dressed(self, answer: Answer, *, cached: bool) -> Answer:
        """A whole *answer* with what this caller asked for; itself if that is nothing."""
        if not self.adds or not answer.says:
            return answer
        changed = dict(answer.says)
        usage: object = changed.get("usage")
        if self._wants_kinds and is_object(usage) and usage:
            changed["usage"] = _with_kinds(usage)
        if self.prompt_message is not None:
            changed["prompt_message"] = self.prompt_message
        if self.wants_summary:
            summary = self.summary(answer.message, answer.says.get("model"), cached=cached)
            changed = with_breakdown(changed, summary)
        return answer.saying(changed)

    @property
    def dressing(self) -> list[UsageEvents]:
        """What does to a stream as :meth:`dressed` does, but for the summary."""
        return [UsageEvents(self._asked.path, _with_kinds)] if self._wants_kinds else []

    def summary_events(self, summary: Callable[[], Object]) -> BreakdownEvents | None:
        """What puts the summary into a stream; ``None`` if it was not asked for."""
        return BreakdownEvents(self._asked.path, summary) if self.wants_summary else None


def _with_kinds(usage: Object) -> Object:
    return with_token_breakdown(usage, tokens_of(usage))
