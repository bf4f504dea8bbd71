"""What tokens cost: the price of a model, and the money that a call takes.

1. Prices are US dollars per 1,000,000 tokens, as price lists have them; money is a whole number of 1e-9 USD.
2. What is not known has no cost: that is ``None``, and never 0.
3. No token is counted twice, whatever a provider says about the parts of a sum.
4. Every amount fits into 64 bits, which is what stores keep.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Final

from ..exceptions import ConfigError
from .usage import MOST_TOKENS


if TYPE_CHECKING:
    from .usage import Tokens


__all__ = ["HIGHEST", "Price", "cost", "estimate", "longest_answer", "price_problem"]


#: US dollars per 1,000,000 tokens. More than a dollar for a token is a price in another unit.
HIGHEST: Final = 1_000_000

#: What is charged apart, and as what it is charged where it has no price of its own.
_OTHERWISE: Final = {
    "cached": "input",
    "cache_creation": "input",
    "audio_input": "input",
    "reasoning": "output",
    "audio_output": "output",
}
_READ: Final = ("input", "cached", "cache_creation", "audio_input")
_WRITTEN: Final = ("output", "reasoning", "audio_output")

#: Rates are whole 1e-15 USD per token, so that sums are exact.
_PER_DOLLAR_A_MILLION: Final = 1_000_000_000
_PER_NANO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a model, in US dollars per 1,000,000 tokens; counted to 9 decimal places.

    Attributes:
        input: Of what is read.
        output: Of what is written.
        cached: Of what the provider reads from its prompt cache. Default ``None``: as *input*, for providers
            without a price for it bill the full one.
        cache_creation: Of what the provider writes to its prompt cache; default as *input*.
        audio_input: Of sound that is read; default as *input*.
        audio_output: Of sound that is written; default as *output*.
        reasoning: Of what is written and not shown; default as *output*.
        above: For providers that charge long prompts otherwise: ``(tokens, price)``, where the price holds
            for the whole of a call whose prompt has more than so many tokens. In rising order.

    Raises:
        ConfigError: if a price is no number from 0 to 1,000,000, or *above* does not rise, or holds a price
            that has an *above* of its own.
    """

    input: float
    output: float
    _: KW_ONLY
    cached: float | None = None
    cache_creation: float | None = None
    audio_input: float | None = None
    audio_output: float | None = None
    reasoning: float | None = None
    above: tuple[tuple[int, Price], ...] = ()

    def __post_init__(self) -> None:
        for name in (*_READ, *_WRITTEN):
            problem = price_problem(getattr(self, name), optional=name in _OTHERWISE)
            if problem:
                raise ConfigError(f"Price: `{name}` {problem}")
        object.__setattr__(self, "above", tuple(map(_step, self.above)))
        starts = [start for start, _ in self.above]
        if starts != sorted(set(starts)):
            raise ConfigError(
                "Price: `above` must rise: each number of tokens larger than the one before it."
            )

    def at(self, prompt: int) -> Price:
        """The price of a call whose prompt has so many tokens."""
        return next((price for start, price in reversed(self.above) if prompt > start), self)

    def rate(self, kind: str) -> int:
        """What one token of *kind* (a name of this class's prices) costs, in 1e-15 USD."""
        own: float | None = getattr(self, kind)
        usd: float = getattr(self, _OTHERWISE[kind]) if own is None else own
        return round(usd * _PER_DOLLAR_A_MILLION)


def price_problem(value: object, *, optional: bool = False) -> str | None:
    """Why *value* is no price, to follow its name; ``None`` if it is one."""
    if value is None and optional:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        found = f"is of type {type(value).__name__}"
    elif 0 <= value <= HIGHEST:  # which nan is not
        return None
    else:
        found = f"is {value!r}" if isinstance(value, float) or value.bit_length() <= 64 else "is out of range"
    return f"{found}; it must be a number of US dollars per 1,000,000 tokens, from 0 to {HIGHEST:,}."


def _step(step: Any) -> tuple[int, Price]:
    match step:
        case (int() as start, Price(above=()) as price) if start > 0 and start is not True:
            return start, price
        case _:
            raise ConfigError(
                "Price: `above` must hold pairs (tokens, Price), such as ((200_000, Price(2.5, 15)),), "
                "and those prices no `above` of their own."
            )


# -- after a call


def cost(tokens: Tokens | None, price: Price | None) -> int | None:
    """What a call that took *tokens* costs, in 1e-9 USD, rounded half up; ``None`` if either is not known.

    Tokens of the prompt are charged as cached first, then as written to the cache, then as sound, and the
    rest as input; those of the completion as reasoning, then as sound, and the rest as output. Where a
    provider's parts are more than the whole (sound may have been cached, too), what is left counts.
    """
    if tokens is None or price is None or tokens.prompt is None:
        return None
    price = price.at(tokens.prompt)
    if tokens.completion is None and _highest(price, _WRITTEN):
        return None
    parts_read = (tokens.cached, tokens.cache_creation, tokens.audio_in)
    parts_written = (tokens.reasoning, tokens.audio_out)
    sums = _sum(price, _READ, tokens.prompt, parts_read)
    sums += _sum(price, _WRITTEN, tokens.completion or 0, parts_written)
    return (sums + _PER_NANO // 2) // _PER_NANO


def _sum(price: Price, kinds: tuple[str, ...], left: int, parts: tuple[int | None, ...]) -> int:
    plain, *special = kinds
    money = 0
    for kind, part in zip(special, parts, strict=True):
        count = min(part or 0, left)
        left -= count
        money += count * price.rate(kind)
    return money + left * price.rate(plain)


def _highest(price: Price, kinds: tuple[str, ...]) -> int:
    return max(map(price.rate, kinds))


# -- before a call


def estimate(body_bytes: int, max_output: int, price: Price | None) -> int | None:
    """The most that a call may cost, in 1e-9 USD, rounded up; ``None`` if the price is not known.

    A token of byte-level BPE stands for at least one byte of text, and JSON writes a text in no fewer bytes
    than it has; what a model's chat format puts around a message is shorter than the message's JSON. So the
    prompt has at most as many tokens as the body has bytes, at the dearest of the prices that such a prompt
    may have.

    Not bounded is what the body only names (an image or a file by its address or id, a stored prompt or
    response) and what a provider adds itself: instructions for tools, and what its own tools find and read.
    Such a call may cost more, and is charged for it when that is known.

    Args:
        body_bytes: Length of the request's body.
        max_output: Tokens that all choices of the answer may have together (:func:`longest_answer`).
        price: The model's.
    """
    if price is None:
        return None
    reached = [price, *(higher for start, higher in price.above if body_bytes > start)]
    most = min(body_bytes, MOST_TOKENS) * max(_highest(each, _READ) for each in reached)
    most += min(max_output, MOST_TOKENS) * max(_highest(each, _WRITTEN) for each in reached)
    return -(-most // _PER_NANO)


#: The fields that bound an answer, by path; the first that is there holds.
_LIMITS: Final = {
    "/chat/completions": ("max_completion_tokens", "max_tokens"),
    "/responses": ("max_output_tokens",),
}


def longest_answer(path: str, fields: dict[str, Any], default: int) -> int:
    """Tokens that the answer to a request may have, all of its choices (``n``) together.

    *default* is taken, for each choice, where *fields* set no limit; embeddings have no answer in tokens.
    """
    if path == "/embeddings":
        return 0
    limits = (_positive(fields.get(name)) for name in _LIMITS.get(path, ()))
    limit = next((limit for limit in limits if limit), default)
    return min(limit * (_positive(fields.get("n")) or 1), MOST_TOKENS)


def _positive(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
