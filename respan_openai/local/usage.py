"""What a call took, as its provider counts: one set of names for the many that providers have.

1. What a provider did not say is ``None``, and so is what cannot be a count: negative, a bool, text, NaN.
2. As with OpenAI, cached and cache-creation tokens are part of the prompt, and reasoning is part of the
   completion. Providers that count them apart are recognised by their sums and brought to this form.
3. Where two names tell one number, and differ, the larger holds: some gateways fill in zeros for what they do
   not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import as_object, is_object


if TYPE_CHECKING:
    Object = dict[str, Any]


__all__ = ["MOST_TOKENS", "Tokens", "tokens_of", "with_cache_counters"]


#: A larger number is no count of tokens: no model reads or writes as much in one call.
MOST_TOKENS: Final = 1_000_000_000


class Tokens(NamedTuple):
    """Tokens of one call; ``None`` is what the provider did not say.

    Attributes:
        prompt: All that were read, those from a prompt cache included.
        completion: All that were written, reasoning included.
        cached: Of the prompt, those read from the provider's cache.
        cache_creation: Of the prompt, those written to the provider's cache.
        reasoning: Of the completion, those that nobody sees.
        audio_in: Of the prompt, those that were sound.
        audio_out: Of the completion, those that are sound.
    """

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    cache_creation: int | None = None
    reasoning: int | None = None
    audio_in: int | None = None
    audio_out: int | None = None


_PROMPT_DETAILS: Final = {
    "cached_tokens": "cached",
    "cache_creation_tokens": "cache_creation",
    "cache_write_tokens": "cache_creation",
    "audio_tokens": "audio_in",
}
_COMPLETION_DETAILS: Final = {"reasoning_tokens": "reasoning", "audio_tokens": "audio_out"}

#: What the names in a usage and in its details stand for; ``""`` is the usage itself. Chat, Responses and
#: audio differ in names (openai/types/completion_usage.py, responses/response_usage.py,
#: audio/transcription.py); the ``cache_*`` ones are Anthropic's (reference 003:3, "Anthropic-style
#: responses").
_KINDS: Final = {
    "": {
        "prompt_tokens": "prompt",
        "input_tokens": "prompt",
        "completion_tokens": "completion",
        "output_tokens": "completion",
        "cache_read_input_tokens": "cached",
        "cache_creation_input_tokens": "cache_creation",
    },
    "prompt_tokens_details": _PROMPT_DETAILS,
    "input_tokens_details": _PROMPT_DETAILS,
    "input_token_details": {"audio_tokens": "audio_in"},
    "completion_tokens_details": _COMPLETION_DETAILS,
    "output_tokens_details": _COMPLETION_DETAILS,
}


def tokens_of(usage: object) -> Tokens | None:
    """The tokens that *usage*, the ``usage`` object of any answer, tells of.

    ``None`` if it is no object, or tells neither what was read nor what was written: a transcription that is
    billed by its seconds, for instance.
    """
    if not is_object(usage):
        return None
    tokens = _read(usage)
    if tokens.prompt is None and tokens.completion is None:
        return None
    return _summed(_with_cache(tokens) if _counts_cache_apart(usage) else tokens, usage)


def _read(usage: Object) -> Tokens:
    counts: dict[str, int] = {}
    for holder, kinds in _KINDS.items():
        _note(_details(usage, holder), kinds, counts)
    return Tokens(**counts)


def _details(usage: Object, name: str) -> Object:
    """What *usage* holds under *name*; ``""`` is the usage itself."""
    return as_object(usage.get(name) if name else usage)


def _note(counted: Object, kinds: dict[str, str], counts: dict[str, int]) -> None:
    for name in kinds.keys() & counted.keys():
        count, kind = _count(counted[name]), kinds[name]
        if count is not None and count >= counts.get(kind, 0):
            counts[kind] = count


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST_TOKENS else None


# -- sums


def _counts_cache_apart(usage: Object) -> bool:
    """Whether this is a usage of Anthropic's own API, whose ``input_tokens`` are without cached ones.

    It has neither details nor a total (docs.anthropic.com, "Prompt caching", "Tracking cache performance").
    """
    others = ("prompt_tokens", "total_tokens", "input_tokens_details")
    return "input_tokens" in usage and all(usage.get(name) is None for name in others)


def _with_cache(tokens: Tokens) -> Tokens:
    if tokens.prompt is None:
        return tokens
    return tokens._replace(prompt=tokens.prompt + (tokens.cached or 0) + (tokens.cache_creation or 0))


def _summed(tokens: Tokens, usage: Object) -> Tokens:
    prompt, completion, reasoning = tokens.prompt, tokens.completion, tokens.reasoning
    total = _count(usage.get("total_tokens"))
    if prompt is None or total is None:
        return tokens
    if completion is None:  # embeddings: what was read is all there is
        return tokens._replace(completion=total - prompt) if total >= prompt else tokens
    if reasoning and total == prompt + completion + reasoning:
        # xAI "counted separately from completion_tokens, but will be counted in the total_tokens"
        # (docs.x.ai, "Consumption and rate limits"), and bills it like them.
        return tokens._replace(completion=completion + reasoning)
    return tokens


# -- cache counters


#: Both names of a count: inside the details, and Anthropic's.
_PAIRS: Final = (
    ("cached", "cached_tokens", "cache_read_input_tokens"),
    ("cache_creation", "cache_creation_tokens", "cache_creation_input_tokens"),
)


def with_cache_counters(usage: Object, path: str) -> Object:
    """*usage* with both names of what it says about the provider's prompt cache.

    Answers carry ``cached_tokens`` and ``cache_creation_tokens`` in ``prompt_tokens_details`` (on Responses,
    whose usage has no such field: in ``input_tokens_details``), and ``cache_read_input_tokens`` and
    ``cache_creation_input_tokens`` beside it (reference 003:3, notes on ``cache_options`` and "Response"). A
    count that is told under any name gets these two; one that is not told gets none, and none that is there
    is changed.

    Returns:
        A new object, or *usage* itself if there is nothing to add.
    """
    if _counts_cache_apart(usage):
        return usage
    tokens = _read(usage)
    if tokens.cached is None and tokens.cache_creation is None:
        return usage
    counts: dict[str, Any] = {"cached": tokens.cached, "cache_creation": tokens.cache_creation}
    holder = "input_tokens_details" if path == "/responses" else "prompt_tokens_details"
    details = _details(usage, holder)
    inner = {name: counts[kind] for kind, name, _ in _PAIRS if _lacks(details, name, counts[kind])}
    outer = {name: counts[kind] for kind, _, name in _PAIRS if _lacks(usage, name, counts[kind])}
    if inner:
        outer[holder] = {**details, **inner}
    return {**usage, **outer} if outer else usage


def _lacks(counted: Object, name: str, count: int | None) -> bool:
    return count is not None and _count(counted.get(name)) is None
