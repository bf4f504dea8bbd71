"""Whose call it is, and what it may still cost: budgets by period and in all, and requests by the minute.

1. Money is counted in whole 1e-9 USD, markup included; the store takes it before a call and settles it afterwards.
2. Periods begin and end at midnight UTC; a week is that of ISO 8601 and begins on Monday.
3. A budget whose call has no known price cannot be kept, so such a call is refused rather than let through.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ..stores.protocol import Charge
from .contract import ContractError, refusal


if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = [
    "NANO",
    "Budget",
    "account_of",
    "budgets_of",
    "charges_for",
    "identifier_in",
    "over_budget",
    "profile_in",
]


#: Units of money in a US dollar.
NANO = 1_000_000_000

_MINUTE_SECONDS = 60

#: A markup is counted to 6 decimal places of a percent, in whole numbers.
_PER_PERCENT = 1_000_000


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
    inner = params.get("customer_params") or {}
    found = inner.get("customer_identifier", params.get("customer_identifier"))
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

    ``period_budget`` holds from ``period_start`` to ``period_end`` (both days included) if these are given, and not at
    all outside of them; else for each ``budget_duration``, which is ``monthly`` if it is not given.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    return [
        budget
        for find in (_in_period, _in_all, _by_minute)
        if (budget := find(profile, today, now)) is not None
    ]


def _in_period(profile: Mapping[str, Any], today: date, _now: float) -> Budget | None:
    amount = profile.get("period_budget")
    if amount is None:
        return None
    start, end = profile.get("period_start"), profile.get("period_end")
    if start is None and end is None:
        first, behind, window = _PERIODS[profile.get("budget_duration") or "monthly"](today)
    else:
        first = date.min if start is None else date.fromisoformat(start)
        behind = date.max if end is None else date.fromisoformat(end) + timedelta(days=1)
        window = f"{start or ''}..{end or ''}"
    if not first <= today < behind:
        return None
    ends = (
        None
        if behind == date.max
        else datetime(behind.year, behind.month, behind.day, tzinfo=UTC).timestamp()
    )
    return Budget(
        window, _nano(amount), ends, counts_money=True, what=f"budget of {amount:g} USD for {window}"
    )


def _in_all(profile: Mapping[str, Any], _today: date, _now: float) -> Budget | None:
    amount = profile.get("total_budget")
    if amount is None:
        return None
    return Budget("total", _nano(amount), None, counts_money=True, what=f"total budget of {amount:g} USD")


def _by_minute(profile: Mapping[str, Any], _today: date, now: float) -> Budget | None:
    limit = profile.get("rate_limit")
    if limit is None:
        return None
    minute = int(now // _MINUTE_SECONDS)
    ends = float((minute + 1) * _MINUTE_SECONDS)
    return Budget(
        f"minute {minute}", int(limit), ends, counts_money=False, what=f"limit of {limit} requests a minute"
    )


def _nano(usd: float) -> int:
    # A budget of 1e300 USD is no budget; what a store can count is 64 bits wide.
    return min(round(usd * NANO), 2**62)


# -- charges


def marked_up(cost: int, profile: Mapping[str, Any]) -> int:
    """*cost* (1e-9 USD) as this customer is charged for it: ``markup_percentage`` on top, rounded up."""
    share = round((100 + profile.get("markup_percentage", 0)) * _PER_PERCENT)
    return max(0, -(-cost * share // (100 * _PER_PERCENT)))


def charges_for(
    account: str, budgets: list[Budget], profile: Mapping[str, Any], cost: int | None
) -> list[Charge]:
    """What a call that costs *cost* (1e-9 USD; ``None``: unknown) takes from *budgets*.

    Raises:
        ContractError: 429 if there is a budget in money and no price to count with.
    """
    if cost is None and any(budget.counts_money for budget in budgets):
        raise refusal(
            429,
            "This customer has a budget, and the price of the model is not known, so that the budget could not be kept. "
            "Give the gateway prices=..., or the call prompt_unit_price and completion_unit_price.",
        )
    money = 0 if cost is None else marked_up(cost, profile)
    return [
        Charge(account, budget.window, money if budget.counts_money else 1, budget.limit)
        for budget in budgets
    ]


def over_budget(budget: Budget, now: float) -> ContractError:
    """429 for a call that would pass *budget*; ``retry_after`` says when there is a new one."""
    message = f"The customer's {budget.what} is used up, or would be by this call."
    return refusal(429, message, None if budget.ends is None else max(1, math.ceil(budget.ends - now)))
