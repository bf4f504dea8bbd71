"""Prices from the package ``genai-prices``, as they were when it was installed; nothing is fetched."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from time import time
from typing import TYPE_CHECKING, Any, Final

from .._extras import needed
from .price import Price


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["genai_lookup"]


#: Our names for what we price, with the package's.
_UNITS: Final = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_creation": "cache_write_mtok",
    "audio_input": "input_audio_mtok",
    "audio_output": "output_audio_mtok",
    "reasoning": "output_reasoning_mtok",
}
#: Charged besides tokens, or for some tokens of a kind that has a price: what a usage does not tell, and may
#: not even apply. Any other unit is the greater part of the bill, so that tokens alone would be a wrong one.
_LEFT_OUT: Final = frozenset({
    "cache_audio_read_mtok",
    "cache_image_read_mtok",
    "cache_write_1h_mtok",
    "input_image_mtok",
    "input_video_mtok",
    "storage_searches_kcount",
    "web_searches_kcount",
})  # fmt: skip


def genai_lookup(names: Mapping[str, str]) -> Callable[[str, str], Price | None]:
    """A function that finds the price of ``(provider, model)``.

    It looks once a minute, for there are prices that depend on the time of day.

    Args:
        names: What the package calls a provider, where that is not the provider's own name.

    Raises:
        ConfigError: if the package is not installed.
    """
    why = "Prices.from_genai() needs the package genai-prices"
    data = needed("genai_prices.data_snapshot", "prices", why)

    @lru_cache(maxsize=256)
    def price_at(provider: str, model: str, minute: int) -> Price | None:
        # Not `find_provider_model`: it remembers every name that it was ever asked for.
        providers = data.get_snapshot().providers
        found = data.find_provider_by_id(providers, names.get(provider, provider))
        info = None if found is None else found.find_model(model, all_providers=providers)
        if info is None:
            return None
        listed: object = info.get_prices(datetime.fromtimestamp(minute * 60, UTC))
        return _price(vars(listed))

    return lambda provider, model: price_at(provider, model, int(time()) // 60)


def _price(listed: Mapping[str, Any]) -> Price | None:
    units = {unit: price for unit, price in listed.items() if price is not None}
    if "input_mtok" not in units or not units.keys() <= _LEFT_OUT.union(_UNITS.values()):
        return None
    # A model without a price for its output, such as one for embeddings, has no output that is charged.
    units.setdefault("output_mtok", 0)
    starts = sorted({tier.start for price in units.values() for tier in getattr(price, "tiers", ())})
    above = tuple((start, Price(**_rates(units, start + 1))) for start in starts)
    return Price(**_rates(units, 0), above=above)


def _rates(units: Mapping[str, Any], prompt: int) -> dict[str, Any]:
    return {name: _rate(units[unit], prompt) for name, unit in _UNITS.items() if unit in units}


def _rate(price: Any, prompt: int) -> float:
    tiers = (tier.price for tier in reversed(getattr(price, "tiers", ())) if prompt > tier.start)
    return float(next(tiers, getattr(price, "base", price)))
