"""Figures of a log row as people read them. What is not known says so: it is not 0."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = [
    "COLUMNS",
    "NOTHING",
    "UNKNOWN",
    "Column",
    "cost_text",
    "json_text",
    "model_text",
    "seconds_text",
    "time_text",
    "tokens_text",
]


#: Where there is nothing to tell.
NOTHING: Final = "—"
UNKNOWN: Final = "unknown"


def time_text(at: float) -> str:
    """Seconds since 1970 as date and time of day in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def seconds_text(seconds: float | None) -> str:
    """Milliseconds below a second, seconds with two decimals above it; a dash if nothing was measured."""
    if seconds is None:
        return NOTHING
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def cost_text(usd: float | None) -> str:
    """US dollars, to 1e-9 of one, which is what the gateway counts with; ``unknown`` without a price."""
    if usd is None:
        return UNKNOWN
    whole, _, decimals = f"{usd:,.9f}".partition(".")
    return f"${whole}.{decimals.rstrip('0'):0<2}"


def tokens_text(tokens: Mapping[str, Any] | None) -> str:
    """Tokens read and written."""
    if not tokens:
        return UNKNOWN
    read, written = (_count(tokens.get(name)) for name in ("prompt", "completion"))
    return f"{read} → {written}"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else UNKNOWN


def model_text(row: Mapping[str, Any]) -> str:
    """The model that was asked for, and the one that answered where that is another."""
    asked, answered = row.get("model"), row.get("answer_model")
    if not asked:
        return f"(any) → {answered}" if answered else "(any)"
    return f"{asked} → {answered}" if answered and answered != asked else str(asked)


def json_text(value: object) -> str:
    """*value* as indented JSON; text, such as what was cut off, stays as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False, default=str)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table of calls.

    Attributes:
        label: What stands above it.
        text: Of a row.
        is_number: Whether it is read from the right.
    """

    label: str
    text: Callable[[Mapping[str, Any]], str]
    is_number: bool = False


#: Of every table of calls, wherever it is shown.
COLUMNS: Final = (
    Column("Time (UTC)", lambda row: time_text(row["at"])),
    Column("Status", lambda row: NOTHING if row.get("status") is None else str(row["status"])),
    Column("Model", model_text),
    Column("Provider", lambda row: row.get("provider") or NOTHING),
    Column("Customer", lambda row: row.get("customer_identifier") or NOTHING),
    Column("Tokens", lambda row: tokens_text(row.get("tokens")), is_number=True),
    Column("Cost", lambda row: cost_text(row.get("cost")), is_number=True),
    Column("Latency", lambda row: seconds_text(row.get("latency")), is_number=True),
    Column("First token", lambda row: seconds_text(row.get("first_token")), is_number=True),
    Column("Cache", lambda row: row.get("cache") or NOTHING),
)
