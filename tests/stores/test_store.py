"""What every store promises, sentence by sentence of its protocol, for all of them."""

from __future__ import annotations

import math
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from respan_openai.exceptions import ConfigError, ParamsError, StoreError
from respan_openai.stores.protocol import FIELDS, Charge


NOW, LATER = 1000.0, 1600.0
MOST = 2**63 - 1


def row(log_id: str, at: float, **fields: Any) -> dict[str, Any]:
    """A row of the log."""
    return {"id": log_id, "at": at, **fields}


def ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


# -- cache


def test_nothing_is_cached_at_first(store: Any) -> None:
    """A key that nothing was put under has no value."""
    assert store.cached("k", NOW) is None


@pytest.mark.parametrize("value", [b"", b"text", bytes(range(256)), b"x" * 300_000])
def test_value_comes_back_as_it_was_put(store: Any, value: bytes) -> None:
    """Any bytes are kept, byte for byte."""
    store.put("k", value, NOW, LATER)

    assert store.cached("k", NOW) == value


def test_put_replaces(store: Any) -> None:
    """What was there is replaced, its expiry included."""
    store.put("k", b"old", NOW, NOW + 1)
    store.put("k", b"new", NOW, LATER)

    assert store.cached("k", NOW + 2) == b"new"


@pytest.mark.parametrize(("at", "value"), [(LATER - 0.001, b"v"), (LATER, None), (LATER + 1, None)])
def test_value_expires(store: Any, at: float, value: bytes | None) -> None:
    """A value is served until it expires, and not at that moment."""
    store.put("k", b"v", NOW, LATER)

    assert store.cached("k", at) == value


def test_put_of_something_expired_leaves_nothing(store: Any) -> None:
    """A value that has expired already takes the place of the old one, and is not served."""
    store.put("k", b"old", NOW, LATER)
    store.put("k", b"new", NOW, NOW)

    assert store.cached("k", NOW) is None


@pytest.mark.parametrize("expires", [math.inf, 1e18])
def test_value_may_be_kept_for_ever(store: Any, expires: float) -> None:
    """An expiry beyond what a server counts is no error."""
    store.put("k", b"v", NOW, expires)

    assert store.cached("k", NOW) == b"v"


def test_keys_are_opaque(store: Any) -> None:
    """Keys that look alike, are long or hold anything at all are different keys."""
    keys = ["a:b", "a", "", '["a"]', "x" * 1000, "x" * 1001, "é\n\x00", "é\n"]
    for number, key in enumerate(keys):
        store.put(key, b"%d" % number, NOW, LATER)

    assert [store.cached(key, NOW) for key in keys] == [b"%d" % number for number in range(len(keys))]


# -- budgets


def test_reservation_takes(store: Any) -> None:
    """Every charge of a reservation is taken from its own budget."""
    refused = store.reserve("h", [Charge("a", "total", 3, 10), Charge("a", "2026-11", 4)], NOW, LATER)

    assert refused is None
    assert (store.taken("a", "total"), store.taken("a", "2026-11"), store.taken("b", "total")) == (3, 4, 0)


def test_nothing_at_all_may_be_reserved(store: Any) -> None:
    """A reservation without charges, or of 0, succeeds and can be settled."""
    assert store.reserve("empty", [], NOW, LATER) is None
    assert store.reserve("zero", [Charge("a", "w", 0, 0)], NOW, LATER) is None
    store.settle("empty", [], NOW)
    store.settle("zero", [2], NOW)

    assert store.taken("a", "w") == 2


def test_limit_itself_may_be_reached(store: Any) -> None:
    """A charge up to the limit fits; the next one does not and is named."""
    beyond = Charge("a", "w", 1, 10)

    assert store.reserve("h1", [Charge("a", "w", 10, 10)], NOW, LATER) is None
    assert store.reserve("h2", [beyond], NOW, LATER) == beyond
    assert store.taken("a", "w") == 10


@pytest.mark.parametrize("order", [1, -1])
def test_refused_reservation_takes_nothing(store: Any, order: int) -> None:
    """One charge too much, wherever it stands: none is taken, and the name stays free."""
    charges = [Charge("a", "total", 5, 10), Charge("a", "day", 5, 4)][::order]

    assert store.reserve("h", charges, NOW, LATER) == Charge("a", "day", 5, 4)
    assert (store.taken("a", "total"), store.taken("a", "day")) == (0, 0)
    assert store.reserve("h", [Charge("a", "total", 1)], NOW, LATER) is None


@pytest.mark.parametrize("limit", [-1, -(2**70), 0])
def test_limit_that_leaves_no_room(store: Any, limit: int) -> None:
    """A limit of nothing, or less, refuses every charge."""
    charge = Charge("a", "w", 1, limit)

    assert store.reserve("h", [charge], NOW, LATER) == charge


def test_two_charges_on_one_budget(store: Any) -> None:
    """The second one finds what the first one has left."""
    charges = [Charge("a", "w", 6, 10), Charge("a", "w", 5, 10)]

    assert store.reserve("h", charges, NOW, LATER) == charges[1]
    assert store.taken("a", "w") == 0
    assert store.reserve("h", [charges[0], Charge("a", "w", 4, 10)], NOW, LATER) is None
    store.settle("h", [1, 2], NOW)
    assert store.taken("a", "w") == 3


def test_budgets_are_opaque(store: Any) -> None:
    """No account and window can be mistaken for others."""
    budgets = [
        ("a:b", "c"),
        ("a", "b:c"),
        ("a", ""),
        ("", "a"),
        ("x" * 300, "w"),
        ("x" * 301, "w"),
        ('a","b', "c"),
    ]
    for number, (account, window) in enumerate(budgets):
        store.reserve(f"h{number}", [Charge(account, window, number)], NOW, LATER)

    assert [store.taken(*budget) for budget in budgets] == list(range(len(budgets)))


def test_settling_replaces_what_was_taken(store: Any) -> None:
    """After it, a budget has what the call has cost; other reservations are left alone."""
    store.reserve("other", [Charge("a", "total", 100)], NOW, LATER)
    store.reserve("h", [Charge("a", "total", 5), Charge("a", "day", 6)], NOW, LATER)
    store.settle("h", [2, 1], NOW)

    assert (store.taken("a", "total"), store.taken("a", "day")) == (102, 1)


def test_settling_happens_once(store: Any) -> None:
    """A hold that is settled, or that nobody has made, is left as it is."""
    store.reserve("h", [Charge("a", "w", 5)], NOW, LATER)
    store.settle("h", [2], NOW)
    store.settle("h", [0], NOW)
    store.settle("unknown", [7], NOW)

    assert store.taken("a", "w") == 2


def test_spent_amounts_pass_the_limit(store: Any) -> None:
    """What has been spent is taken, also beyond the limit; nothing more fits then, not even nothing."""
    store.reserve("h", [Charge("a", "w", 5, 10)], NOW, LATER)
    store.settle("h", [12], NOW)

    assert store.taken("a", "w") == 12
    assert store.reserve("h2", [Charge("a", "w", 0, 10)], NOW, LATER) is not None


@pytest.mark.parametrize(("at", "taken"), [(LATER - 0.001, 1), (LATER, 5), (LATER + 1, 5)])
def test_unsettled_reservation_stays_taken(store: Any, at: float, taken: int) -> None:
    """R2: what is not settled before it expires is taken for good, at its estimate."""
    store.reserve("h", [Charge("a", "w", 5)], NOW, LATER)
    store.settle("h", [1], at)

    assert store.taken("a", "w") == taken


def test_name_in_use_is_refused(store: Any) -> None:
    """Two reservations of one name could not be told apart: nothing is taken."""
    store.reserve("h", [Charge("a", "w", 5)], NOW, LATER)

    with pytest.raises(StoreError, match="name"):
        store.reserve("h", [Charge("a", "w", 1)], NOW, LATER)

    assert store.taken("a", "w") == 5


@pytest.mark.parametrize("how", ["settled", "expired"])
def test_name_is_free_again(store: Any, how: str) -> None:
    """Once it is settled or has expired, a hold's name is forgotten, and settles the newer reservation."""
    store.reserve("h", [Charge("a", "w", 5)], NOW, LATER)
    if how == "settled":
        store.settle("h", [5], NOW)
    store.reserve("h", [Charge("a", "w", 7)], LATER, LATER + 600)
    store.settle("h", [1], LATER + 1)

    assert store.taken("a", "w") == 6


def test_many_expired_holds_change_nothing(store: Any) -> None:
    """Holds that pile up unsettled are forgotten, and what is in use is not."""
    store.reserve("kept", [Charge("a", "w", 1)], NOW, LATER + 10)
    for number in range(1200):
        store.reserve(f"h{number}", [Charge("a", "w", 1)], NOW + number / 10, NOW + number / 10 + 0.05)
    store.settle("kept", [0], LATER)

    assert store.taken("a", "w") == 1200


def minute(number: int, limit: int | None = None) -> Charge:
    """One request in a window of 10 ms; *number* 0 begins at ``NOW``."""
    return Charge("a", f"minute {number}", 1, limit, NOW + (number + 1) / 100)


def test_window_counts_until_it_is_over(store: Any) -> None:
    """A window with an end is a budget like any other one until then."""
    long = Charge("a", "minute", 1, 2, NOW + 60)

    assert [store.reserve(f"h{each}", [long], NOW + each, LATER) for each in range(3)] == [None, None, long]
    store.settle("h0", [0], NOW)
    assert store.taken("a", "minute") == 1
    assert store.reserve("h3", [long], NOW + 59, LATER) is None


def test_window_that_is_over_is_forgotten(store: Any) -> None:
    """When a newer one of its account is written to at the latest; budgets without an end stay."""
    store.reserve("day", [Charge("a", "day", 3)], NOW, NOW + 0.01)
    store.reserve("other", [Charge("b", "minute 0", 1)], NOW, NOW + 0.01)
    for number in range(5):
        assert store.reserve(f"h{number}", [minute(number)], NOW + number / 100, NOW + number / 100) is None

    deadline = time.monotonic() + 20
    while any(store.taken("a", f"minute {n}") for n in range(4)) and time.monotonic() < deadline:
        pass  # a server has a clock of its own
    assert [store.taken("a", f"minute {number}") for number in range(4)] == [0] * 4
    assert (store.taken("a", "day"), store.taken("b", "minute 0")) == (3, 1)


def test_window_that_is_over_already(store: Any) -> None:
    """A call that comes late to its window is let in like any other one, as often as that happens."""
    for number in range(3):
        assert store.reserve(f"h{number}", [minute(0), minute(1)], NOW + number, NOW + number + 1) is None
        store.settle(f"h{number}", [1, 1], NOW + number)
        assert store.reserve(f"i{number}", [minute(100 * number + 2)], NOW + number, NOW + number + 1) is None


def test_window_is_settled_after_its_end(store: Any) -> None:
    """A call that outlasts its window is settled, and the window that is over is not begun again."""
    store.reserve("h0", [minute(0), Charge("a", "day", 5)], NOW, LATER)
    store.reserve("h1", [minute(1)], NOW + 0.01, LATER)
    store.settle("h0", [0, 2], NOW + 0.015)

    assert (store.taken("a", "minute 0"), store.taken("a", "day")) == (0, 2)
    assert store.taken("a", "minute 1") == 1


@pytest.mark.parametrize("amounts", [[], [1], [1, 1, 1]])
def test_wrong_number_of_amounts(store: Any, amounts: list[int]) -> None:
    """They cannot be assigned to the charges: nothing happens, and the hold can still be settled."""
    store.reserve("h", [Charge("a", "x", 5), Charge("a", "y", 5)], NOW, LATER)

    with pytest.raises(StoreError, match="2 charges"):
        store.settle("h", amounts, NOW)

    store.settle("h", [1, 1], NOW)
    assert (store.taken("a", "x"), store.taken("a", "y")) == (1, 1)


@pytest.mark.parametrize("amount", [-1, 2**63, 1.5, True, "1"])
def test_amounts_that_cannot_be_counted(store: Any, amount: Any) -> None:
    """Negative, fractional or larger than 64 bits: an error, and nothing is taken."""
    with pytest.raises(StoreError, match="whole units"):
        store.reserve("h", [Charge("a", "w", 1), Charge("a", "w", amount)], NOW, LATER)
    store.reserve("h", [Charge("a", "w", 1)], NOW, LATER)
    with pytest.raises(StoreError, match="whole units"):
        store.settle("h", [amount], NOW)

    assert store.taken("a", "w") == 1


@pytest.mark.parametrize("limit", [MOST, 2**64, 10**30, None])
def test_amounts_are_exact_up_to_64_bits(store: Any, limit: int | None) -> None:
    """No rounding near the largest amount: the last unit fits, one more does not."""
    assert store.reserve("h1", [Charge("a", "w", MOST - 1, limit)], NOW, LATER) is None
    assert store.reserve("h2", [Charge("a", "w", 2, limit)], NOW, LATER) is not None
    assert store.reserve("h3", [Charge("a", "w", 1, limit)], NOW, LATER) is None
    assert store.taken("a", "w") == MOST


@pytest.mark.parametrize("limit", [2**53, 2**53 + 1, 10**17 + 1, 9, 10, 99, 100, 101])
def test_limits_are_compared_exactly(store: Any, limit: int) -> None:
    """Whatever the number of digits, exactly the limit can be taken."""
    assert store.reserve("h1", [Charge("a", "w", limit - 1, limit)], NOW, LATER) is None
    assert store.reserve("h2", [Charge("a", "w", 2, limit)], NOW, LATER) is not None
    assert store.reserve("h3", [Charge("a", "w", 1, limit)], NOW, LATER) is None


_OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle"]),
        st.sampled_from("hijk"),
        st.lists(
            st.tuples(st.sampled_from("ab"), st.integers(0, 9), st.none() | st.integers(0, 20)), max_size=3
        ),
        st.integers(0, 12),
    ),
    max_size=25,
)
_example = count()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(operations=_OPERATIONS)
def test_ledger_is_what_arithmetic_says(store: Any, operations: list[Any]) -> None:
    """Whatever is reserved and settled: no charge passes its limit, and what is taken is the sum of what
    was."""
    example = next(_example)
    taken = {"a": 0, "b": 0}
    holds: dict[str, list[tuple[str, int]]] = {}
    for what, hold, parts, spent in operations:
        if what == "settle":
            amounts = [spent] * len(holds.get(hold, ()))
            store.settle(f"{example}{hold}", amounts, NOW)
            for account, amount in holds.pop(hold, ()):
                taken[account] += spent - amount
        elif hold not in holds:
            charges = [Charge(f"{example}{account}", "w", amount, limit) for account, amount, limit in parts]
            after, expected = dict(taken), None
            for charge, (account, amount, limit) in zip(charges, parts, strict=True):
                after[account] += amount
                if limit is not None and after[account] > limit:
                    expected = charge
                    break
            assert store.reserve(f"{example}{hold}", charges, NOW, LATER) == expected
            if expected is None:
                taken, holds[hold] = after, [(account, amount) for account, amount, _ in parts]

        assert {account: store.taken(f"{example}{account}", "w") for account in "ab"} == taken


# -- customers and prompts


def test_unknown_customer_and_prompt(store: Any) -> None:
    """Nothing is known about them."""
    assert store.customer("c") is None
    assert store.prompt("p") is None


def test_customer_is_laid_over(store: Any) -> None:
    """Key by key what is new wins, a null too; the whole is returned and kept."""
    store.save_customer("c", {"name": "N", "nested": {"a": 1}, "email": "e"})
    whole = store.save_customer("c", {"nested": {"b": 2}, "email": None})

    assert whole == {"name": "N", "nested": {"b": 2}, "email": None}
    assert store.customer("c") == whole
    assert store.customer("d") is None


def test_nothing_laid_over_a_customer(store: Any) -> None:
    """No fields at all change nothing, and make nobody known."""
    assert store.save_customer("c", {}) == {}
    assert store.customer("c") is None


VALUES = {
    "text": 'é"\n\x00\ud800',
    "int": 2**70,
    "float": 0.1,
    "bool": True,
    "null": None,
    "list": [1, [2]],
    "": {"é": {}},
}


def test_json_comes_back_as_it_was(store: Any) -> None:
    """Every JSON value survives in customers, prompts and log rows."""
    store.save_prompt("p", VALUES)
    store.save_customer("c", VALUES)
    store.log(row("r", 1.5, extra=VALUES))

    assert store.prompt("p") == store.customer("c") == store.entry("r")["extra"] == VALUES


def test_prompt_is_replaced(store: Any) -> None:
    """The whole of it: no key of the old one is left."""
    store.save_prompt("p", {"a": 1})
    store.save_prompt("p", {"b": 2})

    assert store.prompt("p") == {"b": 2}


@pytest.mark.parametrize("value", [math.nan, b"secret-canary", {"secret-canary"}, object()])
def test_what_is_not_json_is_refused(store: Any, value: Any) -> None:
    """An error that does not show the value, and nothing is changed."""
    store.save_prompt("p", {"a": 1})
    store.save_customer("c", {"a": 1})
    for attempt in (
        lambda: store.save_prompt("p", {"a": value}),
        lambda: store.save_customer("c", {"a": value}),
    ):
        with pytest.raises(StoreError, match="JSON") as caught:
            attempt()
        assert "canary" not in str(caught.value)

    assert (store.prompt("p"), store.customer("c")) == ({"a": 1}, {"a": 1})


@pytest.mark.parametrize("value", [b"secret-canary", {"secret-canary"}, object(), [math.nan, object()]])
def test_row_that_is_not_json_is_refused(store: Any, value: Any) -> None:
    """An error that does not show the value, and no row."""
    with pytest.raises(StoreError, match="JSON") as caught:
        store.log(row("r", 1.0, a=value))

    assert "canary" not in str(caught.value)
    assert store.entry("r") is None


def test_row_that_refers_to_itself_is_refused(store: Any) -> None:
    """It has no end: an error, and no row."""
    endless: list[Any] = [math.nan]
    endless.append(endless)
    with pytest.raises(StoreError, match="JSON"):
        store.log(row("r", 1.0, a=endless))

    assert store.entry("r") is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_json_has_not(store: Any, value: float) -> None:
    """It costs a row of the log that number, and nothing else: a request may hold ``1e999``."""
    store.log(row("r", 1.5, model="m", seed=value, inside=[{"a": value}, 'x"NaN"', 2]))

    expected = row("r", 1.5, model="m", seed=None, inside=[{"a": None}, 'x"NaN"', 2])
    assert store.entry("r") == expected
    assert store.entries(where={"model": "m"}) == [expected]


@pytest.mark.parametrize("field", FIELDS)
def test_half_a_character_in_a_field(store: Any, field: str) -> None:
    """Half a surrogate pair, which JSON may hold, costs no row, and the row is found by it."""
    store.log(row("r", 1.0, **{field: "u\ud800"}))
    store.log(row("s", 1.0, **{field: "u"}))

    assert store.entry("r") == row("r", 1.0, **{field: "u\ud800"})
    assert ids(store.entries(where={field: "u\ud800"})) == ["r"]


def test_what_is_kept_cannot_be_changed_from_outside(store: Any) -> None:
    """Neither by changing what was passed, nor by changing what was returned."""
    for save, look in (
        (lambda value: store.save_prompt("p", value), lambda: store.prompt("p")),
        (lambda value: store.save_customer("p", value), lambda: store.customer("p")),
        (store.log, lambda: store.entry("p")),
        (store.log, lambda: store.entries()[0]),
    ):
        value = row("p", 1.0, inside=[1])
        save(value)
        value["inside"].append(2)
        look()["inside"].append(3)

        assert look()["inside"] == [1]


# -- log


def test_no_entry(store: Any) -> None:
    """An empty log has no row, and an empty page."""
    assert store.entry("r") is None
    assert store.entries() == []


def test_newest_rows_come_first(store: Any) -> None:
    """By time, not by when they were written; of the same time by id."""
    for log_id, at in (("b", 2.0), ("d", 4.5), ("a", 1.0), ("c2", 3.0), ("c1", 3.0)):
        store.log(row(log_id, at))

    assert ids(store.entries()) == ["d", "c2", "c1", "b", "a"]


@pytest.mark.parametrize(("limit", "found"), [(2, ["c", "b"]), (9, ["c", "b", "a"]), (0, []), (-1, [])])
def test_limit_of_a_page(store: Any, limit: int, found: list[str]) -> None:
    """At most that many rows, the newest ones."""
    for at, log_id in enumerate("abc"):
        store.log(row(log_id, float(at)))

    assert ids(store.entries(limit=limit)) == found


@pytest.mark.parametrize(
    ("before", "found"), [(2.0, ["b", "a"]), (2.5, ["c", "b", "a"]), (0.0, []), (math.inf, ["c", "b", "a"])]
)
def test_older_than(store: Any, before: float, found: list[str]) -> None:
    """Only rows from before that moment."""
    for at, log_id in enumerate("abc"):
        store.log(row(log_id, float(at)))

    assert ids(store.entries(before=before)) == found


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("wanted", "found"), [("x", ["x"]), (200, ["int"]), (None, ["none", "absent"]), ("nobody", [])]
)
def test_rows_with_a_value(store: Any, field: str, wanted: object, found: list[str]) -> None:
    """Each field can be asked for; text and numbers differ, and an absent one is ``None``."""
    rows = [row("x", 5, **{field: "x"}), row("int", 4, **{field: 200}), row("str", 3, **{field: "200"})]
    for each in (*rows, row("none", 2, **{field: None}), row("absent", 1)):
        store.log(each)

    assert ids(store.entries(where={field: wanted})) == found


def test_all_conditions_hold(store: Any) -> None:
    """Several values, a moment and a number of rows are asked for together."""
    for at in range(300):
        store.log(row(f"{at:03}", float(at), model="m" if at % 3 else "n", status=200 if at % 2 else 500))

    found = store.entries(limit=2, before=250, where={"model": "n", "status": 200})

    assert ids(found) == ["249", "243"]
    assert len(store.entries(limit=1000, where={"model": "n"})) == 100


@pytest.mark.parametrize("name", ["modle", "id", "1=1; --", ""])
def test_only_fields_can_be_asked_for(store: Any, name: str) -> None:
    """Another name is an error that lists them."""
    with pytest.raises(ParamsError, match="thread_identifier"):
        store.entries(where={name: "x"})


def test_row_with_the_same_id_is_replaced(store: Any) -> None:
    """Wherever it stood; it is found once, with its new time and fields."""
    for at, log_id in enumerate("abc"):
        store.log(row(log_id, float(at), model="old"))
    store.log(row("a", 9.0, model="new"))

    assert ids(store.entries()) == ["a", "c", "b"]
    assert store.entry("a") == row("a", 9.0, model="new")
    assert ids(store.entries(where={"model": "old"})) == ["c", "b"]


def test_oldest_rows_fall_out(make: Any) -> None:
    """The log has at most so many rows; a row that is replaced is not counted twice."""
    store = make(max_rows=3)
    for at, log_id in enumerate(["a", "b", "c", "c", "d", "e"]):
        store.log(row(log_id, float(at)))
    store.log(row("older than all", 0.5))

    assert ids(store.entries()) == ["e", "d", "c"]
    assert (store.entry("a"), store.entry("older than all")) == (None, None)


def test_log_without_bound(make: Any) -> None:
    """``None`` keeps all rows."""
    store = make(max_rows=None)
    for at in range(20):
        store.log(row(str(at), float(at)))

    assert len(store.entries()) == 20


@pytest.mark.parametrize("bound", [0, -1, 1.5, True, "9"])
def test_bounds_are_positive_integers(make: Any, bound: Any) -> None:
    """Anything else is an error when the store is made, which names the argument."""
    with pytest.raises(ConfigError, match="max_rows"):
        make(max_rows=bound)


# -- threads


def in_threads(job: Any, times: int = 64) -> list[Any]:
    """What *job* returns for 0, 1, 2, ..., run by eight threads."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(job, range(times)))


def test_threads_do_not_overspend(store: Any) -> None:
    """Eight threads, one budget: exactly what fits is taken, and settling gives back exactly the rest."""
    refused = in_threads(
        lambda n: store.reserve(f"h{n}", [Charge("a", "w", 2, 41), Charge("b", "w", 1)], NOW, LATER)
    )

    taken = [n for n, charge in enumerate(refused) if charge is None]
    assert (len(taken), store.taken("a", "w"), store.taken("b", "w")) == (20, 40, 20)
    in_threads(lambda n: store.settle(f"h{n}", [1, 0], NOW))
    assert (store.taken("a", "w"), store.taken("b", "w")) == (20, 0)


def test_threads_settle_once(store: Any) -> None:
    """One hold, settled by many at once: one of them does it."""
    store.reserve("h", [Charge("a", "w", 50)], NOW, LATER)
    in_threads(lambda _: store.settle("h", [3], NOW))

    assert store.taken("a", "w") == 3


def test_threads_do_not_lose_a_field(store: Any) -> None:
    """Customers that are saved at the same time keep the fields of all."""
    in_threads(lambda n: store.save_customer("c", {str(n): n}))

    assert store.customer("c") == {str(n): n for n in range(64)}


def test_threads_do_not_lose_a_row(make: Any) -> None:
    """Rows that are written at the same time are all there, or as many as the bound allows."""
    store = make(max_rows=40)
    in_threads(lambda n: store.log(row(f"{n:02}", float(n))))

    assert ids(store.entries()) == [f"{n:02}" for n in range(63, 23, -1)]


def test_threads_read_whole_values(store: Any) -> None:
    """Whoever reads while others write gets one of the values, never a part of two."""

    def exchange(n: int) -> bytes | None:
        store.put("k", b"%d" % (n % 10) * 50_000, NOW, LATER)
        found: bytes | None = store.cached("k", NOW)
        return found

    assert all(
        value is not None and len(set(value)) == 1 and len(value) == 50_000 for value in in_threads(exchange)
    )


# -- as a whole


def test_data_is_shared_and_outlives(make: Any, kind: str) -> None:
    """What one store of a file or server keeps, another one finds; memory is each store's own."""
    first, second = make(), make()
    first.put("k", b"v", NOW, LATER)
    first.reserve("h", [Charge("a", "w", 5)], NOW, LATER)
    first.save_customer("c", {"a": 1})
    first.save_prompt("p", {"a": 1})
    first.log(row("r", 1.0))
    first.close()

    second.settle("h", [3], NOW)
    seen = (
        second.cached("k", NOW),
        second.taken("a", "w"),
        second.customer("c"),
        second.prompt("p"),
        second.entry("r"),
    )
    assert seen == (
        (None, 0, None, None, None) if kind == "memory" else (b"v", 3, {"a": 1}, {"a": 1}, row("r", 1.0))
    )


def test_whether_it_blocks(store: Any, kind: str) -> None:
    """Only memory may be asked from a running event loop."""
    assert store.blocks is (kind != "memory")


def test_closing_twice(store: Any, kind: str) -> None:
    """It is harmless, and a closed file or connection says that it is."""
    store.close()
    store.close()

    if kind != "memory":
        for method in (
            lambda: store.cached("k", NOW),
            lambda: store.put("k", b"", NOW, LATER),
            store.entries,
        ):
            with pytest.raises(StoreError, match="closed"):
                method()


# -- the secret


def test_secret_is_made_once(store: Any) -> None:
    """32 bytes, the same at each call."""
    assert len(store.secret()) == 32
    assert store.secret() == store.secret()


def test_secret_is_shared_as_the_data_is(make: Any, kind: str) -> None:
    """Two openings of one store have one secret; memory is shared with nobody."""
    assert (make().secret() == make().secret()) is (kind != "memory")
