"""What an organization switches on and off at the hosted gateway, as values for the local one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .._check import shown
from ..exceptions import ConfigError
from ..targets import checked_base, origin_text


if TYPE_CHECKING:
    from collections.abc import Mapping


__all__ = ["THIRTY_DAYS", "Model", "Settings"]

#: Seconds; what the gateway documents as its default (reference 000:40, 002:23).
THIRTY_DAYS = 30 * 24 * 3600

#: A call has at most five attempts (``policy.Retry``).
MOST_RETRIES = 4

MOST_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """A model that the router may choose, with what it can do.

    Attributes:
        name: As callers write it, with its provider's prefix: ``openai/gpt-4o-mini``; without one it is the first
            provider's.
        tools: Whether it calls tools.
        vision: Whether it reads images.
        json_schema: Whether it keeps to a JSON schema.
        context: Most tokens of a request and its answer together; ``None`` if not known.
        max_output: Most tokens of an answer; ``None`` if not known.
    """

    name: str
    tools: bool = True
    vision: bool = False
    json_schema: bool = True
    context: int | None = None
    max_output: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ConfigError("Model(name=...) must be a non-empty string.")
        for what in ("context", "max_output"):
            value = getattr(self, what)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(
                    f"Model({shown(self.name)!r}, {what}=...) must be a positive integer, or None."
                )


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How a ``LocalGateway`` behaves where a request says nothing.

    Attributes:
        models: What the router may choose from when a request names no model.
        groups: Saved load balance groups: id to a list of ``{"model", "weight", "credentials"}``, the last one optional.
        fallback: Whether models are asked after one that failed.
        fallback_models: Asked after a failure where a request has no ``fallback_models`` of its own.
        retries: Repeats of a model that failed, where a request has no ``retry_params``; 0 leaves them to the caller,
            whose own client repeats calls too.
        retry_after: Seconds before the first repeat, likewise; each further one doubles it.
        cache_enabled: Whether calls are answered from the cache that do not say ``cache_enabled``.
        cache_ttl: Seconds that an answer may be served again, where a request does not say ``cache_ttl``.
        omit_log_on_hit: Whether answers from the cache are left out of the log.
        disable_log: Whether inputs and outputs are left out of the log.
        dynamic_routing: Whether a call without a model is routed; refused with 400 otherwise.
        limits: ``block`` refuses a call beyond a budget with 429, before anything is sent; ``warn`` lets it pass and
            logs a warning.
        budget_failure: What becomes of a call that has a budget while the store cannot be reached: ``refuse`` or
            ``allow``.
        api_bases: Origins that a request's credentials may name as ``api_base``, such as
            ``https://mine.openai.azure.com``. Others are refused: a request could reach into the network otherwise.
        reserve_output_tokens: Tokens of an answer that are reserved from a budget where neither the request nor its
            model says how long it may be.
    """

    models: tuple[Model, ...] = ()
    groups: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)
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
        for what, kind in (("models", Model), ("fallback_models", str)):
            _check_each(what, getattr(self, what), kind)
            object.__setattr__(self, what, tuple(getattr(self, what)))
        if not 0 < self.cache_ttl < float("inf"):
            raise ConfigError("Settings(cache_ttl=...) must be a positive number of seconds.")
        if type(self.retries) is not int or not 0 <= self.retries <= MOST_RETRIES:
            raise ConfigError(f"Settings(retries=...) must be a whole number from 0 to {MOST_RETRIES}.")
        if not 0 < self.retry_after <= MOST_SECONDS:
            raise ConfigError(
                f"Settings(retry_after=...) must be above 0 and at most {MOST_SECONDS} seconds."
            )
        if type(self.reserve_output_tokens) is not int or self.reserve_output_tokens < 1:
            raise ConfigError("Settings(reserve_output_tokens=...) must be a positive integer.")
        for what, known in (("limits", ("block", "warn")), ("budget_failure", ("refuse", "allow"))):
            if getattr(self, what) not in known:
                raise ConfigError(f"Settings({what}=...) must be {known[0]!r} or {known[1]!r}.")
        bases = frozenset(origin_text(checked_base(base, source="api_bases")) for base in self.api_bases)
        object.__setattr__(self, "api_bases", bases)


def _check_each(what: str, values: object, kind: type) -> None:
    if isinstance(values, str) or not all(isinstance(value, kind) for value in values):  # type: ignore[attr-defined]
        raise ConfigError(f"Settings({what}=...) must be a list of {kind.__name__} values.")
