"""Breaker, bucket, pauses, hedging and the registry, by hand: time and chance are arguments."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections import Counter, OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, RLock, Thread
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from respan_openai._core import health as module
from respan_openai._core.backoff import backoff
from respan_openai._core.health import (
    CAPACITY,
    EARNING_CALLS,
    ENTRIES,
    FIRST_HEDGES,
    LATENCIES,
    LONGEST_PAUSE,
    SECONDS,
    Entry,
    Health,
    all_health,
    forget,
    health_of,
)
from respan_openai._core.snapshot import TargetHealth
from respan_openai.policy import Breaker, Hedge


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    InThreads = Callable[[Callable[[], object]], list[object]]


BREAKER = Breaker()

#: Only the share of faults opens it.
BY_RATE = Breaker(failures=1_000_000)

#: Of jitter: neither longer nor shorter.
EVEN = 0.5

DRAWS = st.floats(0, 1)


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    yield
    forget()


def faults(health: Health, times: int, now: float = 0.0, breaker: Breaker = BREAKER) -> None:
    for _ in range(times):
        health.faulted(now, EVEN, breaker)


def opened(now: float = 0.0, breaker: Breaker = BREAKER) -> Health:
    health = Health()
    faults(health, breaker.failures, now, breaker)
    assert health.state(now) == "open"
    return health


# --- the breaker -------------------------------------------------------------


def test_a_closed_breaker_admits_everybody() -> None:
    """Nothing is known yet, or nothing is wrong."""
    health = Health()

    assert [health.enter(now) for now in (0.0, 0.0, 1e9)] == [Entry.CLOSED] * 3
    assert health.state(0.0) == "closed"


def test_it_opens_at_faults_in_a_row() -> None:
    """At the fifth, not before."""
    health = Health()
    faults(health, 4)
    assert health.enter(0.0) is Entry.CLOSED

    faults(health, 1)

    assert health.enter(0.0) is Entry.OPEN
    assert health.state(0.0) == "open"


def test_a_success_ends_the_row() -> None:
    """Four faults, one success and four faults leave it closed."""
    health = Health()
    faults(health, 4)
    health.succeeded(0.0, clean=False)
    faults(health, 4)

    assert health.enter(0.0) is Entry.CLOSED


def test_the_time_of_an_open_breaker() -> None:
    """Nobody until it is over; then one probe, and nobody beside it."""
    health = opened(now=100.0)

    assert health.enter(104.999) is Entry.OPEN
    assert (health.state(104.999), health.state(105.0)) == ("open", "half-open")
    assert [health.enter(105.0) for _ in range(3)] == [Entry.PROBE, Entry.OPEN, Entry.OPEN]
    assert health.enter(1e9) is Entry.OPEN
    assert health.state(1e9) == "half-open"


def test_a_probe_that_succeeds_closes_it() -> None:
    """Everybody is admitted, and old faults are forgotten."""
    health = opened()
    assert health.enter(5.0) is Entry.PROBE

    health.succeeded(5.5, clean=True)

    assert health.state(5.5) == "closed"
    faults(health, 4, 5.5)
    assert health.enter(5.5) is Entry.CLOSED


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    """5, 10, 20, then 30 seconds however often."""
    health, now = opened(), 0.0

    for seconds in (5.0, 10.0, 20.0, 30.0, 30.0, 30.0):
        assert health.enter(now + seconds - 0.001) is Entry.OPEN
        now += seconds
        assert health.enter(now) is Entry.PROBE
        health.faulted(now, EVEN, BREAKER)
        assert health.state(now) == "open"


def test_a_closed_breaker_begins_anew() -> None:
    """After a success the next opening is as short as the first."""
    health = opened()
    health.enter(5.0)
    health.faulted(5.0, EVEN, BREAKER)
    assert health.enter(15.0) is Entry.PROBE
    health.succeeded(15.0, clean=True)

    faults(health, 5, 15.0)

    assert health.enter(19.999) is Entry.OPEN
    assert health.enter(20.0) is Entry.PROBE


def test_a_probe_without_a_verdict() -> None:
    """The slot is free, the breaker still half-open, and the next call is the probe."""
    health = opened()
    assert health.enter(5.0) is Entry.PROBE

    health.released(5.0)

    assert health.state(5.0) == "half-open"
    assert [health.enter(5.0), health.enter(5.0)] == [Entry.PROBE, Entry.OPEN]


def test_calls_from_before_do_not_speak_for_the_probe() -> None:
    """While a probe is under way, an older call's success closes nothing and its fault opens nothing."""
    health = opened()
    assert health.enter(5.0) is Entry.PROBE

    health.succeeded(5.1, clean=True, probe=False)
    assert health.state(5.1) == "half-open"
    health.faulted(5.2, EVEN, BREAKER, probe=False)
    assert (health.state(5.2), health.enter(5.2)) == ("half-open", Entry.OPEN)

    health.succeeded(5.3, clean=True)
    assert health.state(5.3) == "closed"


def test_calls_from_before_do_not_change_an_open_breaker() -> None:
    """Neither their successes nor their faults make its time shorter or longer."""
    health = opened()
    health.succeeded(1.0, clean=True)
    faults(health, 20, 1.0)

    assert (health.enter(4.999), health.enter(5.0)) == (Entry.OPEN, Entry.PROBE)


def test_the_cap_holds_for_the_first_opening() -> None:
    """Whatever ``open_for`` says."""
    health = opened(breaker=Breaker(open_for=60, open_cap=2))

    assert (health.enter(1.999), health.enter(2.0)) == (Entry.OPEN, Entry.PROBE)


def test_clients_of_one_target_may_differ() -> None:
    """The policy of whoever reports the fault decides."""
    health = Health()
    faults(health, 1)
    health.faulted(0.0, EVEN, Breaker(failures=2))

    assert health.state(0.0) == "open"


@given(draw=DRAWS)
def test_openings_are_spread(draw) -> None:
    """By a fifth up and down, in proportion to the draw; the doubled time too, and around the cap."""
    health = Health()
    for _ in range(5):
        health.faulted(0.0, draw, BREAKER)
    ends = [health.snapshot(0.0).probe_in]
    for now in (100.0, 200.0, 300.0):
        assert health.enter(now) is Entry.PROBE
        health.faulted(now, draw, BREAKER)
        ends.append(health.snapshot(now).probe_in)

    assert ends == pytest.approx([seconds * (0.8 + 0.4 * draw) for seconds in (5, 10, 20, 30)])


#: Of 1024, so that sums and differences are exact.
THOUSANDTHS = st.integers(0, 2**30).map(lambda number: number / 1024)

# --- the share of faults -----------------------------------------------------


def outcomes(health: Health, pattern: str, now: float, breaker: Breaker = BY_RATE) -> None:
    """Tell *health* of one outcome per letter, all at *now*: ``+`` or ``-``."""
    for letter in pattern:
        if letter == "+":
            health.succeeded(now, clean=True)
        else:
            health.faulted(now, EVEN, breaker)


@pytest.mark.parametrize(
    ("before", "after", "state"),
    [
        ("", "+-+-+-+-+-", "open"),  # 5 of 10
        ("", "+-+-+-+--", "closed"),  # 5 of 9: too few to say
        ("", "+++++++----", "closed"),  # 4 of 11
        ("", "+++++----", "closed"),
        ("", "+++++-----", "open"),
        ("+++++", "-----", "open"),  # both within the window
        ("-----", "++++-", "open"),  # only a fault asks
        ("-----", "+++++", "closed"),
        ("++++++++++", "---------", "closed"),  # 9 of 19
        ("++++++++++", "----------", "open"),  # 10 of 20
    ],
)
def test_it_opens_at_a_share_of_faults(before, after, state) -> None:
    """Half of at least ten within thirty seconds."""
    health = Health()
    outcomes(health, before, 100.0)
    outcomes(health, after, 130.0)

    assert health.state(130.0) == state


@pytest.mark.parametrize(
    ("age", "state"),
    [(0.0, "closed"), (29.9, "closed"), (30.0, "closed"), (31.0, "open"), (1e6, "open")],
)
def test_what_is_older_than_the_window_does_not_count(age, state) -> None:
    """Twenty successes outweigh ten faults as long as they count: through the window, and no second more."""
    health = Health()
    outcomes(health, "+" * 20, 100.0)
    outcomes(health, "-" * 10, 100.0 + age)

    assert health.state(100.0 + age) == state


@pytest.mark.parametrize(("age", "state"), [(0.0, "open"), (30.0, "open"), (31.0, "closed"), (1e6, "closed")])
def test_old_faults_do_not_count_either(age, state) -> None:
    """Nine faults, and later a success and a fault: ten of eleven only while all are in the window."""
    health = Health()
    outcomes(health, "-" * 9, 100.0)
    outcomes(health, "+-", 100.0 + age)

    assert health.state(100.0 + age) == state


@given(began=THOUSANDTHS, age=THOUSANDTHS.map(lambda seconds: seconds % 30))
def test_the_whole_window_counts(began, age) -> None:
    """Wherever in its second an outcome lies."""
    health = Health()
    outcomes(health, "+" * 11, began)
    outcomes(health, "-" * 10, began + age)

    assert health.state(began + age) == "closed"


def test_the_window_is_forgotten_with_the_faults() -> None:
    """After a probe's success one fault does not open it again; counting begins anew."""
    health = Health()
    outcomes(health, "+----", 99.0)
    outcomes(health, "-----", 100.0)
    assert health.enter(105.0) is Entry.PROBE
    health.succeeded(105.0, clean=True)

    outcomes(health, "+++-", 105.0)
    assert health.state(105.0) == "closed"

    outcomes(health, "-----", 105.0)  # with the probe 6 of 10
    assert health.state(105.0) == "open"


def test_a_long_life_needs_no_more_memory() -> None:
    """Outcomes are kept by the second, of the longest window only."""
    health = Health()
    for second in range(3 * SECONDS):
        outcomes(health, "++-", float(second))

    assert len(health._past) == SECONDS
    assert len(health._latencies) == 0


def test_time_that_runs_backwards() -> None:
    """Threads may report in another order than they looked at the clock: nothing is lost or counted twice."""
    health = Health()
    outcomes(health, "+++++", 100.0)
    outcomes(health, "----", 99.5)
    assert health.state(100.0) == "closed"
    outcomes(health, "-", 98.0)

    assert health.state(100.0) == "open"


# --- pauses and refused credentials ------------------------------------------


@pytest.mark.parametrize(
    ("pauses", "ends"),
    [
        ([(0.0, 5.0)], 5.0),
        ([(0.0, 5.0), (1.0, 2.0)], 5.0),
        ([(0.0, 2.0), (1.0, 5.0)], 6.0),
        ([(0.0, 1e9)], LONGEST_PAUSE),
        ([(0.0, math.inf)], LONGEST_PAUSE),
    ],
)
def test_a_pause_ends_when_the_longest_does(pauses, ends) -> None:
    """The latest end holds, and none is longer than a minute."""
    health = Health()
    for now, seconds in pauses:
        health.pause(now, seconds)

    assert (health.paused(ends - 0.001), health.paused(ends)) == (True, False)


@pytest.mark.parametrize("seconds", [0.0, -5.0, -math.inf, math.nan])
def test_a_pause_of_nothing(seconds) -> None:
    """Neither pauses nor ends a pause."""
    health = Health()
    health.pause(0.0, seconds)
    assert not health.paused(0.0)

    health.pause(0.0, 5.0)
    health.pause(0.0, seconds)
    assert health.paused(4.9)


def test_a_pause_is_not_the_breakers() -> None:
    """Whoever asks to be left alone is not at fault."""
    health = Health()
    health.pause(0.0, 5.0)

    assert (health.state(0.0), health.enter(0.0)) == ("closed", Entry.CLOSED)


def test_a_refused_credential() -> None:
    """Bad for a minute, or as long as is said; a shorter time does not end a longer one."""
    health = Health()
    assert not health.is_bad(0.0)

    health.mark_bad(0.0)
    health.mark_bad(0.0, 1.0)

    assert (health.is_bad(59.9), health.is_bad(60.0)) == (True, False)


# --- the retry bucket --------------------------------------------------------


def tokens(health: Health, now: float = 0.0) -> float:
    return health.snapshot(now).retry_tokens


def test_a_full_bucket_pays_for_ten_faults() -> None:
    """A hundred tokens, ten each; the eleventh is refused and takes nothing."""
    health = Health()

    assert [health.spend(0.0, 10) for _ in range(11)] == [True] * 10 + [False]
    assert tokens(health) == 0.0


def test_what_cannot_be_paid_is_not_begun() -> None:
    """Three tokens do not pay for five, and stay."""
    health = Health()
    health.spend(0.0, 97)

    assert not health.spend(0.0, 5)
    assert tokens(health) == 3.0
    assert health.spend(0.0, 3)


def test_whether_a_payment_would_be_granted() -> None:
    """Asking takes nothing, and knows of the tokens that time has brought back."""
    health = Health()
    health.spend(0.0, 95.0)

    assert (health.affords(0.0, 5.0), health.affords(0.0, 10.0), health.affords(50.0, 10.0)) == (
        True,
        False,
        True,
    )
    assert health.snapshot(0.0).retry_tokens == 5.0


def test_what_costs_nothing_is_always_granted() -> None:
    """A stale connection is replaced even in an outage."""
    health = Health()
    health.spend(0.0, CAPACITY)

    assert health.spend(0.0, 0)


def test_time_fills_the_bucket() -> None:
    """A tenth of a token each second, up to a hundred."""
    health = Health()
    health.spend(1000.0, CAPACITY)

    assert [tokens(health, now) for now in (1000.0, 1001.0, 1100.0, 2000.0, 9000.0)] == pytest.approx(
        [0, 0.1, 10, 100, 100]
    )
    assert not health.spend(1099.0, 10)
    assert health.spend(1100.0, 10)
    assert tokens(health, 1100.0) == 0.0


def test_time_is_not_counted_twice() -> None:
    """Nor is it lost when a payment is refused, or taken back by an older clock reading."""
    health = Health()
    health.spend(0.0, CAPACITY)
    for now in range(100):
        assert not health.spend(float(now), 10)
    assert health.spend(100.0, 5)
    assert health.spend(50.0, 5)

    assert tokens(health, 100.0) == 0.0
    assert tokens(health, 110.0) == pytest.approx(1.0)


def test_clean_successes_fill_the_bucket() -> None:
    """One token each, up to a hundred; a success of a later attempt adds nothing by itself."""
    health = Health()
    health.spend(0.0, 10)

    health.succeeded(0.0, clean=False)
    assert tokens(health) == 90.0
    health.succeeded(0.0, clean=True)
    assert tokens(health) == 91.0
    for _ in range(20):
        health.succeeded(0.0, clean=True)
    assert tokens(health) == CAPACITY


def test_a_repeat_that_succeeds_is_refunded() -> None:
    """Exactly what it cost, and never beyond a full bucket."""
    health = Health()
    health.spend(0.0, 10)
    health.refund(10)
    assert tokens(health) == CAPACITY

    health.refund(10)
    assert tokens(health) == CAPACITY


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from([0, 5, 10])), max_size=200))
def test_repeats_in_an_outage_are_bounded(calls) -> None:
    """Without a success a target sees what a full bucket pays for, and what time has brought."""
    health, now, spent = Health(), 0.0, 0
    for passed, cost in calls:
        now += passed
        spent += cost * health.spend(now, cost)

    assert spent <= CAPACITY + 0.1 * now + 1e-6


@pytest.mark.parametrize("most", [0, 1, 16])
def test_waiters_are_limited(most) -> None:
    """So many may wait; when one leaves, another may come."""
    health = Health()

    assert [health.wait_in(most) for _ in range(most + 1)] == [True] * most + [False]
    if most:
        health.wait_out()
        assert [health.wait_in(most), health.wait_in(most)] == [True, False]


def test_leaving_too_often_makes_no_room() -> None:
    """The number of waiters is never negative."""
    health = Health()
    health.wait_out()

    assert [health.wait_in(1), health.wait_in(1)] == [True, False]


# --- connections that are probably still open --------------------------------


def test_whether_a_target_was_heard_of_lately() -> None:
    """A good answer or a bad one, but neither before the first nor after a fault that came in the place of one."""
    health = Health()
    assert not health.answered_within(5.0, 0.0)

    health.succeeded(100.0, clean=True)
    assert (health.answered_within(5.0, 104.9), health.answered_within(5.0, 105.0)) == (True, False)

    health.faulted(110.0, EVEN, BREAKER)
    assert health.answered_within(5.0, 114.0)
    health.faulted(112.0, EVEN, BREAKER, answered=False)
    assert not health.answered_within(5.0, 114.0)


# --- waiting before a repeat -------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "retry", "seconds"),
    [
        (1.0, 1, 0.2),
        (1.0, 2, 0.4),
        (1.0, 5, 3.2),
        (1.0, 6, 6.4),
        (1.0, 7, 8.0),
        (0.5, 7, 4.0),
        (0.5, 2, 0.2),
        (0.0, 7, 0.0),
        (1.0, 10**9, 8.0),
        (0.25, 10**30, 2.0),
    ],
)
def test_backoff(draw, retry, seconds) -> None:
    """The drawn share of what doubles with each repeat up to the cap, for any number of repeats."""
    assert backoff(draw, retry, base=0.2, cap=8.0) == pytest.approx(seconds)


def test_backoff_of_nothing() -> None:
    """Without a base there is no wait, and with a smaller cap no more than the cap."""
    assert backoff(1.0, 10**9, base=0.0, cap=8.0) == 0.0
    assert backoff(1.0, 1, base=0.2, cap=0.05) == 0.05


@given(draw=DRAWS, retry=st.integers(1, 10**12), base=st.floats(0, 60), cap=st.floats(0, 60))
def test_backoff_stays_in_its_bounds(draw, retry, base, cap) -> None:
    """Never negative, never beyond the cap, never shorter for a later repeat."""
    seconds = backoff(draw, retry, base=base, cap=cap)

    assert 0 <= seconds <= cap
    assert seconds <= backoff(draw, retry + 1, base=base, cap=cap)


def chi_square(values: list[float], low: float, high: float) -> float:
    """How unevenly *values* lie in ten equal parts of the span; all of them must lie in it."""
    assert all(low <= value <= high for value in values)
    parts = Counter(min(9, int((value - low) / (high - low) * 10)) for value in values)
    even = len(values) / 10
    return sum((parts[part] - even) ** 2 / even for part in range(10))


#: Chi-square with nine degrees of freedom exceeds this once in a thousand samples.
UNEVEN = 27.9


def test_backoff_is_spread_evenly() -> None:
    """Over the whole span from nothing to the longest wait, given even draws."""
    chance = random.Random(20)
    waits = [backoff(chance.random(), 3, base=0.2, cap=8.0) for _ in range(5000)]

    assert chi_square(waits, 0.0, 0.8) < UNEVEN


def test_openings_are_spread_evenly() -> None:
    """Over the fifth below and above, given even draws."""
    chance = random.Random(21)
    lengths = []
    for _ in range(2000):
        health = Health()
        health.faulted(0.0, chance.random(), Breaker(failures=1))
        lengths.append(health.snapshot(0.0).probe_in)

    assert chi_square(lengths, 4.0, 6.0) < UNEVEN


# --- hedging -----------------------------------------------------------------


def with_latencies(*seconds: float) -> Health:
    health = Health()
    for value in seconds:
        health.succeeded(0.0, clean=True, seconds=value)
    return health


@pytest.mark.parametrize(
    ("quantile", "after"), [(0.97, 97.0), (0.5, 50.0), (0.99, 99.0), (0.001, 1.0), (0.995, 100.0)]
)
def test_the_wait_before_a_hedge(quantile, after) -> None:
    """So large a share of the calls was no slower (nearest rank)."""
    latencies = [float(second) for second in range(1, 101)]
    random.Random(3).shuffle(latencies)

    assert with_latencies(*latencies).hedge_after(Hedge(quantile=quantile)) == after


def test_the_wait_has_a_floor() -> None:
    """Quick answers are not hedged sooner than that."""
    health = with_latencies(*[0.1] * 100)

    assert health.hedge_after(Hedge()) == 1.0
    assert health.hedge_after(Hedge(floor=0)) == 0.1


def test_no_hedge_without_samples() -> None:
    """Fifty latencies must be known; successes that bring none do not count."""
    health = with_latencies(*[2.0] * 49)
    health.succeeded(0.0, clean=True)
    assert health.hedge_after(Hedge()) is None

    health.succeeded(0.0, clean=True, seconds=2.0)
    assert health.hedge_after(Hedge()) == 2.0


def test_only_the_newest_latencies_count() -> None:
    """The last 256: a slow hour is forgotten."""
    health = with_latencies(*[60.0] * 1000, *[2.0] * (LATENCIES - 1))
    assert health.hedge_after(Hedge(quantile=0.999)) == 60.0

    health.succeeded(0.0, clean=True, seconds=2.0)
    assert health.hedge_after(Hedge(quantile=0.999)) == 2.0


def hedges(health: Health, hedge: Hedge) -> int:
    """How many are granted in a row."""
    return next(number for number in range(10_000) if not health.hedge(hedge))


@pytest.mark.parametrize(("calls", "granted"), [(0, 5), (1, 6), (20, 6), (21, 7), (100, 10), (1000, 55)])
def test_the_hedge_budget(calls, granted) -> None:
    """While they are fewer than five and a twentieth of the calls."""
    health = with_latencies(*[1.0] * calls)

    assert hedges(health, Hedge()) == granted
    assert not health.hedge(Hedge())


def test_calls_that_fail_earn_no_hedges() -> None:
    """A target that is down is not asked twice."""
    health = Health()
    faults(health, 1000, breaker=BY_RATE)

    assert hedges(health, Hedge()) == FIRST_HEDGES


def test_hedges_that_were_not_used_lapse() -> None:
    """After a quiet day of 100,000 calls the bad hour gets what a thousand earned, and then its own share."""
    health = Health()
    for second in range(100_000):
        health.succeeded(float(second), clean=True)

    assert hedges(health, Hedge()) == FIRST_HEDGES + 0.05 * EARNING_CALLS

    for _ in range(EARNING_CALLS):
        health.succeeded(1e6, clean=True)
    assert hedges(health, Hedge()) == FIRST_HEDGES + 0.05 * EARNING_CALLS


def test_steady_hedging_goes_on() -> None:
    """One call in twenty-five is hedged for as long as the process lives."""
    health = Health()
    for call in range(20_000):
        health.succeeded(float(call), clean=True)
        assert call % 25 or health.hedge(Hedge())


@given(st.lists(st.sampled_from("+h"), max_size=300), st.floats(0.01, 1))
def test_the_hedge_budget_holds_at_every_moment(events, budget) -> None:
    """In any order of calls and hedges, and not one fewer is granted."""
    health, calls, taken = Health(), 0, 0
    for event in events:
        if event == "+":
            health.succeeded(0.0, clean=True)
            calls += 1
        else:
            allowed = taken < FIRST_HEDGES + budget * calls
            assert health.hedge(Hedge(budget=budget)) is allowed
            taken += allowed


def test_a_closed_breaker_keeps_what_was_earned() -> None:
    """The budget counts calls, whatever the breaker has forgotten."""
    health = with_latencies(*[1.0] * 100)
    faults(health, 5)
    health.enter(5.0)
    health.succeeded(5.0, clean=True)

    assert hedges(health, Hedge()) == math.ceil(FIRST_HEDGES + 0.05 * 101)


# --- threads -----------------------------------------------------------------


class CountingLock:
    """A lock that knows how often it was taken, and may let something happen just before the first time."""

    def __init__(self, before: Callable[[], object] = bool) -> None:
        self.lock = RLock()
        self.before = before
        self.times = 0

    def __enter__(self) -> None:
        self.times += 1
        if self.times == 1:
            self.before()
        self.lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.lock.release()


CHANGES: dict[str, Callable[[Health], object]] = {
    "enter": lambda health: health.enter(5.0),
    "succeeded": lambda health: health.succeeded(5.0, clean=True),
    "faulted": lambda health: health.faulted(5.0, EVEN, BREAKER),
    "pause": lambda health: health.pause(5.0, 1.0),
    "mark_bad": lambda health: health.mark_bad(5.0),
    "spend": lambda health: health.spend(5.0, 10),
    "affords": lambda health: health.affords(5.0, 10),
    "refund": lambda health: health.refund(10),
    "wait_in": lambda health: health.wait_in(1),
    "wait_out": lambda health: health.wait_out(),
    "hedge": lambda health: health.hedge(Hedge()),
    "hedge_after": lambda health: health.hedge_after(Hedge()),
    "snapshot": lambda health: health.snapshot(5.0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_reads_and_changes_holds_the_lock(change) -> None:
    """Once: with and without a global interpreter lock no update is lost."""
    health = opened()
    health._lock = lock = CountingLock()

    change(health)

    assert lock.times == 1


def test_entering_a_closed_breaker_takes_no_lock() -> None:
    """Nor do the other questions that every call asks."""
    health = Health()
    health._lock = lock = CountingLock()

    assert (health.enter(0.0), health.paused(0.0), health.is_bad(0.0)) == (Entry.CLOSED, False, False)
    assert lock.times == 0


def test_a_breaker_that_closes_while_a_call_waits_to_enter() -> None:
    """The call is admitted, and is no probe."""
    health = opened()
    assert health.enter(5.0) is Entry.PROBE
    health._lock = CountingLock(before=lambda: health.succeeded(5.0, clean=True))

    assert health.enter(5.0) is Entry.CLOSED
    assert health.state(5.0) == "closed"


def test_the_registry_is_changed_under_its_lock() -> None:
    """Two threads never make two of one."""
    registry = module._Registry()
    registry._lock = lock = CountingLock()

    registry.health_of("a", "o", "k")
    registry.all_health(0.0)
    registry.forget()

    assert lock.times == 3


@pytest.fixture
def in_ten_threads() -> Iterator[InThreads]:
    """Does some work in each of ten threads, which begin together and take turns as often as they can."""
    together = Barrier(10)

    def one(work: Callable[[], object]) -> object:
        together.wait(10)
        return work()

    def all_ten(work: Callable[[], object]) -> list[object]:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            return list(pool.map(one, [work] * 10))
        finally:
            sys.setswitchinterval(interval)

    with ThreadPoolExecutor(10) as pool:
        # A thread that starts under coverage sets its trace function, and CPython 3.11 lets it die where another one
        # is about to do so: all ten have started before they take turns that often.
        list(pool.map(one, [bool] * 10))
        yield all_ten


def test_spending_in_threads(in_ten_threads: InThreads) -> None:
    """A hundred tokens are spent exactly, however many ask."""
    for _ in range(20):
        health = Health()
        granted = in_ten_threads(lambda health=health: sum(health.spend(0.0, 0.5) for _ in range(50)))

        assert sum(granted) == 200
        assert tokens(health) == 0.0


def test_spending_and_refunding_in_threads(in_ten_threads: InThreads) -> None:
    """What was taken and given back is there again."""
    health = Health()

    def work() -> int:
        return sum(health.refund(7) is None for _ in range(2000) if health.spend(0.0, 7))

    assert sum(in_ten_threads(work)) > 0
    assert tokens(health) == CAPACITY


def test_counting_in_threads(in_ten_threads: InThreads) -> None:
    """No fault and no success is lost, while the seconds go by."""
    health = Health()

    def work() -> None:
        for now in range(1000):
            health.succeeded(float(now), clean=False)

    in_ten_threads(work)
    in_ten_threads(lambda: faults(health, 1000, breaker=Breaker(failures=1_000_000, rate=1)))

    assert health.snapshot(0.0).failures == 10_000
    assert health._calls + health._good == 10_000


def test_a_probe_is_handed_out_once(in_ten_threads: InThreads) -> None:
    """To one of ten threads, each time that it is free again."""
    health = opened()
    for _ in range(50):
        entries = in_ten_threads(lambda: health.enter(5.0))

        assert Counter(entries) == {Entry.PROBE: 1, Entry.OPEN: 9}
        health.released(5.0)


def test_waiting_in_threads(in_ten_threads: InThreads) -> None:
    """Never more than may."""
    health = Health()

    assert sum(sum(done) for done in in_ten_threads(lambda: [health.wait_in(77) for _ in range(50)])) == 77


def test_a_collected_call_may_report_in_the_middle_of_another() -> None:
    """The collector runs where it likes, so what an abandoned call says last must not wait for its own thread."""
    health = Health()

    class Collected:
        @property
        def failures(self) -> int:
            health.wait_out()
            health.refund(1)
            health.released(0.0)
            return 5

        rate, minimum, window = 1.0, 1000, 30.0

    thread = Thread(target=health.faulted, args=(0.0, EVEN, Collected()), daemon=True)
    thread.start()
    thread.join(30)

    assert not thread.is_alive()
    assert health.snapshot(0.0).failures == 1


# --- any order of events -----------------------------------------------------


class AnyOrder(RuleBasedStateMachine):
    """Whatever is reported in whatever order, the breaker and the bucket keep their rules."""

    #: From each state, what may follow; time passes in a step of its own.
    MAY_BECOME: Final = {
        "closed": {"closed", "open"},
        "open": {"open", "half-open"},
        "half-open": {"half-open", "closed", "open"},
    }

    def __init__(self) -> None:
        super().__init__()
        self.health = Health()
        self.now = 0.0
        self.probing = False
        self.state = "closed"

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 6.5, 40.0, 400.0]))
    def time_passes(self, seconds) -> None:
        self.now += seconds

    @rule()
    def enter(self) -> None:
        free = Entry.OPEN if self.probing else Entry.PROBE
        expected = {"closed": Entry.CLOSED, "open": Entry.OPEN, "half-open": free}

        entry = self.health.enter(self.now)

        assert entry is expected[self.state]
        self.probing = self.probing or entry is Entry.PROBE

    @precondition(lambda self: self.probing)
    @rule(draw=DRAWS, end=st.sampled_from(["succeeded", "faulted", "released"]))
    def probe_ends(self, draw, end) -> None:
        self.probing = False
        if end == "succeeded":
            self.health.succeeded(self.now, clean=True)
        elif end == "faulted":
            self.health.faulted(self.now, draw, BREAKER)
        else:
            self.health.released(self.now)
        state = {"succeeded": "closed", "faulted": "open", "released": "half-open"}[end]
        assert self.health.state(self.now) == state

    @rule(clean=st.booleans(), seconds=st.none() | st.floats(0, 600))
    def another_succeeds(self, clean, seconds) -> None:
        self.health.succeeded(self.now, clean=clean, seconds=seconds, probe=False)
        assert self.health.snapshot(self.now).failures == 0

    @rule(draw=DRAWS, times=st.integers(1, 6))
    def another_fails(self, draw, times) -> None:
        for _ in range(times):
            self.health.faulted(self.now, draw, BREAKER, probe=False)

    @rule(cost=st.sampled_from([0, 5, 10, 99.5]))
    def spend(self, cost) -> None:
        before = tokens(self.health, self.now)

        assert self.health.spend(self.now, cost) is (before >= cost)

        assert tokens(self.health, self.now) == (before - cost if before >= cost else before)

    @rule(cost=st.sampled_from([5, 10]))
    def refund(self, cost) -> None:
        self.health.refund(cost)

    @rule(hedge=st.builds(Hedge, samples=st.integers(1, 3), quantile=st.floats(0.01, 0.99)))
    def hedge(self, hedge) -> None:
        after = self.health.hedge_after(hedge)
        assert after is None or after >= hedge.floor

    @invariant()
    def the_breaker_keeps_its_order(self) -> None:
        state = self.health.state(self.now)
        assert state in self.MAY_BECOME[self.state]
        assert state == "half-open" or not self.probing
        self.state = state

    @invariant()
    def the_bucket_keeps_its_bounds(self) -> None:
        assert 0 <= tokens(self.health, self.now) <= CAPACITY


test_any_order = AnyOrder.TestCase


# --- for display, and the registry -------------------------------------------


def test_a_snapshot_of_nothing_wrong() -> None:
    """Closed, a full bucket, no times."""
    assert Health("respan", "https://g.example").snapshot(0.0) == TargetHealth(
        name="respan",
        origin="https://g.example",
        state="closed",
        failures=0,
        retry_tokens=100.0,
        probe_in=None,
        paused_for=0.0,
        credential_bad=False,
    )


def test_a_snapshot_of_trouble() -> None:
    """Everything in seconds from now."""
    health = opened(now=100.0)
    health.pause(100.0, 20.0)
    health.mark_bad(100.0)
    health.spend(100.0, 30)

    early, late = health.snapshot(102.0), health.snapshot(200.0)

    assert (early.state, early.failures, early.probe_in, early.paused_for) == ("open", 5, 3.0, 18.0)
    assert early.credential_bad
    assert early.retry_tokens == pytest.approx(70.2)
    assert (late.state, late.failures, late.probe_in, late.paused_for) == ("half-open", 5, 0.0, 0.0)
    assert not late.credential_bad


def test_one_health_for_one_origin_and_credential() -> None:
    """Whoever asks, under whatever name; another key or origin is another matter."""
    one = health_of("respan", "https://g.example", "rk-1")

    assert health_of("other", "https://g.example", "rk-1") is one
    assert health_of("respan", "https://g.example", "rk-2") is not one
    assert health_of("respan", "https://h.example", "rk-1") is not one
    assert one.snapshot(0.0).name == "respan"


@pytest.mark.parametrize("credential", ["", "ключ", "\ud800", "k" * 100_000])
def test_any_text_is_a_credential(credential) -> None:
    """Whether a header could carry it is decided elsewhere."""
    assert health_of("a", "o", credential) is health_of("a", "o", credential)


def test_threads_get_the_same_health(in_ten_threads: InThreads) -> None:
    """Ten that ask first at once, too."""
    assert len({id(health) for health in in_ten_threads(lambda: health_of("a", "o", "k"))}) == 1


def test_all_health_is_sorted() -> None:
    """By name and origin, one entry for each credential."""
    health_of("b", "https://b.example", "k")
    health_of("a", "https://z.example", "k")
    health_of("a", "https://a.example", "k1")
    health_of("a", "https://a.example", "k2")

    assert [(known.name, known.origin[8]) for known in all_health(0.0)] == [
        ("a", "a"),
        ("a", "a"),
        ("a", "z"),
        ("b", "b"),
    ]


def test_the_longest_unused_is_forgotten() -> None:
    """Beyond 1024; to ask is to use."""
    first, second = health_of("0", "o", "0"), health_of("1", "o", "1")
    for number in range(2, ENTRIES):
        health_of(str(number), "o", str(number))
    assert health_of("0", "o", "0") is first

    health_of("new", "o", "new")

    assert len(all_health(0.0)) == ENTRIES
    assert health_of("0", "o", "0") is first
    assert health_of("1", "o", "1") is not second


def test_forget() -> None:
    """Nothing is known afterwards."""
    one = health_of("a", "o", "k")
    forget()

    assert all_health(0.0) == ()
    assert health_of("a", "o", "k") is not one


def strings_in(thing: object) -> Iterator[str]:
    """All text and bytes that *thing* holds, through our own objects and the containers in them."""
    if isinstance(thing, str | bytes):
        yield repr(thing)
    elif isinstance(thing, dict | OrderedDict):
        yield from strings_in([*thing.keys(), *thing.values()])
    elif isinstance(thing, list | tuple | deque):
        for item in thing:
            yield from strings_in(item)
    elif isinstance(thing, Health | module._Registry):
        yield from strings_in([getattr(thing, name) for name in thing.__slots__])


def test_the_registry_holds_no_credential() -> None:
    """Only a digest that is of no use elsewhere; two processes have different ones."""
    one, other = module._Registry(), module._Registry()
    for registry in (one, other):
        registry.health_of("respan", "https://g.example", "rk-canary")

    held = list(strings_in(one))
    assert any("g.example" in text for text in held)
    assert not any("canary" in text for text in held)
    assert set(one._known) != set(other._known)


def test_a_repr_shows_no_numbers_that_change() -> None:
    """And no credential: there is none to show."""
    assert (
        repr(health_of("respan", "https://g.example", "k")) == "<Health of 'respan' at 'https://g.example'>"
    )


def test_a_child_process_begins_without_its_parents_calls() -> None:
    """A probe and waiters that never report there are not waited for; what is known goes along."""
    registry = module._Registry()
    health = registry.health_of("a", "o", "k")
    faults(health, 5)
    assert health.enter(5.0) is Entry.PROBE
    assert health.wait_in(1)

    registry.forked()

    assert registry.health_of("a", "o", "k") is health
    assert [health.enter(5.0), health.enter(5.0)] == [Entry.PROBE, Entry.OPEN]
    assert health.wait_in(1)


FORKS = """
import os, signal
from threading import Event, Thread

from respan_openai._core import health as module

health, held = module.health_of("a", "o", "k"), Event()

def hold():
    with health._lock, module._registry._lock:
        held.set()
        Event().wait()

Thread(target=hold, daemon=True).start()
held.wait()
child = os.fork()
if child == 0:
    signal.alarm(60)
    health.succeeded(0.0, clean=True)
    print(module.health_of("a", "o", "k") is health, flush=True)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_lock_that_another_thread_holds_stays_in_the_parent() -> None:
    """A worker forked in the middle of somebody's call can make calls."""
    result = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)

    assert result.stdout == "True\n0\n"


def test_forgetting_reaches_who_holds_an_object() -> None:
    """A gateway keeps its health object: it starts from nothing as well."""
    health = health_of("a", "https://a.example:443", "key")
    health.pause(0.0, 30.0)

    forget()

    assert not health.paused(1.0)
