"""Which calls are answered from the cache, for how long, and under which key.

1. A call is cached only if everything that decides its answer stands in it. What the provider keeps, runs or
   looks up may have changed since, and ``why_not`` has a row for each way to ask for that.
2. Calls share a key only if any answer to one is an answer to the other. In doubt they do not: that costs a
   call, and the contrary serves somebody a wrong answer.
3. Nobody is served what was kept for somebody else: whose answers they are is part of the key.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from .._core.plain import as_list, as_object


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .settings import Settings

    Object = Mapping[str, Any]


__all__ = ["LONGEST_TTL", "Caching", "cache_key", "caching_of", "is_cacheable", "why_not"]


_CHAT, _RESPONSES = "/chat/completions", "/responses"


# -- whether, and for how long


#: Seconds; ten years of 365 days, the most that ``cache_ttl`` may be in a request.
LONGEST_TTL = 315_360_000.0


class Caching(NamedTuple):
    """How one call uses the cache.

    Attributes:
        enabled: Whether it does at all.
        ttl: Seconds that an answer may be served after it was kept: the answer of this call, and any answer
            that this call gets. Positive, at most ``LONGEST_TTL``.
        by_customer: Whether each customer has answers of its own. The documents switch this on with
            ``cache_by_customer`` (reference 003:69); here it is on unless that is false, because an answer to
            one customer may tell another what was asked.
        by_model: Whether each model has answers of its own. On unless ``is_cached_by_model`` (reference
            000:42, 002:24) is false, because whoever names a model does not expect another one's words.
        omit_log: Whether a hit is left out of the log.
    """

    enabled: bool
    ttl: float
    by_customer: bool
    by_model: bool
    omit_log: bool

    def partition(self, environment: str, mark: str, customer: str | None) -> tuple[str, ...]:
        """Whose answers the call may be served, for :func:`cache_key`.

        Args:
            environment: Test, production, ...
            mark: Stands for the credential: an HMAC of it under a secret of this installation. Never the
                credential, nor a hash that everybody can compute: whoever gets hold of the store could guess
                short keys from it.
            customer: The customer's identifier; ``None`` if the call has none.
        """
        if customer is None or not self.by_customer:
            return environment, mark
        return environment, mark, customer


def caching_of(params: Object, settings: Settings) -> Caching:
    """What *params*, which were checked, say about the cache; *settings* where they say nothing."""
    options = params.get("cache_options", {})
    ttl = params.get("cache_ttl", settings.cache_ttl)
    return Caching(
        enabled=params.get("cache_enabled", settings.cache_enabled),
        ttl=min(float(ttl), LONGEST_TTL),
        by_customer=options.get("cache_by_customer", True),
        by_model=options.get("is_cached_by_model", True),
        omit_log=options.get("omit_log", settings.omit_log_on_hit),
    )


# -- what cannot be cached


def is_cacheable(path: str, fields: Object) -> bool:
    """Whether an answer to this call may be kept; see :func:`why_not`."""
    return why_not(path, fields) is None


def why_not(path: str, fields: Object) -> str | None:
    """Why an answer to this call is not kept, in a few words for a log; ``None`` if it may be.

    Randomness is no reason: ``temperature``, ``seed`` and ``n`` are part of the key, and whoever asks for the
    cache asks for the same answer again. A ``store`` that is left out is none either, though Responses are
    then kept by OpenAI: a replay has the id of the answer that was kept, in the account of the same
    credential.

    Args:
        path: Below ``/api``. Only chat completions and Responses have a cache (000:37, 001:56, 002:22).
        fields: OpenAI's fields, with the model that will be asked.
    """
    if path not in {_CHAT, _RESPONSES}:
        return "the path has no cache"
    return next((reason for is_met, reason in _OBSTACLES if is_met(fields)), None)


#: Tools that the caller runs, so that their results come in with the next call.
_RUN_BY_CALLER = ("function", "custom")  # no set: what stands under "type" need not be hashable

#: OpenAI's search models, Perplexity's Sonar, and the suffix that makes OpenRouter search.
_SEARCHING_MODEL = re.compile(r"search|sonar|:online", re.IGNORECASE)


def _any_of(*names: str) -> Callable[[Object], bool]:
    return lambda fields: any(map(fields.get, names))


def _has_foreign_tools(fields: Object) -> bool:
    return any(as_object(tool).get("type") not in _RUN_BY_CALLER for tool in as_list(fields.get("tools")))


def _has_searching_model(fields: Object) -> bool:
    return _SEARCHING_MODEL.search(str(fields.get("model", ""))) is not None


def _answers_aloud(fields: Object) -> bool:
    return "audio" in as_list(fields.get("modalities"))


def _refers_to_items(fields: Object) -> bool:
    return any(_is_reference(as_object(item)) for item in as_list(fields.get("input")))


def _is_reference(item: Object) -> bool:
    # The type may be left out: openai/types/responses/response_input_item_param.py, ItemReference.
    return item.get("type") == "item_reference" or set(item) == {"id"}


def _refers_outside(fields: Object) -> bool:
    contents = [fields.get("messages"), fields.get("input")]
    return any(_names_outside(found) for found in _objects_in(contents))


def _names_outside(found: Object) -> bool:
    return any(_OUTSIDE[name](found[name]) for name in found.keys() & _OUTSIDE.keys())


def _is_remote(value: object) -> bool:
    """Whether *value* is an address, on its own or as ``{"url": ...}``, and no ``data:`` URL."""
    address = as_object(value).get("url", value)
    return isinstance(address, str) and "://" in address[:16]


def _is_given(value: object) -> bool:
    return bool(value)


def _has_id(value: object) -> bool:
    return bool(as_object(value).get("id"))


#: Members of a message, at any depth, and when they stand for something that lies elsewhere.
_OUTSIDE: Mapping[str, Callable[[object], bool]] = {
    "audio": _has_id,
    "file_data": _is_remote,
    "file_id": _is_given,
    "file_url": _is_given,
    "image_url": _is_remote,
    "video_url": _is_remote,
}

_OBSTACLES: tuple[tuple[Callable[[Object], bool], str], ...] = (
    (_any_of("previous_response_id", "conversation"), "it goes on from what the provider keeps"),
    (_any_of("background"), "its answer is fetched later"),
    (_any_of("store"), "the provider is to keep this very answer"),
    (_any_of("prompt"), "its prompt lies with the provider, where it can be edited"),
    (_any_of("web_search_options", "search_parameters", "plugins"), "the provider searches the web for it"),
    (_has_searching_model, "its model searches the web"),
    (_has_foreign_tools, "the provider runs tools for it"),
    (_answers_aloud, "an answer's audio expires"),
    (_refers_to_items, "it refers to items that the provider keeps"),
    (_refers_outside, "it refers to files or addresses, whose content can change"),
)


def _objects_in(thing: object) -> Iterator[Object]:
    """Those in *thing*, at any depth."""
    pending = [thing]
    while pending:
        found = pending.pop()
        if isinstance(found, dict):
            members = cast("Object", found)
            yield members
            pending.extend(members.values())
        elif isinstance(found, list):
            pending.extend(cast("list[object]", found))


# -- the key


#: Part of every key. It changes with the rules below, so that libraries of two versions can share a store.
_VERSION = 1

#: What only labels a chat completion that the provider keeps, and such a call is not cached. Responses repeat
#: theirs in the answer. ``user`` and the like stay part of the key: they say for whom the answer was.
_LABELS: Mapping[str, frozenset[str]] = {_CHAT: frozenset({"metadata", "store"})}

# json.dumps(sort_keys=True) would make one for each call.
_SORTED = json.JSONEncoder(sort_keys=True)

#: Fields that hold JSON schemas: their keys are compared in the order in which they stand, because models
#: answer in that order (OpenAI's guide to structured outputs, "Key ordering").
_IN_ORDER = ("functions", "response_format", "text", "tools")


def cache_key(path: str, fields: Object, *, model: str, by_model: bool, partition: Sequence[str]) -> str:
    """The name of an answer: 64 hexadecimal digits, from which nothing can be read back.

    The order of keys does not matter, except inside ``functions``, ``response_format``, ``text`` and
    ``tools``. Lists are ordered. ``1`` and ``1.0`` are not equal: a provider may refuse the one where it
    takes the other, and a schema shows the model the number as it is written. A ``stream`` that is false or
    null is as good as none.

    Args:
        path: Below ``/api``.
        fields: OpenAI's fields as the caller wrote them, prompts rendered; whatever this gateway adds for
            itself, such as ``stream_options``, left out.
        model: Who answers. An answer of a fallback belongs under the fallback's key, or it would be served
            long after the model that was asked for has recovered.
        by_model: Whether *model* is part of the key.
        partition: Whose answers they are: see :meth:`Caching.partition`. No two are taken for one another.

    Raises:
        RecursionError: if *fields* are nested more deeply than they can be written as JSON. The call is not
            cached.
    """
    left_out = {"model", *_LABELS.get(path, ()), *(() if fields.get("stream") else ("stream",))}
    kept = {name: value for name, value in fields.items() if name not in left_out}
    in_order = {name: kept.pop(name) for name in _IN_ORDER if name in kept}
    head = [_VERSION, path, model if by_model else None, [*partition], kept]
    text = f"{_SORTED.encode(head)}\n{json.dumps(in_order)}"
    return sha256(text.encode()).hexdigest()
