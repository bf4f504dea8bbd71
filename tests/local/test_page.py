"""The call log as HTML: what it says, that it holds nothing but what it says, and how rows are found."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serve_support import attempt, row

from respan_openai.local.figures import cost_text, json_text, model_text, seconds_text, time_text, tokens_text
from respan_openai.local.markup import Html, document, element, policy_headers
from respan_openai.local.page import list_page, message_page
from respan_openai.local.page_call import call_page
from respan_openai.local.search import Found, Search, find, under_way
from respan_openai.local.waterfall import waterfall
from respan_openai.stores.memory import MemoryStore


NOW = 1_790_000_010.0


class Page(HTMLParser):
    """What a page says, taken apart."""

    def __init__(self, text: bytes | str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text.decode() if isinstance(text, bytes) else text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"input", "meta"}:
            self._open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open:
            self.cells[-1] += data
        self.texts[self._open[-1] if self._open else ""] = (
            self.texts.get(self._open[-1] if self._open else "", "") + data
        )

    @property
    def is_whole(self) -> bool:
        """Whether each element was closed, in order."""
        return not self._open

    def attributes(self, name: str) -> list[str | None]:
        """The values of an attribute, in order."""
        return [attributes[name] for _, attributes in self.tags if name in attributes]

    def by_id(self, name: str) -> dict[str, str | None]:
        """The attributes of the element with that id."""
        return next(attributes for _, attributes in self.tags if attributes.get("id") == name)


def listed(
    *rows: dict, running: tuple[dict, ...] = (), search: Search = Search(), older=None, environment=None
) -> Page:
    return Page(list_page(Found([*rows], older), running, search, NOW, environment=environment))


# -- the list


def test_a_row_says_what_is_asked_at_a_glance() -> None:
    """Time, status, model asked and answered, provider, customer, tokens, cost, latency, first token, cache."""
    page = listed(row())

    assert page.cells == [
        "2026-09-21 14:13:20", "200", "openai/gpt-4o → gpt-4o-2024-11-20", "openai", "ada", "1,234 → 56",
        "$0.001234", "1.50 s", "250 ms", "miss",
    ]  # fmt: skip
    assert page.is_whole
    assert "/calls/log-1" in page.attributes("href")


def test_what_is_not_known_is_not_nothing() -> None:
    """A call without a price costs an unknown amount; a free one costs 0."""
    unknown = listed(
        row(cost=None, tokens=None, first_token=None, provider=None, customer_identifier=None, cache=None)
    )

    assert unknown.cells[3:] == ["—", "—", "unknown", "unknown", "1.50 s", "—", "—"]
    assert listed(row(cost=0)).cells[6] == "$0.00"


def test_a_running_call_stands_first_with_its_age() -> None:
    """Its figures are not there yet, and the script is told to look again soon."""
    page = listed(row(), running=(row(id="now", status=None, at=NOW - 3, latency=None, first_token=None),))

    assert page.cells[1] == "running"
    assert page.cells[5:8] == ["…", "…", "3.00 s"]
    assert page.by_id("live")["data-live"] == "now"
    assert "1 running" in page.texts["p"]


@pytest.mark.parametrize(("before", "expected"), [(None, "later"), (5.0, "never")])
def test_how_often_the_script_looks(before, expected) -> None:
    """Older pages do not change."""
    assert listed(row(), search=Search(before=before)).by_id("live")["data-live"] == expected


def test_repeats_are_told() -> None:
    """A call that needed several attempts is seen in the list."""
    assert listed(row(attempts=[attempt(), attempt()])).cells[1] == "200 2 attempts"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(200, "good"), (302, "good"), (400, "warn"), (429, "warn"), (500, "bad"), (None, "bad")],
)
def test_a_status_has_its_colour(status, kind) -> None:
    """And is a number all the same."""
    page = listed(row(status=status))

    assert f"mark {kind}" in page.attributes("class")
    assert page.cells[1] == ("no answer" if status is None else str(status))


def test_an_empty_log_says_so() -> None:
    """Instead of a table without rows."""
    page = listed()

    assert "No call here yet" in page.texts["p"]
    assert page.cells == []


def test_the_form_holds_what_was_asked_for() -> None:
    """And is sent with GET, so that it can be kept as a link."""
    page = listed(search=Search(text='"><script>', status="4xx", model="m"))
    values = {
        attributes.get("name"): attributes.get("value") for tag, attributes in page.tags if tag == "input"
    }

    assert values == {
        "text": '"><script>', "status": "4xx", "model": "m", "provider": None, "customer_identifier": None, "environment": None,
    }  # fmt: skip
    assert [attributes["method"] for tag, attributes in page.tags if tag == "form"] == ["get"]
    assert [tag for tag, _ in page.tags].count("script") == 1


def test_who_sees_one_environment_is_not_asked_for_it() -> None:
    """The field would do nothing."""
    assert "environment" not in listed(environment="test").attributes("name")


def test_pages_are_linked() -> None:
    """Older ones with the same filter, and back to the newest."""
    links = listed(row(), search=Search(model="a b", before=9.0), older=5.5).attributes("href")

    assert "/?model=a+b&before=5.5" in links
    assert "/?model=a+b" in links
    assert not any("before" in link for link in listed(row()).attributes("href"))


# -- a call


def test_a_call_tells_everything() -> None:
    """Parameters, tokens by kind, input and output as JSON, the reason of the choice, and what else is known."""
    page = Page(
        call_page(
            row(why="cheapest", attempts=[attempt()], thread_identifier="t-9", error="late"),
            NOW,
            is_running=False,
        )
    )

    assert page.is_whole
    assert "Why this choice: cheapest" in page.texts["p"]
    assert "Answered by openai · POST /api/chat/completions" in page.texts["p"]
    assert "late" in page.texts["p"]
    for part in (
        '"content": "Hello"',
        '"content": "Hi"',
        '"customer_identifier": "ada"',
        '"thread_identifier": "t-9"',
    ):
        assert part in page.texts["pre"]
    assert page.texts["dt"].endswith("CallPromptCompletionCached")
    assert page.texts["dd"].endswith("log-11,234561,000")
    assert page.by_id("live")["data-live"] == "never"


def test_a_call_under_way() -> None:
    """Its time so far, and the script looks again."""
    running = {
        "id": "x",
        "at": NOW - 2,
        "environment": "test",
        "path": "/responses",
        "status": None,
        "attempts": [],
    }
    page = Page(call_page(running, NOW, is_running=True))

    assert page.by_id("live")["data-live"] == "now"
    assert page.texts["dt"].startswith("Elapsed")
    assert page.texts["dd"].startswith("2.00 s")
    assert "No provider has answered" in page.texts["p"]
    assert "Nobody was asked." in page.texts["p"]


def test_a_call_whose_texts_are_not_kept() -> None:
    """``disable_log``: there is no empty box."""
    page = Page(call_page(row(input=None, output=None, stream=True), NOW, is_running=False))

    assert "part-input" not in page.attributes("id")
    assert "Streamed by openai" in page.texts["p"]


def test_a_page_that_only_says_something() -> None:
    """With the way back."""
    page = Page(message_page("No such call", "It has <fallen> out."))

    assert page.is_whole
    assert "It has <fallen> out." in page.texts["p"]
    assert "/" in page.attributes("href")


# -- the waterfall


def bars(html: Html) -> list[tuple[str, float, float]]:
    return [
        (attributes["class"], float(attributes["x"][:-1]), float(attributes["width"][:-1]))
        for tag, attributes in Page(html).tags
        if tag == "rect"
    ]


def test_attempts_stand_where_they_were_in_time() -> None:
    """Start and width in percent of the whole; waits before, and the rest of the answer after."""
    html = waterfall(
        [
            attempt(status=429, meaning="overload", start=0, ms=100),
            attempt(provider="azure", start=300, ms=500, wait=0.2, why="fallback"),
        ],
        1000,
    )

    assert bars(html) == [("bad", 0, 10), ("wait", 10, 20), ("good", 30, 50), ("rest", 80, 20)]
    page = Page(html)
    assert page.cells[:4] == ["1", "openai", "gpt-4o", "429 overload"]
    assert page.cells[6:10] == ["2", "azure", "gpt-4o", "200"]
    assert page.attributes("aria-label")[1:] == [
        "from 0 ms for 100 ms",
        "from 300 ms for 500 ms, after a wait of 200 ms",
    ]
    assert page.texts["span"].startswith("0 ms500 ms1.00 s")


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 60)), min_size=1, max_size=5),
    st.floats(0, 1e6),
)
def test_bars_stay_inside(times, total) -> None:
    """Whatever the clock said, and however short it was, a bar can be seen and lies on the scale."""
    for _, left, width in bars(
        waterfall([attempt(start=start, ms=ms, wait=wait) for start, ms, wait in times], total)
    ):
        assert left >= 0
        assert width > 0
        assert left + width <= 100.001


def test_an_attempt_without_an_answer() -> None:
    """The class of what was raised."""
    page = Page(
        waterfall([attempt(status=None, meaning="not_sent", error="ConnectError", why=None, model=None)], 5)
    )

    assert page.cells[2:4] == ["—", "not_sent ConnectError"]


# -- what a page is made of


@given(st.text())
def test_text_stays_text(text) -> None:
    """Nothing that a caller says becomes an element or an attribute."""
    html = element("p", text, title=text)
    (_, attributes), *more = Page(html).tags

    assert more == []
    assert set(attributes) == {"title"}


CANARY = "<script>alert(1)</script>\"'><img src=x>"


def test_nothing_that_a_caller_says_is_run() -> None:
    """In each value of a row, on both pages."""
    hostile = row(
        id=CANARY, model=CANARY, answer_model=CANARY, provider=CANARY, customer_identifier=CANARY, environment=CANARY,
        cache=CANARY, error=CANARY, why=CANARY, path=CANARY, params={CANARY: CANARY}, metadata={CANARY: CANARY},
        input=CANARY, output=CANARY, span_name=CANARY,
        tokens={"prompt": 1, "completion": 2}, attempts=[attempt(provider=CANARY, model=CANARY, meaning=CANARY, why=CANARY)],
    )  # fmt: skip
    for page in (listed(hostile), Page(call_page(hostile, NOW, is_running=False))):
        names = [tag for tag, _ in page.tags]
        assert names.count("script") == 1
        assert "img" not in names
        assert page.is_whole


def test_half_a_surrogate_pair_can_be_shown() -> None:
    """It can stand in JSON, but not in UTF-8."""
    assert b"?" in call_page(row(output="\ud83d"), NOW, is_running=False)


@pytest.mark.parametrize("page", [list_page(Found([row()], None), [], Search(), NOW, environment=None), call_page(row(attempts=[attempt()]), NOW, is_running=False)])  # fmt: skip
def test_a_page_needs_nothing_but_itself(page) -> None:
    """No external asset; one style and one script, which the policy names by their hash; no inline style or handler."""
    taken = Page(page)
    policy = dict(policy_headers())["Content-Security-Policy"]

    for tag in ("style", "script"):
        (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'")
    assert all(link.startswith("/") or link == "" for link in taken.attributes("href"))
    assert taken.attributes("src") == taken.attributes("style") == []
    assert not any(name.startswith("on") for _, attributes in taken.tags for name in attributes)


def test_a_document_has_a_language_and_a_size() -> None:
    """For readers aloud, and for small screens."""
    page = Page(document("A & B"))

    assert page.tags[0] == ("html", {"lang": "en"})
    assert "width=device-width, initial-scale=1" in page.attributes("content")
    assert page.texts["title"] == "A & B"


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (element("p", "a<b", Html("<i></i>"), None), "<p>a&lt;b<i></i></p>"),
        (element("input", name="n", disabled=True, value=None, list=False), '<input name="n" disabled>'),
        (
            element("div", class_="c", data_live="now", aria_label='"'),
            '<div class="c" data-live="now" aria-label="&quot;"></div>',
        ),
    ],
)
def test_elements(made, expected) -> None:
    """Children, void elements, and attributes by their Python names."""
    assert made == expected


# -- figures


@pytest.mark.parametrize(
    ("figure", "value", "expected"),
    [
        (time_text, 0, "1970-01-01 00:00:00"),
        (seconds_text, None, "—"),
        (seconds_text, 0, "0 ms"),
        (seconds_text, 0.0124, "12 ms"),
        (seconds_text, 1234.5, "1,234.50 s"),
        (cost_text, None, "unknown"),
        (cost_text, 0, "$0.00"),
        (cost_text, 1.5, "$1.50"),
        (cost_text, 1e-9, "$0.000000001"),
        (cost_text, 12345.678, "$12,345.678"),
        (tokens_text, None, "unknown"),
        (tokens_text, {"prompt": 0, "completion": None}, "0 → unknown"),
        (model_text, {"model": "a", "answer_model": "a"}, "a"),
        (model_text, {"model": None, "answer_model": "b"}, "(any) → b"),
        (model_text, {"model": None}, "(any)"),
        (json_text, {"ä": [1]}, '{\n  "ä": [\n    1\n  ]\n}'),
        (json_text, "cut…", "cut…"),
    ],
)
def test_figures(figure, value, expected) -> None:
    """As people read them; nothing rounds to a price that nobody has."""
    assert figure(value) == expected


# -- finding rows


def test_a_query_and_back() -> None:
    """What a search asks for can be a link; what is unknown in one is left out."""
    search = Search.from_query("model=a%2Fb&status=429&text=+x+&before=1.5&page=2&provider=")

    assert search == Search(model="a/b", status="429", text="x", before=1.5)
    assert Search.from_query(search.query()[1:]) == search
    assert Search().query() == ""
    assert Search.from_query("before=nan").before is Search.from_query("before=x").before is None


@pytest.mark.parametrize(
    ("search", "values", "expected"),
    [
        (Search(), {}, True),
        (Search(status="200"), {}, True),
        (Search(status="201"), {}, False),
        (Search(status="2xx"), {}, True),
        (Search(status="4XX"), {"status": 429}, True),
        (Search(status="5xx"), {"status": 429}, False),
        (Search(status="error"), {"status": 500}, True),
        (Search(status="error"), {}, False),
        (Search(status="error"), {"status": None}, False),
        (Search(status="nonsense"), {}, False),
        (Search(status="9999"), {}, False),
        (Search(model="openai/gpt-4o"), {}, True),
        (Search(model="gpt-4o"), {}, False),
        (Search(provider="openai", customer_identifier="ada", environment="production"), {}, True),
        (Search(provider="azure"), {}, False),
        (Search(text="AD"), {}, True),
        (Search(text="og-1"), {}, True),
        (Search(text="order-7"), {"custom_identifier": "Order-77"}, True),
        (Search(text="t-1"), {"thread_identifier": "t-1"}, True),
        (Search(text="gpt"), {}, False),
    ],
)
def test_what_a_search_wants(search, values, expected) -> None:
    """The same from a store as among the calls under way."""
    store = MemoryStore()
    store.log(row(**values))

    assert bool(find(store, search).rows) == expected
    assert bool(under_way([row(**values)], search)) == expected


def test_older_pages_hold_no_running_calls() -> None:
    """They stand on the first one."""
    assert under_way([row()], Search(before=1e12)) == []


@given(st.integers(0, 23), st.integers(1, 5), st.sampled_from(["", "even"]))
def test_paging_shows_each_row_once(count, limit, text) -> None:
    """Whatever the size of a page, and whether rows between are left out."""
    store = MemoryStore()
    names = [f"{number}-{'even' if number % 2 == 0 else 'odd'}" for number in range(count)]
    for at, name in enumerate(names):
        store.log(row(id=name, at=float(at)))
    search, seen = Search(text=text), []
    while True:
        found = find(store, search, limit)
        seen += [each["id"] for each in found.rows]
        assert len(found.rows) <= limit
        if found.older is None:
            break
        search = Search(text=text, before=found.older)

    assert seen == [name for name in reversed(names) if text in name]


def test_a_search_for_little_among_much_ends() -> None:
    """It is cut off, and says where to go on."""
    store = MemoryStore()
    for at in range(100):
        store.log(row(id=f"row-{at}", at=float(at)))

    found = find(store, Search(text="row-0"), 1)
    assert found == Found([], 60.0)
    assert [each["id"] for each in find(store, Search(text="row-0", before=40.0), 1).rows] == ["row-0"]
