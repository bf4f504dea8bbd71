"""Customers: whose call it is, which budgets hold when, and what a call takes from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.local.contract import ContractError
from respan_openai.local.customers import (
    NANO,
    Budget,
    account_of,
    budgets_of,
    charges_for,
    identifier_in,
    marked_up,
    over_budget,
    profile_in,
    without_price,
)


#: Most that a budget counts.
MOST = 2**62


def at(text: str) -> float:
    """Seconds since 1970 of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def periodic(duration: str | None, now: float, **more: Any) -> list[Budget]:
    """The budgets of a customer with one dollar for each *duration*."""
    return budgets_of({"period_budget": 1.0, "budget_duration": duration, **more}, now)


# -- whose call it is


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, None),
        ({"customer_identifier": "u"}, "u"),
        ({"customer_identifier": 7}, "7"),
        ({"customer_params": {"customer_identifier": "inner"}}, "inner"),
        ({"customer_identifier": "u", "customer_params": {"customer_identifier": "inner"}}, "inner"),
    ],
)
def test_identifier(params: Any, expected: str | None) -> None:
    """The one inside ``customer_params`` wins over the top-level one (reference 003:3, "customer_params")."""
    assert identifier_in(params) == expected


def test_profile() -> None:
    """What stands loose in a request is part of the profile; ``customer_params`` wins."""
    params = {
        "customer_name": "loose",
        "customer_email": "a@b.c",
        "customer_params": {"customer_identifier": "u", "name": "inner"},
    }

    assert profile_in(params) == {"customer_identifier": "u", "name": "inner", "email": "a@b.c"}
    assert profile_in({"customer_identifier": "u"}) == {}


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_accounts_of_two_never_meet(one: tuple[str, str], other: tuple[str, str]) -> None:
    """Environment and identifier together make an account, whatever characters they hold."""
    assert (account_of(*one) == account_of(*other)) == (one == other)


# -- windows


@pytest.mark.parametrize(
    ("duration", "now", "window", "ends"),
    [
        ("daily", "2026-11-21T00:00:00", "2026-11-21", "2026-11-22"),
        ("daily", "2026-11-21T23:59:59.999", "2026-11-21", "2026-11-22"),
        ("daily", "2026-12-31T23:59:59", "2026-12-31", "2027-01-01"),
        ("daily", "2028-02-28T12:00:00", "2028-02-28", "2028-02-29"),
        ("daily", "2028-02-29T12:00:00", "2028-02-29", "2028-03-01"),
        ("weekly", "2026-11-22T23:59:59", "2026-W47", "2026-11-23"),
        ("weekly", "2026-11-23T00:00:00", "2026-W48", "2026-11-30"),
        # ISO 8601: the last days of December may be in week 1, and the first of January in week 52 or 53.
        ("weekly", "2024-12-30T00:00:00", "2025-W01", "2025-01-06"),
        ("weekly", "2027-01-01T12:00:00", "2026-W53", "2027-01-04"),
        ("weekly", "2026-12-31T12:00:00", "2026-W53", "2027-01-04"),
        ("monthly", "2026-01-31T23:59:59", "2026-01", "2026-02-01"),
        ("monthly", "2028-02-29T23:59:59", "2028-02", "2028-03-01"),
        ("monthly", "2026-12-31T23:59:59", "2026-12", "2027-01-01"),
        (None, "2026-12-01T00:00:00", "2026-12", "2027-01-01"),
        ("yearly", "2028-02-29T12:00:00", "2028", "2029-01-01"),
        ("yearly", "2026-12-31T23:59:59.999", "2026", "2027-01-01"),
    ],
)
def test_windows(duration: str | None, now: str, window: str, ends: str) -> None:
    """A period begins and ends at midnight UTC; weeks are those of ISO 8601; months are the default."""
    (budget,) = periodic(duration, at(now))

    assert (budget.window, budget.ends, budget.limit) == (window, at(ends), NANO)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),  # noqa: DTZ001 -- taken as UTC
    st.sampled_from(["daily", "weekly", "monthly", "yearly"]),
)
def test_windows_follow_one_another(moment: datetime, duration: str) -> None:
    """Now lies before the window's end; at the end there is another window, and just before it is still this one."""
    now = moment.replace(tzinfo=UTC).timestamp()
    (budget,) = periodic(duration, now)
    assert budget.ends is not None
    assert now < budget.ends <= now + 366 * 86400

    (last,), (following,) = periodic(duration, budget.ends - 0.001), periodic(duration, budget.ends)
    assert last.window == budget.window
    assert following.window != budget.window


@pytest.mark.parametrize(
    ("start", "end", "now", "ends"),
    [
        ("2026-11-10", "2026-11-20", "2026-11-10T00:00:00", "2026-11-21"),
        ("2026-11-10", "2026-11-20", "2026-11-20T23:59:59", "2026-11-21"),
        (None, "2028-02-29", "2028-02-29T23:59:59", "2028-03-01"),
        ("2026-11-10", None, "2099-01-01T00:00:00", None),
        ("2026-11-10", "9999-12-31", "2099-01-01T00:00:00", None),
    ],
)
def test_given_period(start: str | None, end: str | None, now: str, ends: str | None) -> None:
    """``period_start`` and ``period_end`` are the first and the last day, both part of it; one alone is open."""
    (budget,) = periodic("daily", at(now), period_start=start, period_end=end)

    assert budget.ends == (None if ends is None else at(ends))
    assert budget.window == f"{start or ''}..{end or ''}"


@pytest.mark.parametrize("now", ["2026-11-09T23:59:59", "2026-11-21T00:00:00"])
def test_outside_of_the_given_period(now: str) -> None:
    """Before its first day and after its last there is no such budget."""
    assert periodic("daily", at(now), period_start="2026-11-10", period_end="2026-11-20") == []


def test_period_that_ends_before_it_starts() -> None:
    """Such a budget would never hold, so it is refused."""
    with pytest.raises(ContractError) as caught:
        periodic(None, 0.0, period_start="2026-11-02", period_end="2026-11-01")

    assert caught.value.reply.status == 400
    assert b"period_start lies behind" in caught.value.reply.chunks[0]


def test_all_kinds_of_budgets() -> None:
    """A customer may have all of them at once, and none by default; 0 is a limit too."""
    everything = {"period_budget": 0, "total_budget": 2.5, "rate_limit": 3}
    kinds = [(budget.window, budget.limit, budget.counts_money) for budget in budgets_of(everything, 61.0)]

    assert kinds == [("1970-01", 0, True), ("total", 2_500_000_000, True), ("minute 1", 3, False)]
    assert budgets_of({}, 61.0) == []


@pytest.mark.parametrize(
    ("now", "window", "ends"), [(0.0, "minute 0", 60.0), (59.9, "minute 0", 60.0), (60.0, "minute 1", 120.0)]
)
def test_minutes(now: float, window: str, ends: float) -> None:
    """Requests are counted by the minute."""
    (budget,) = budgets_of({"rate_limit": 3}, now)

    assert (budget.window, budget.ends) == (window, ends)


@pytest.mark.parametrize("usd", [5e9, 1e300, 10**300])
def test_budget_that_no_store_can_count(usd: float) -> None:
    """It counts as the largest that a store has room for."""
    assert [budget.limit for budget in budgets_of({"total_budget": usd, "period_budget": usd}, 0.0)] == [
        MOST
    ] * 2


# -- charges


@pytest.mark.parametrize(
    ("cost", "percent", "expected"),
    [
        (1000, None, 1000),
        (1000, 0, 1000),
        (1000, 20, 1200),
        (1000, 12.3, 1123),
        (1001, 10, 1102),
        (1, 0.000001, 2),
        (0, 50, 0),
        (1000, -100, 0),
        (1000, -500, 0),
        (1000, 1e300, 10**10 + 1000),
        (MOST, 10, MOST),
    ],
)
def test_markup(cost: int, percent: float | None, expected: int) -> None:
    """A percentage on top, rounded up to a whole 1e-9 USD; never below 0, nor above what can be counted."""
    assert marked_up(cost, {"markup_percentage": percent}) == expected


@given(st.integers(0, MOST), st.floats(allow_nan=False, allow_infinity=False))
def test_charges_can_be_taken(cost: int, percent: float) -> None:
    """Whatever the markup, a charge is a whole number from 0 to what a store can count."""
    budgets = budgets_of({"period_budget": 1, "total_budget": 1, "rate_limit": 1}, 0.0)
    charges = charges_for("a", budgets, {"markup_percentage": percent}, cost)

    assert all(type(charge.amount) is int and 0 <= charge.amount <= MOST for charge in charges)
    assert charges[2].amount == 1


def test_money_is_counted_for_good() -> None:
    """What was spent in a period stays known when it is over; how many requests a minute had is forgotten."""
    budgets = budgets_of({"period_budget": 1, "total_budget": 1, "rate_limit": 1}, 30.0)

    assert [charge.ends for charge in charges_for("a", budgets, {}, 1)] == [None, None, 60.0]


@given(st.integers(0, 10**12), st.floats(0, 1000))
def test_markup_is_never_less_than_asked(cost: int, percent: float) -> None:
    """Rounding is upward, and by less than one unit beyond the 6 decimal places of the percentage."""
    exact = cost * (100 + percent) / 100

    assert (
        exact - cost * 1e-8 - 1 <= marked_up(cost, {"markup_percentage": percent}) <= exact + cost * 1e-8 + 1
    )


# -- refusals


@pytest.mark.parametrize(("now", "retry_after"), [(0.0, 60), (30.5, 30), (59.999, 1), (60.0, 1)])
def test_retry_after(now: float, retry_after: int) -> None:
    """A refusal says when there is a new budget: whole seconds, at least one."""
    (budget,) = budgets_of({"rate_limit": 3}, 0.0)
    reply = over_budget(budget, now).reply

    assert reply.status == 429
    assert b'"retry_after":%d}' % retry_after in reply.chunks[0]
    assert ("Retry-After", str(retry_after)) in reply.headers


def test_refusals_that_no_wait_helps() -> None:
    """A total budget has no end, and neither has the lack of a price."""
    (budget,) = budgets_of({"total_budget": 1}, 0.0)

    for refusal in (over_budget(budget, 0.0), without_price()):
        assert refusal.reply.status == 429
        assert b"retry_after" not in refusal.reply.chunks[0]
        assert refusal.reply.headers == ()
