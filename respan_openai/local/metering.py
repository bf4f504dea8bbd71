"""What a call took and cost, and what its answer says about it: counters, tokens by kind, the summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._clock import now
from .._core.call import dump_object, parse_object
from .breakdown import BreakdownEvents, breakdown, with_breakdown, with_token_breakdown
from .messages import prompt_messages_of
from .price import cost, estimate, longest_answer
from .prices import Prices
from .rows import coerced
from .usage import tokens_of, with_cache_counters
from .usage_stream import with_usage


if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .price import Price
    from .reading import Asked
    from .relay import Change
    from .router import Candidate
    from .settings import Model
    from .usage import Tokens

    Object = dict[str, Any]


__all__ = ["Metering"]


_TOKEN_BREAKDOWN = "token-breakdown-2026-03-26"  # noqa: S105 -- the name of a beta feature

_JSON_PATHS = frozenset({"/chat/completions", "/responses", "/embeddings"})


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
        routed: Monotonic seconds when the first provider was asked.
        prompt_message: Messages of the stored prompt, if its ``echo`` asks for them.
    """

    def __init__(self, asked: Asked, fields: Mapping[str, Any], prices: Prices, at: float, began: float) -> None:
        self.tokens: Tokens | None = None
        self.cost: int | None = None
        self.routed = began
        self.prompt_message: list[Any] | None = None
        self._asked = asked
        self._fields = dict(fields)
        self._prices = prices
        self._at = at
        self._began = began
        self._wants_summary = bool(asked.params.get("request_breakdown"))
        self._wants_kinds = _TOKEN_BREAKDOWN in asked.beta

    def _price(self, candidate: Candidate) -> Price | None:
        params = self._asked.params
        price = self._prices.of(candidate.provider, candidate.sent)
        return Prices.with_units(price, params.get("prompt_unit_price"), params.get("completion_unit_price"))

    def estimate(
        self, candidates: Iterable[Candidate], size: int, model_of: Callable[[Candidate], Model | None], default: int
    ) -> int | None:
        """The most that the call may cost whoever of *candidates* answers; ``None`` if one of them has no price.

        *size* is that of the request in bytes; *default* is taken for an answer's length where nobody limits it.
        """
        path, most = self._asked.path, 0
        for candidate in candidates:
            model = model_of(candidate)
            longest = longest_answer(path, self._fields, (model and model.max_output) or default)
            bound = estimate(size, longest, self._price(candidate))
            if bound is None:
                return None
            most = max(most, bound)
        return most

    def count(self, usage: object, candidate: Candidate | None) -> None:
        """Note what the provider counted; *candidate* is ``None`` for an answer that nobody is paid for."""
        self.tokens = tokens_of(usage)
        self.cost = 0 if candidate is None else cost(self.tokens, self._price(candidate))

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

    def dressed(self, body: bytes, message: Callable[[Object], Object | None], *, cached: bool) -> bytes:
        """A whole answer's *body* with what was asked to be added to it; the same bytes if that is nothing.

        *message* finds the message in an answer.
        """
        answer = parse_object(body) if self._asked.path in _JSON_PATHS else {}
        if not answer:
            return body
        dressed = dict(answer)
        usage = answer.get("usage")
        if isinstance(usage, dict) and usage:
            dressed["usage"] = self._counted(usage)
        if self.prompt_message is not None:
            dressed["prompt_message"] = self.prompt_message
        if self._wants_summary:
            dressed = with_breakdown(dressed, self.summary(message(answer), answer.get("model"), cached=cached))
        return body if dressed == answer else dump_object(dressed)

    def _counted(self, usage: Object) -> Object:
        counted = with_cache_counters(usage, self._asked.path)
        return with_token_breakdown(counted, tokens_of(usage)) if self._wants_kinds else counted

    def passed(self, event: bytes) -> list[bytes]:
        """The same for the event of a stream that tells the usage; as a ``Change``."""
        return [with_usage(event, self._asked.path, self._counted)]

    def summary_events(self, summary: Callable[[], Object]) -> BreakdownEvents | None:
        """What puts the summary into a stream; ``None`` if it was not asked for."""
        return BreakdownEvents(self._asked.path, summary) if self._wants_summary else None

    @property
    def changes(self) -> list[Change]:
        """What is done to every stream of this call."""
        return [self]
