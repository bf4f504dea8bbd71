"""Where the prices of models come from: a table, a function, or a package."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .._check import shown, unknown
from .._core.plain import is_object
from ..exceptions import ConfigError
from .contract import invalid
from .genai import genai_lookup
from .price import Price, price_problem


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    Lookup: TypeAlias = Callable[[str, str], Price | None]
    Listed: TypeAlias = Price | Mapping[str, Any] | tuple[float, float]
    Source: TypeAlias = Mapping[str, Listed] | Lookup


__all__ = ["Price", "Prices"]


_log = logging.getLogger("respan_openai")
_FIELDS = tuple(Price.__dataclass_fields__)


class Prices:
    """The prices that a gateway counts with.

    Args:
        source: Either a table, whose keys are ``"provider/model"`` or ``"model"`` (for any provider), and
            whose values are a ``Price``, a dict with its fields, or a pair ``(input, output)``, all in US
            dollars per 1,000,000 tokens. Or a function of (provider, model) that returns a ``Price``, or
            ``None`` for unknown; what it raises is logged, and the price is unknown. Default: no price is
            known.

    Raises:
        ConfigError: if the table holds something else, or two keys that differ in case only.
    """

    def __init__(self, source: Source | None = None) -> None:
        if callable(source):
            self._what, self._look_up = "a function", _guarded(source)
        else:
            table = _table({} if source is None else source)
            self._what, self._look_up = f"a table of {len(table)}", _in_table(table)

    @classmethod
    def from_genai(cls, names: Mapping[str, str] | None = None) -> Self:
        """Prices from the package ``genai-prices`` (extra ``prices``), as they were when it was installed.

        Unknown is a model that is not charged by its tokens alone. A provider's fees for searches are left
        out, and so is that a cache entry for an hour costs more than one for 5 minutes.

        Args:
            names: What the package calls a provider of yours: ``{"primary": "openai"}``.

        Raises:
            ConfigError: if the package is not installed.
        """
        return cls(genai_lookup({ours.lower(): theirs for ours, theirs in (names or {}).items()}))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self._what}>"

    def of(self, provider: str, model: str) -> Price | None:
        """The price of *model* at *provider*; ``None`` if it is not known.

        Case does not matter, and the provider's own prefix may be part of *model*. A price for
        ``provider/model`` wins over one for ``model``.
        """
        provider = provider.lower()
        bare = model[len(provider) + 1 :] if model.lower().startswith(f"{provider}/") else model
        return self._look_up(provider, bare)

    @staticmethod
    def with_units(price: Price | None, prompt: float | None, completion: float | None) -> Price | None:
        """*price* with a request's own ``prompt_unit_price`` and ``completion_unit_price``, which win.

        Both are US dollars per 1,000,000 tokens (params.yaml, "Price overrides for self-hosted or fine-tuned
        models"). Each holds for all tokens of its side, cached ones and sound included. Where *price* is
        ``None``, one of them does not make a price: it takes both.

        Raises:
            ContractError: 400 if one is no price.
        """
        if prompt is None and completion is None:
            return price
        sides = {"prompt_unit_price": prompt, "completion_unit_price": completion}
        for name, unit in sides.items():
            problem = price_problem(unit, optional=True)
            if problem:
                raise invalid(f"`{name}` {problem}", name)
        if prompt is not None and completion is not None:
            return Price(prompt, completion)
        return None if price is None else _overridden(price, prompt, completion)


def _overridden(price: Price, prompt: float | None, completion: float | None) -> Price:
    read = {name: getattr(price, name) for name in ("input", "cached", "cache_creation", "audio_input")}
    written = {name: getattr(price, name) for name in ("output", "audio_output", "reasoning")}
    return Price(
        **(read if prompt is None else {"input": prompt}),
        **(written if completion is None else {"output": completion}),
        above=tuple((start, _overridden(higher, prompt, completion)) for start, higher in price.above),
    )


# -- sources


def _table(source: object) -> dict[str, Price]:
    if not isinstance(source, Mapping):
        raise ConfigError(
            "prices must be a dict from model to price, a function (provider, model) -> Price | None, "
            f"or Prices.from_genai(); got {type(source).__name__}."
        )
    prices: dict[str, Price] = {}
    for key, value in cast("Mapping[object, object]", source).items():
        if not isinstance(key, str) or key.lower() in prices:
            raise ConfigError(
                f"prices: {shown(str(key))!r} is no name of a model, or another key differs in case only. "
                "Keys are 'provider/model' or 'model'."
            )
        prices[key.lower()] = _priced(value, shown(key))
    return prices


def _in_table(prices: Mapping[str, Price]) -> Lookup:
    def look_up(provider: str, model: str) -> Price | None:
        model = model.lower()
        return prices.get(f"{provider}/{model}") or prices.get(model)

    return look_up


def _priced(value: object, of: str) -> Price:
    if isinstance(value, Price):
        return value
    pair = _pair(value)
    fields = {"input": pair[0], "output": pair[1]} if pair else value
    if not is_object(fields):
        raise ConfigError(
            f"prices[{of!r}] must be a Price, a dict with its fields, or a pair (input, output); "
            f"got {type(value).__name__}."
        )
    return _from_fields(dict(fields), of)


def _pair(value: object) -> list[Any]:
    items = list(cast("list[Any]", value)) if isinstance(value, tuple | list) else []
    return items if len(items) == 2 else []


def _from_fields(fields: dict[str, Any], of: str) -> Price:
    _check_names(fields, of)
    if "above" in fields:
        fields["above"] = _steps(fields["above"], of)
    try:
        return Price(**fields)
    except ConfigError as exc:
        raise ConfigError(f"prices[{of!r}]: {exc}") from None


def _check_names(fields: dict[str, Any], of: str) -> None:
    for name in fields:
        if name not in _FIELDS:
            raise ConfigError(f"prices[{of!r}]: {unknown(name, name, _FIELDS)}")
    for name in ("input", "output"):
        if name not in fields:
            raise ConfigError(f"prices[{of!r}] lacks `{name}`; pass 0 for what is not charged.")


def _steps(above: object, of: str) -> tuple[Any, ...]:
    """*above* with prices in it; what is no pair stays as it is, and ``Price`` says what is wrong with it."""
    steps = cast("list[Any]", above) if isinstance(above, tuple | list) else [above]
    pairs = ((step, _pair(step)) for step in steps)
    return tuple((pair[0], _priced(pair[1], of)) if pair else step for step, pair in pairs)


def _guarded(function: Callable[[str, str], object]) -> Lookup:
    def look_up(provider: str, model: str) -> Price | None:
        try:
            found = function(provider, model)
            return None if found is None else _priced(found, model)
        except Exception:  # a helper must not break the call that it helps
            _log.exception("The prices function failed; the cost of the call is unknown.")
            return None

    return look_up
