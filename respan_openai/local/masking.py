"""What a request hands to its provider's tools and data sources for them to prove who asks, masked.

The log and ``request_breakdown`` show requests, and are read by more people than those who may have such
secrets.

1. A secret is told by the name that it stands under, however that is spelt. What has that name is masked whole,
   whatever it is.
2. In a JSON schema, where properties are named freely, a name says nothing about what belongs to it.
3. Of an address only the origin is shown: many tools know their callers by its path or query.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from .._check import DEEPEST
from .._core.plain import is_list, is_object


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["masked"]


MASK: Final = "…"

#: Fields of a request, and of an item of its ``input``, that hold secrets inside.
_HOLDERS: Final = frozenset({"data_sources", "mcp_servers", "plugins", "tools"})

#: OpenAI's ``mcp`` has ``authorization`` and ``headers``, its containers have ``domain_secrets``, Azure's
#: data sources have ``authentication``, and Anthropic's ``mcp_servers`` ``authorization_token``.
_SECRETS: Final = frozenset({
    "accesstoken",
    "apikey",
    "authentication",
    "authorization",
    "authorizationtoken",
    "authtoken",
    "bearertoken",
    "clientsecret",
    "connectionstring",
    "credentials",
    "domainsecrets",
    "headers",
    "key",
    "password",
    "secret",
    "token",
    "xapikey",
})  # fmt: skip
#: How a filter of ``file_search`` compares an attribute, of which its ``key`` is the name
#: (openai/types/shared/comparison_filter.py).
_COMPARISONS: Final = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"})
_ADDRESSES: Final = frozenset({"endpoint", "server_url", "url"})

#: In a JSON schema, what holds further schemas by names of the caller's.
_SCHEMAS: Final = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})


def masked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* of OpenAI as they may be shown; they stay as they are themselves.

    Values that are nested deeper than a parameter may be are masked, too.
    """
    return _held(fields) | {"input": _items(fields["input"])} if "input" in fields else _held(fields)


def _held(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _shown(value, DEEPEST) if name in _HOLDERS else value for name, value in fields.items()}


def _items(given: object) -> object:
    return [_held(item) if is_object(item) else item for item in given] if is_list(given) else given


def _shown(value: object, levels: int) -> object:
    if is_object(value) and levels:
        spared = "key" if _is_comparison(value) else None
        return {
            name: inner if name == spared else _member(name, inner, levels - 1)
            for name, inner in value.items()
        }
    if is_list(value) and levels:
        return [_shown(inner, levels - 1) for inner in value]
    return MASK if is_object(value) or is_list(value) else value


def _is_comparison(value: Mapping[str, object]) -> bool:
    kind = value.get("type")
    return {*value} == {"key", "type", "value"} and isinstance(kind, str) and kind in _COMPARISONS


def _member(name: str, value: object, levels: int) -> object:
    if _plain(name) in _SECRETS:
        return dict.fromkeys(value, MASK) if is_object(value) else MASK
    if name in _ADDRESSES and isinstance(value, str):
        return _origin(value)
    if name in _SCHEMAS and is_object(value):
        return {free: _schema(free, inner, levels) for free, inner in value.items()}
    return _shown(value, levels)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _schema(name: str, value: object, levels: int) -> object:
    return _shown(value, levels) if is_object(value) else _member(name, value, levels)


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    origin = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    if not parts.scheme or not parts.netloc:
        return MASK
    return url if url.removesuffix("/") == origin else f"{origin}/{MASK}"
