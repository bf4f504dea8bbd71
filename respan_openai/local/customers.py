"""Whose call it is, and what it may still cost: budgets by period and in all, and requests by the minute.

1. Money is counted in whole 1e-9 USD, markup included; the store takes it before a call and settles it
   afterwards.
2. Periods begin and end at midnight UTC; a week is that of ISO 8601 and begins on Monday.
3. A budget whose call has no known price cannot be kept, so such a call is refused rather than let through.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ..stores.protocol import Charge
from .contract import ContractError, invalid, refusal


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = [
    "NANO",
    "Budget",
    "account_of",
    "budgets_of",
    "charges_for",
    "identifier_in",
    "marked_up",
    "over_budget",
    "profile_in",
    "without_price",
]


#: Units of money in a US dollar.
NANO = 1_000_000_000

_MINUTE_SECONDS = 60

#: A markup is counted to 6 decimal places of a percent, in whole numbers, and as this at most.
_PER_PERCENT = 1_000_000
_MOST_PERCENT = 1e9

#: What a store can count is 64 bits wide; a larger budget is no budget.
_MOST = 2**62


class Budget(NamedTuple):
    """One limit of a customer.

    Attributes:
        window: The part of time that it holds for, as the store names it.
        limit: In 1e-9 USD, or in requests.
        ends: Seconds since 1970 at which a new window begins; ``None`` for a budget in all.
        counts_money: False: requests are counted.
        what: For messages.
    """

    window: str
    limit: int
    ends: float | None
    counts_money: bool
    what: str


def identifier_in(params: Mapping[str, Any]) -> str | None:
    """The customer's identifier: the one in ``customer_params`` wins (contract.md, section 3)."""
    inner: Mapping[str, Any] = params.get("customer_params") or {}
    found: object = inner.get("customer_identifier", params.get("customer_identifier"))
    return None if found is None else str(found)


def profile_in(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says about its customer, to be laid over what is known."""
    loose = {"name": params.get("customer_name"), "email": params.get("customer_email")}
    return {name: value for name, value in loose.items() if value is not None} | (
        params.get("customer_params") or {}
    )


def account_of(environment: str, identifier: str) -> str:
    """The customer's account in the store; test and production have nothing in common."""
    return json.dumps([environment, identifier], ensure_ascii=False)


# -- windows


def _day(today: date) -> tuple[date, date, str]:
    return today, today + timedelta(days=1), today.isoformat()


def _week(today: date) -> tuple[date, date, str]:
    monday = today - timedelta(days=today.weekday())
    year, week, _ = today.isocalendar()
    return monday, monday + timedelta(days=7), f"{year}-W{week:02}"


def _month(today: date) -> tuple[date, date, str]:
    first = today.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1), first.isoformat()[:7]


def _year(today: date) -> tuple[date, date, str]:
    first = today.replace(month=1, day=1)
    return first, first.replace(year=first.year + 1), str(first.year)


_PERIODS: Mapping[str, Callable[[date], tuple[date, date, str]]] = {
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
    "yearly": _year,
}


def budgets_of(profile: Mapping[str, Any], now: float) -> list[Budget]:
    """The limits that hold for a customer at *now*.

    ``period_budget`` holds from ``period_start`` to ``period_end`` (both days included) if these are given,
    and not at all outside of them; else for each ``budget_duration``, which is ``monthly`` if it is not
    given.

    Raises:
        ContractError: 400 if the period ends before it starts: its budget would never hold, and nobody would
            know.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    found = (_in_period(profile, today), _in_all(profile), _by_minute(profile, now))
    return [budget for budget in found if budget is not None]


def _in_period(profile: Mapping[str, Any], today: date) -> Budget | None:
    amount = profile.get("period_budget")
    if amount is None:
        return None
    first, behind, window = _period(profile, today)
    if today < first or (behind is not None and behind <= today):
        return None
    limit = _nano(amount)
    what = f"budget of {limit / NANO:g} USD for {window}"
    return Budget(window, limit, None if behind is None else _midnight(behind), counts_money=True, what=what)


def _period(profile: Mapping[str, Any], today: date) -> tuple[date, date | None, str]:
    """The first day, the first one behind, and the name of the period that a budget is for."""
    start, end = profile.get("period_start"), profile.get("period_end")
    if start is None and end is None:
        return _PERIODS[profile.get("budget_duration") or "monthly"](today)
    first = date.min if start is None else date.fromisoformat(start)
    last = date.max if end is None else date.fromisoformat(end)
    if last < first:
        message = (
            "period_start lies behind period_end, so the budget would never hold. "
            "Swap them, or leave one out."
        )
        raise invalid(message, "customer_params.period_start")
    behind = None if last == date.max else last + timedelta(days=1)
    return first, behind, f"{start or ''}..{end or ''}"


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _in_all(profile: Mapping[str, Any]) -> Budget | None:
    amount = profile.get("total_budget")
    if amount is None:
        return None
    limit = _nano(amount)
    return Budget("total", limit, None, counts_money=True, what=f"total budget of {limit / NANO:g} USD")


def _by_minute(profile: Mapping[str, Any], now: float) -> Budget | None:
    limit = profile.get("rate_limit")
    if limit is None:
        return None
    minute = int(now // _MINUTE_SECONDS)
    ends = float((minute + 1) * _MINUTE_SECONDS)
    what = f"limit of {limit} requests a minute"
    return Budget(f"minute {minute}", min(int(limit), _MOST), ends, counts_money=False, what=what)


def _nano(usd: float) -> int:
    return _MOST if usd >= _MOST / NANO else round(usd * NANO)


# -- charges


def marked_up(cost: int, profile: Mapping[str, Any]) -> int:
    """*cost* (1e-9 USD) with this customer's ``markup_percentage`` on top, rounded up, never below 0."""
    said: float | None = profile.get("markup_percentage")
    if not said:
        return min(cost, _MOST)
    share = round((100 + max(min(said, _MOST_PERCENT), -100)) * _PER_PERCENT)
    return min(-(-cost * share // (100 * _PER_PERCENT)), _MOST)


def charges_for(account: str, budgets: list[Budget], profile: Mapping[str, Any], cost: int) -> list[Charge]:
    """What a call that costs *cost* (1e-9 USD) takes from *budgets*, one charge for each."""
    money = marked_up(cost, profile)
    return [
        # What was spent is kept for good; how many requests a minute had is not.
        Charge(account, budget.window, money, budget.limit)
        if budget.counts_money
        else Charge(account, budget.window, 1, budget.limit, budget.ends)
        for budget in budgets
    ]


def without_price() -> ContractError:
    """429 for a call whose price nobody knows, so that no budget in money could be kept."""
    return refusal(
        429,
        "This customer has a budget, and the price of the model is not known, so that the budget could not "
        "be kept. Give the gateway prices=..., or the call prompt_unit_price and completion_unit_price.",
    )


def over_budget(budget: Budget, now: float) -> ContractError:
    """429 for a call that would pass *budget*; ``retry_after`` says when there is a new one."""
    message = f"The customer's {budget.what} is used up, or would be by this call."
    return refusal(429, message, None if budget.ends is None else max(1, math.ceil(budget.ends - now)))
