"""The call log as a page: a table of calls, with a form that filters it.

Works without a script; with it, what stands in ``#live`` is kept up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from .figures import COLUMNS, Column, seconds_text, time_text
from .markup import document, element


if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .markup import Html
    from .search import Found, Search


__all__ = ["heading", "list_page", "message_page", "status_mark", "time_mark", "took", "when_running"]


TITLE: Final = "Respan local gateway"


class _Filter(NamedTuple):
    name: str
    label: str
    hint: str


_FILTERS: Final = (
    _Filter("text", "Identifier", "part of one"),
    _Filter("status", "Status", "429, 4xx, error"),
    _Filter("model", "Model", "as asked for"),
    _Filter("provider", "Provider", ""),
    _Filter("customer_identifier", "Customer", ""),
    _Filter("environment", "Environment", ""),
)
_STATUSES: Final = ("200", "2xx", "4xx", "5xx", "error")


def list_page(
    found: Found, running: Sequence[Mapping[str, Any]], search: Search, now: float, *, environment: str | None
) -> bytes:
    """The calls that *search* wants.

    Args:
        found: Those that are over.
        running: Those under way.
        search: What the form shows.
        now: Seconds since 1970.
        environment: The only one that the visitor may see; ``None`` for all.
    """
    rows = [*(_row(row, now, is_running=True) for row in running), *(_row(row, now) for row in found.rows)]
    live = element("div", _summary(len(rows), len(running)), _table(rows), _paging(found, search),
                   id="live", data_live=when_running(running, settled=search.before is not None))  # fmt: skip
    return document(f"Calls · {TITLE}", heading("Calls"), element("main", _form(search, environment), live))


def message_page(title: str, message: str) -> bytes:
    """A page that only says something, such as that there is no such call."""
    back = element("p", element("a", "All calls", href="/"))
    return document(f"{title} · {TITLE}", heading(title), element("main", element("p", message), back))


def heading(title: str) -> Html:
    """What stands at the top of each page."""
    name = element("a", TITLE, href="/", class_="name")
    note = element("span", id="note", role="status")
    return element("header", name, element("h1", title), note)


def when_running(running: Iterable[object], *, settled: bool = False) -> str:
    """How soon the script looks again: ``now`` while calls run, ``later``, or ``never`` if all is settled."""
    return "now" if any(True for _ in running) else "never" if settled else "later"


def status_mark(row: Mapping[str, Any], *, is_running: bool) -> Html:
    """The status in a colour of its kind; a call without one has not come to an end."""
    status = row.get("status")
    if status is None:
        return element(
            "span", "running" if is_running else "no answer", class_=f"mark {'run' if is_running else 'bad'}"
        )
    return element("span", str(status), class_=f"mark {_kind(status)}")


def _kind(status: int) -> str:
    return "good" if status < 400 else "warn" if status < 500 else "bad"


def took(row: Mapping[str, Any], now: float, *, is_running: bool) -> float | None:
    """Seconds from the request to the end of its answer, or up to *now*; ``None`` if nobody measured."""
    return max(now - row["at"], 0) if is_running else row.get("latency")


def time_mark(at: float) -> Html:
    """When, readable by people and machines."""
    text = time_text(at)
    return element("time", text, datetime=f"{text.replace(' ', 'T')}Z")


# -- the form


def _form(search: Search, environment: str | None) -> Html:
    shown = [entry for entry in _FILTERS if environment is None or entry.name != "environment"]
    statuses = element("datalist", *(element("option", value=status) for status in _STATUSES), id="statuses")
    buttons = element("div", element("button", "Filter"), element("a", "Clear", href="/"), class_="buttons")
    return element(
        "form",
        *(_field(entry, search) for entry in shown),
        statuses,
        buttons,
        method="get",
        action="/",
        role="search",
    )


def _field(entry: _Filter, search: Search) -> Html:
    box = element(
        "input",
        name=entry.name,
        value=getattr(search, entry.name) or None,
        placeholder=entry.hint or None,
        autocomplete="off",
        list="statuses" if entry.name == "status" else None,
    )
    return element("label", element("span", entry.label), box)


# -- the table


def _summary(shown: int, running: int) -> Html:
    text = f"{shown} {'call' if shown == 1 else 'calls'}, newest first"
    refresh = element("a", "Refresh", href="", id="refresh")
    return element(
        "p", f"{text}; {running} running · " if running else f"{text} · ", refresh, class_="summary"
    )


def _table(rows: Sequence[Html]) -> Html:
    if not rows:
        return element("p", "No call here yet, or none that fits the filter.", class_="empty")
    head = element("tr", *(_cell("th", column, column.label, scope="col") for column in COLUMNS))
    table = element("table", element("thead", head), element("tbody", *rows))
    return element("div", table, class_="scroll", tabindex=0, role="region", aria_label="Calls")


def _row(row: Mapping[str, Any], now: float, *, is_running: bool = False) -> Html:
    link = element(
        "a", time_mark(row["at"]), href=f"/calls/{quote(row['id'], safe='')}", id=f"call-{row['id']}"
    )
    status = status_mark(row, is_running=is_running)
    shown: dict[str, str] = {column.label: column.text(row) for column in COLUMNS}
    shown |= {"Time (UTC)": link, "Status": element("span", status, _repeats(row))}
    if is_running:
        latency = seconds_text(took(row, now, is_running=True))
        shown |= {"Tokens": "…", "Cost": "…", "Latency": latency}
    cells = (_cell("td", column, shown[column.label], data_label=column.label) for column in COLUMNS)
    return element("tr", *cells, class_="running" if is_running else None)


def _cell(tag: str, column: Column, content: str, **attributes: str) -> Html:
    return element(tag, content, class_="number" if column.is_number else None, **attributes)


def _repeats(row: Mapping[str, Any]) -> Html | None:
    attempts = len(row.get("attempts") or ())
    return element("small", f" {attempts} attempts") if attempts > 1 else None


def _paging(found: Found, search: Search) -> Html:
    newest = (
        element("a", "Newest", href=f"/{search.query(before=None)}") if search.before is not None else None
    )
    older = (
        None
        if found.older is None
        else element("a", "Older", href=f"/{search.query(before=found.older)}", rel="next")
    )
    return element("nav", newest, older, aria_label="Pages")
