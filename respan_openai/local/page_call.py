"""One call as a page: what came of it, its attempts as a waterfall, and what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .figures import NOTHING, cost_text, json_text, model_text, seconds_text, tokens_text
from .markup import document, element
from .page import TITLE, heading, status_mark, time_mark, took, when_running
from .waterfall import waterfall


if TYPE_CHECKING:
    from collections.abc import Mapping

    from .markup import Html


__all__ = ["call_page"]


#: Shown in a place of their own, or of no use to a reader.
_PLACED: Final = frozenset({
    "answer_model", "at", "attempts", "cache", "cost", "customer_identifier", "environment", "error",
    "first_token", "id", "input", "latency", "metadata", "model", "output", "params", "path", "properties",
    "provider", "status", "stream", "tokens", "why",
})  # fmt: skip

_TEXTS: Final = (
    ("params", "Parameters", True),
    ("metadata", "Metadata", True),
    ("properties", "Properties", True),
    ("input", "Input", True),
    ("output", "Output", True),
)


def call_page(row: Mapping[str, Any], now: float, *, is_running: bool) -> bytes:
    """The call that *row* tells of; *now* is in seconds since 1970."""
    latency = took(row, now, is_running=is_running)
    parts = (
        _head(row, is_running=is_running),
        _facts(row, latency, is_running=is_running),
        _attempts(row, latency or 0),
    )
    texts = (_text(row, name, label, is_open=is_open) for name, label, is_open in _TEXTS)
    state = when_running([row] if is_running else [], settled=True)
    live = element("div", *parts, *texts, _rest(row), id="live", data_live=state)
    return document(f"{model_text(row)} · {TITLE}", heading("Call"), element("main", live))


def _head(row: Mapping[str, Any], *, is_running: bool) -> Html:
    mark = status_mark(row, is_running=is_running)
    error = element("p", str(row["error"]), class_="error") if row.get("error") else None
    how = element("p", f"{_origin(row)} · POST /api{row['path']} · ", time_mark(row["at"]), " UTC")
    return element("section", element("h2", mark, f" {model_text(row)}"), how, error)


def _origin(row: Mapping[str, Any]) -> str:
    provider = row.get("provider")
    if provider is None:
        return "No provider has answered"
    return f"{'Streamed' if row.get('stream') else 'Answered'} by {provider}"


def _facts(row: Mapping[str, Any], latency: float | None, *, is_running: bool) -> Html:
    facts = (
        ("Elapsed" if is_running else "Latency", seconds_text(latency)),
        ("First token", seconds_text(row.get("first_token"))),
        ("Tokens", tokens_text(row.get("tokens"))),
        ("Cost", cost_text(row.get("cost"))),
        ("Cache", row.get("cache") or NOTHING),
        ("Customer", row.get("customer_identifier") or NOTHING),
        ("Environment", row.get("environment") or NOTHING),
        ("Call", row["id"]),
    )
    return element(
        "dl",
        *(element("div", element("dt", name), element("dd", value)) for name, value in facts),
        class_="facts",
    )


def _attempts(row: Mapping[str, Any], latency: float) -> Html:
    why = element("p", f"Why this choice: {row['why']}") if row.get("why") else None
    return element(
        "section",
        element("h3", "Attempts"),
        why,
        waterfall(row.get("attempts") or [], latency * 1000),
        _tokens(row),
    )


def _tokens(row: Mapping[str, Any]) -> Html | None:
    tokens: Mapping[str, int | None] = row.get("tokens") or {}
    counted = {name: value for name, value in tokens.items() if value is not None}
    if not counted:
        return None
    facts = (
        element("div", element("dt", _label(name)), element("dd", f"{value:,}"))
        for name, value in counted.items()
    )
    return element("section", element("h3", "Tokens"), element("dl", *facts, class_="facts"))


def _text(row: Mapping[str, Any], name: str, label: str, *, is_open: bool) -> Html | None:
    value = row.get(name)
    if value in (None, {}, []):
        return None
    text = element("pre", json_text(value), tabindex=0, aria_label=label, role="region")
    return element("details", element("summary", label), text, id=f"part-{name}", open=is_open)


def _rest(row: Mapping[str, Any]) -> Html | None:
    rest = {name: value for name, value in row.items() if name not in _PLACED and value is not None}
    return _text({"more": rest}, "more", "More", is_open=False)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()
