"""Spending: what one call takes from its customer's budgets, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.exceptions import StoreError
from respan_openai.local.contract import ContractError
from respan_openai.local.customers import NANO, account_of
from respan_openai.local.settings import Settings
from respan_openai.local.spending import LEASE_SECONDS, Spending
from respan_openai.local.steps import Work
from respan_openai.stores.memory import MemoryStore


NOW = 1_795_000_000.0
MONTH = "2026-11"
ACCOUNT = account_of("production", "u")


class Broken(MemoryStore):
    """A store of which some methods are out of reach, after what they were asked for was done."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken = broken

    def _fail(self, name: str) -> None:
        if name in self.broken:
            raise StoreError("The store is out of reach.")

    def save_customer(self, identifier: str, fields: Any) -> Any:
        """As its parent."""
        self._fail("save_customer")
        return super().save_customer(identifier, fields)

    def customer(self, identifier: str) -> Any:
        """As its parent."""
        self._fail("customer")
        return super().customer(identifier)

    def reserve(self, *args: Any) -> Any:
        """As its parent; its answer is lost."""
        found = super().reserve(*args)
        self._fail("reserve")
        return found


def spending(store: Any, settings: Settings | None = None, **params: Any) -> Spending:
    """A call of the customer ``u``, whose ``customer_params`` are *params*."""
    said = {"customer_params": {"customer_identifier": "u", **params}}
    return Spending(store, settings or Settings(), "production", said, NOW)


def done(steps: Any) -> Any:
    """What *steps* return, their work done at once."""
    try:
        step = next(steps)
        while True:
            assert isinstance(step, Work)
            try:
                answer = step.do()
            except StoreError as exc:
                step = steps.throw(exc)
            else:
                step = steps.send(answer)
    except StopIteration as stop:
        return stop.value


def reserved(
    store: Any, hold: str, cost: int | None, settings: Settings | None = None, **params: Any
) -> Spending:
    """A call that has reserved *cost*."""
    call = spending(store, settings, **params)
    done(call.learn())
    done(call.reserve(hold, cost, 10.0))
    return call


def refusal(steps: Any) -> tuple[int, str]:
    """Status and text with which *steps* end."""
    with pytest.raises(ContractError) as caught:
        done(steps)
    return caught.value.reply.status, json.loads(caught.value.reply.chunks[0])["detail"]


# -- who


def test_call_without_a_customer() -> None:
    """Nothing is asked of the store, and nothing counted."""
    call = Spending(Broken("customer"), Settings(), "production", {}, NOW)
    done(call.learn())
    done(call.reserve("h", None, 10.0))
    call.settle(5, NOW)

    assert (call.identifier, call.has_budgets, call.charged(5)) == (None, False, 5)


def test_profile_is_brought_up_to_date() -> None:
    """What a request says is laid over what is known, and a later call that says nothing finds it."""
    store = MemoryStore()
    for params in ({"period_budget": 1.0, "name": "N"}, {"total_budget": 2.0}):
        done(spending(store, **params).learn())
    silent = Spending(store, Settings(), "production", {"customer_identifier": "u"}, NOW)
    done(silent.learn())

    assert silent.has_budgets
    assert silent.profile == {
        "customer_identifier": "u",
        "period_budget": 1.0,
        "name": "N",
        "total_budget": 2.0,
    }


def test_profile_that_makes_no_sense_is_not_kept() -> None:
    """A period that ends before it starts is refused before it is saved."""
    store = MemoryStore()
    call = spending(store, period_budget=1, period_start="2026-11-02", period_end="2026-11-01")
    with pytest.raises(ContractError):
        done(call.learn())

    assert store.customer(ACCOUNT) is None


def test_profile_that_makes_no_sense_with_what_is_known() -> None:
    """It is refused and not kept either: the customer's later calls hold to what was known before."""
    store = MemoryStore()
    done(spending(store, period_budget=5, period_start="2026-01-01", period_end="2026-06-30").learn())
    known = store.customer(ACCOUNT)
    with pytest.raises(ContractError):
        done(spending(store, period_start="2026-12-01").learn())
    later = Spending(store, Settings(), "production", {"customer_identifier": "u"}, NOW)
    done(later.learn())

    assert store.customer(ACCOUNT) == later.profile == known


def test_profile_that_says_nothing_new_is_not_written() -> None:
    """Most calls say what the one before them said, and a store's reads are cheaper than its writes."""
    store = Broken()
    done(spending(store, period_budget=1).learn())
    store.broken = ("save_customer",)
    same = spending(store, period_budget=1)
    done(same.learn())

    assert (same.has_budgets, same.profile) == (True, store.customer(ACCOUNT))


def test_budget_that_is_known_holds_though_a_change_is_lost() -> None:
    """With ``budget_failure="allow"`` a call goes on with what could be read and what it says itself."""
    store = Broken()
    done(spending(store, period_budget=1).learn())
    store.broken = ("save_customer",)
    call = spending(store, Settings(budget_failure="allow"), name="N")
    done(call.learn())

    assert (call.has_budgets, call.profile["name"], call.profile["period_budget"]) == (True, "N", 1)


# -- reserve, settle


@pytest.mark.parametrize(("settled", "taken", "requests"), [(3, 6, 1), (0, 0, 1), (None, 20, 1), (40, 80, 1)])
def test_settling(settled: int | None, taken: int, requests: int) -> None:
    """The estimate is replaced by the cost, markup included, be it more; an unknown cost leaves it. A request is one."""
    store = MemoryStore()
    call = reserved(store, "h", 10, period_budget=1, rate_limit=5, markup_percentage=100)
    assert store.taken(ACCOUNT, MONTH) == 20
    call.settle(settled, NOW)
    call.settle(99, NOW)  # only the first time counts

    assert store.taken(ACCOUNT, MONTH) == taken
    assert store.taken(ACCOUNT, f"minute {int(NOW // 60)}") == requests


def test_charged_is_with_markup() -> None:
    """What the customer is told differs from what the provider gets."""
    call = reserved(MemoryStore(), "h", 1, markup_percentage=50)

    assert (call.charged(10), call.charged(None)) == (15, None)


@pytest.mark.parametrize(
    "limits", [{"period_budget": 0.00000001}, {"total_budget": 0.00000001}, {"rate_limit": 0}]
)
def test_used_up(limits: dict[str, Any]) -> None:
    """What a budget cannot pay is refused with 429, and nothing is taken."""
    store = MemoryStore()
    call = spending(store, **limits)
    done(call.learn())

    assert refusal(call.reserve("h", 11, 10.0))[0] == 429
    assert store.taken(ACCOUNT, MONTH) == store.taken(ACCOUNT, "total") == 0


def test_limits_that_only_warn(caplog: pytest.LogCaptureFixture) -> None:
    """With ``limits="warn"`` the call passes, is counted, and leaves a line in the log."""
    store = MemoryStore()
    call = reserved(store, "h", 11, Settings(limits="warn"), period_budget=0)
    assert store.taken(ACCOUNT, MONTH) == 11
    call.settle(4, NOW)

    assert store.taken(ACCOUNT, MONTH) == 4
    assert "budget of 0 USD for 2026-11 is used up; the call is let through" in caplog.text


def test_no_price() -> None:
    """A budget in money cannot be kept without a price; a limit of requests can."""
    call = spending(MemoryStore(), period_budget=1)
    done(call.learn())
    status, text = refusal(call.reserve("h", None, 10.0))

    assert status == 429
    assert "prompt_unit_price" in text
    store = MemoryStore()
    reserved(store, "h", None, rate_limit=1)
    assert store.taken(ACCOUNT, f"minute {int(NOW // 60)}") == 1


def test_no_price_that_only_warns(caplog: pytest.LogCaptureFixture) -> None:
    """With ``limits="warn"`` that call passes, too."""
    reserved(MemoryStore(), "h", None, Settings(limits="warn"), period_budget=1)

    assert "cannot be kept without a price" in caplog.text


def test_lease() -> None:
    """A hold that is settled after its call's deadline and lease counts as what was reserved."""
    store = MemoryStore()
    late, in_time = (reserved(store, hold, 10, period_budget=1) for hold in ("late", "in time"))
    late.settle(0, NOW + 10 + LEASE_SECONDS)
    in_time.settle(0, NOW + 10 + LEASE_SECONDS - 1)

    assert store.taken(ACCOUNT, MONTH) == 10


# -- a store that fails


@pytest.mark.parametrize("broken", ["customer", "save_customer", "reserve"])
def test_store_out_of_reach_refuses(broken: str) -> None:
    """With ``budget_failure="refuse"``, the default, it is 503: no budget could be kept."""
    store = Broken(broken)
    params: dict[str, Any] = {"customer_identifier": "u"}
    call = Spending(store, Settings(), "production", params, NOW)
    if broken != "customer":
        call = spending(store, period_budget=1)
    if broken == "reserve":
        done(call.learn())
    steps = call.reserve("h", 10, 10.0) if broken == "reserve" else call.learn()

    assert refusal(steps) == (
        503,
        "The gateway's store is out of reach, so no budget can be kept. Try again later.",
    )


@pytest.mark.parametrize("broken", ["save_customer", "reserve"])
def test_store_out_of_reach_allows(broken: str, caplog: pytest.LogCaptureFixture) -> None:
    """With ``budget_failure="allow"`` the call goes on, and the log says that nobody kept its budget."""
    reserved(Broken(broken), "h", 10, Settings(budget_failure="allow"), period_budget=1)

    assert "cannot be asked about a customer's budgets. The store is out of reach." in caplog.text


@pytest.mark.parametrize("failure", ["refuse", "allow"])
def test_reservation_whose_answer_was_lost(failure: Any) -> None:
    """It may have been made all the same, so it is settled like any other."""
    store = Broken("reserve")
    call = spending(store, Settings(budget_failure=failure), period_budget=1)
    done(call.learn())
    try:
        done(call.reserve("h", 10, 10.0))
    except ContractError:
        assert failure == "refuse"
    assert store.taken(ACCOUNT, MONTH) == 10
    call.settle(3, NOW)

    assert store.taken(ACCOUNT, MONTH) == 3


# -- the ledger


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 100)), max_size=25),
    st.randoms(use_true_random=False),
)
def test_ledger_never_overspends(limit: int, calls: list[tuple[int, int]], random: Any) -> None:
    """Calls that reserve, settle and fail in any order take no more than the budget.

    Each costs at most what was reserved for it, as an estimate promises.
    """
    store = MemoryStore()
    under_way: list[tuple[Spending, int | None]] = []
    spent = 0
    for number, (estimate, share) in enumerate(calls):
        try:
            call = reserved(store, f"h{number}", estimate, total_budget=limit / NANO)
            under_way.append((call, random.choice([None, 0, estimate * share // 100])))
        except ContractError:
            pass
        while under_way and random.random() < 0.5:
            call, cost = under_way.pop(random.randrange(len(under_way)))
            call.settle(cost, NOW)
            spent += cost or 0
        assert spent <= store.taken(ACCOUNT, "total") <= limit
