"""Attempts of a call as bars on one scale of time.

The bars are SVG: unlike ``style`` attributes, its lengths are allowed by a policy without ``unsafe-inline``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .figures import NOTHING, seconds_text
from .markup import element


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .markup import Html

    Attempts = Sequence[Mapping[str, Any]]


__all__ = ["waterfall"]


#: Percent: what took next to no time can still be seen.
_THINNEST: Final = 0.4

_HEADS: Final = ("#", "Provider", "Model", "Outcome", "Time", "Why")


def waterfall(attempts: Attempts, total: float) -> Html:
    """A table of *attempts*, in order, each with its bar.

    Args:
        attempts: As a log row has them: ``start`` and ``ms`` in milliseconds, ``wait`` (before the start) in seconds.
        total: Milliseconds that the whole call took.
    """
    if not attempts:
        return element("p", "Nobody was asked.", class_="empty")
    scale = max(total, *(attempt["start"] + attempt["ms"] for attempt in attempts), 1e-3)
    last = len(attempts) - 1
    rows = [
        _row(number, attempt, scale, total if number == last else 0)
        for number, attempt in enumerate(attempts)
    ]
    head = element(
        "tr", *(element("th", label, scope="col") for label in (*_HEADS[:4], _axis(scale), *_HEADS[5:]))
    )
    table = element("table", element("thead", head), element("tbody", *rows), class_="waterfall")
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label="Attempts")


def _axis(scale: float) -> Html:
    ticks = (element("span", seconds_text(scale * part / 1000)) for part in (0, 0.5, 1))
    return element("span", *ticks, class_="axis")


def _row(number: int, attempt: Mapping[str, Any], scale: float, end: float) -> Html:
    cells = (
        str(number + 1),
        attempt.get("provider") or NOTHING,
        attempt.get("model") or NOTHING,
        _outcome(attempt),
        _bar(attempt, scale, end),
        attempt.get("why") or NOTHING,
    )
    return element(
        "tr", *(element("td", cell, data_label=label) for label, cell in zip(_HEADS, cells, strict=True))
    )


def _outcome(attempt: Mapping[str, Any]) -> Html:
    said = (attempt.get("status"), attempt.get("meaning"), attempt.get("error"))
    text = " ".join(str(part) for part in said if part is not None)
    return element("span", text or "answered", class_=f"mark {_kind(attempt)}")


def _kind(attempt: Mapping[str, Any]) -> str:
    return "good" if attempt.get("meaning") is None else "bad"


def _bar(attempt: Mapping[str, Any], scale: float, end: float) -> Html:
    start, took, wait = attempt["start"], attempt["ms"], (attempt.get("wait") or 0) * 1000
    said = f"from {seconds_text(start / 1000)} for {seconds_text(took / 1000)}"
    if wait:
        said += f", after a wait of {seconds_text(wait / 1000)}"
    parts = (
        _part("wait", start - wait, wait, scale) if wait else None,
        _part(_kind(attempt), start, took, scale),
        _part("rest", start + took, end - start - took, scale) if end > start + took else None,
    )
    return element("svg", *parts, element("title", said), role="img", aria_label=said, class_="bar")


def _part(kind: str, start: float, took: float, scale: float) -> Html:
    left = min(max(start / scale * 100, 0), 100 - _THINNEST)
    width = min(max(took / scale * 100, _THINNEST), 100 - left)
    return element("rect", x=f"{left:.3f}%", width=f"{width:.3f}%", height="100%", rx=2, class_=kind)
