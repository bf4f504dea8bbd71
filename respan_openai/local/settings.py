"""What an organization switches on and off at the hosted gateway, as values for the local one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from .._accepts import FLAG, Accepts, above_zero, an_instance, check, list_of, one_of, or_none, whole
from ..targets import checked_base, origin_text


__all__ = ["MOST_RETRIES", "MOST_SECONDS", "THIRTY_DAYS", "Model", "Settings"]

#: Seconds; what the gateway documents as its default (reference 000:40, 002:23).
THIRTY_DAYS: Final = 30 * 24 * 3600

#: A call has at most five attempts (``policy.Retry``).
MOST_RETRIES: Final = 4

#: Most seconds that a call waits before a repeat.
MOST_SECONDS: Final = 60


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


_MODEL: Final[Mapping[str, Accepts]] = {
    "name": Accepts("a non-empty string", _is_name),
    "tools": FLAG,
    "vision": FLAG,
    "json_schema": FLAG,
    "context": or_none(whole(1)),
    "max_output": or_none(whole(1)),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model that the router may choose, with what it can do.

    Attributes:
        name: As callers write it, with its provider's prefix: ``openai/gpt-4o-mini``; without one it is the
            first provider's.
        tools: Whether it calls tools.
        vision: Whether it reads images.
        json_schema: Whether it keeps to a JSON schema.
        context: Most tokens of a request and its answer together; ``None`` if not known.
        max_output: Most tokens of an answer; ``None`` if not known.

    Raises:
        ConfigError: if a field holds anything else; the message says what it accepts.
    """

    name: str
    tools: bool = True
    vision: bool = False
    json_schema: bool = True
    context: int | None = None
    max_output: int | None = None

    def __post_init__(self) -> None:
        check(self, _MODEL)


_SETTINGS: Final[Mapping[str, Accepts]] = {
    "models": list_of(Model, "a list of Model values"),
    "groups": an_instance(Mapping, "a mapping from a group's id to its list of models"),
    "fallback": FLAG,
    "fallback_models": list_of(str, "a list of names of models"),
    "retries": whole(0, MOST_RETRIES),
    "retry_after": above_zero(MOST_SECONDS, " of seconds"),
    "cache_enabled": FLAG,
    "cache_ttl": above_zero(unit=" of seconds"),
    "omit_log_on_hit": FLAG,
    "disable_log": FLAG,
    "dynamic_routing": FLAG,
    "limits": one_of("block", "warn"),
    "budget_failure": one_of("refuse", "allow"),
    "api_bases": list_of(str, "a list of origins such as 'https://mine.openai.azure.com'"),
    "reserve_output_tokens": whole(1),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a ``LocalGateway`` behaves where a request says nothing.

    Attributes:
        models: What the router may choose from when a request names no model.
        groups: Saved load balance groups: id to a list of ``{"model", "weight", "credentials"}``, the last
            one optional.
        fallback: Whether models are asked after one that failed.
        fallback_models: Asked after a failure where a request has no ``fallback_models`` of its own.
        retries: Repeats of a model that failed, where a request has no ``retry_params``; 0 leaves them to the
            caller, whose own client repeats calls too.
        retry_after: Seconds before the first repeat, likewise; each further one doubles it.
        cache_enabled: Whether calls are answered from the cache that do not say ``cache_enabled``.
        cache_ttl: Seconds that an answer may be served again, where a request does not say ``cache_ttl``.
        omit_log_on_hit: Whether answers from the cache are left out of the log.
        disable_log: Whether inputs and outputs are left out of the log.
        dynamic_routing: Whether a call without a model is routed; refused with 400 otherwise.
        limits: ``block`` refuses a call beyond a budget with 429, before anything is sent; ``warn`` lets it
            pass and logs a warning.
        budget_failure: What becomes of a call that has a budget while the store cannot be reached: ``refuse``
            or ``allow``.
        api_bases: Origins that a request's credentials may name as ``api_base``, such as
            ``https://mine.openai.azure.com``. Others are refused: a request could reach into the network
            otherwise.
        reserve_output_tokens: Tokens of an answer that are reserved from a budget where neither the request
            nor its model says how long it may be.

    Raises:
        ConfigError: if a field holds anything else; the message says what it accepts. What is inside
            ``groups`` is looked at by the gateway that is built with them.
    """

    models: tuple[Model, ...] = ()
    groups: Mapping[str, tuple[Mapping[str, Any], ...]] = field(
        default_factory=dict[str, tuple[Mapping[str, Any], ...]],
        repr=False,  # it may hold keys
    )
    fallback: bool = True
    fallback_models: tuple[str, ...] = ()
    retries: int = 0
    retry_after: float = 0.2
    cache_enabled: bool = False
    cache_ttl: float = THIRTY_DAYS
    omit_log_on_hit: bool = False
    disable_log: bool = False
    dynamic_routing: bool = True
    limits: Literal["block", "warn"] = "block"
    budget_failure: Literal["refuse", "allow"] = "refuse"
    api_bases: frozenset[str] = frozenset()
    reserve_output_tokens: int = 4096

    def __post_init__(self) -> None:
        check(self, _SETTINGS)
        bases = frozenset(origin_text(checked_base(base, source="api_bases")) for base in self.api_bases)
        object.__setattr__(self, "api_bases", bases)
        object.__setattr__(self, "models", tuple(self.models))
        object.__setattr__(self, "fallback_models", tuple(self.fallback_models))
        object.__setattr__(self, "groups", MappingProxyType(dict(self.groups)))
