"""Storms: what an outage, a crowd or a fork makes of many calls. Requests are counted where they arrive.

Waiting takes no time here, so a call a tenth of a second after the other is a matter of the clock alone.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import openai
import pytest
from faults.answers import openai_error, respan_error
from faults.scripted import Scripted
from faults.standing import standing, until
from faults.steps import Answer, Ok, Silence, Steps
from faults.stories import state_of, story

from respan_openai import Breaker, Gateway, Retry, health, last_call
from respan_openai._clock import no_waiting, now, sleep


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.world import World


DOWN = Answer(503, respan_error("Down."))
#: A limit of the provider behind the gateway, without a time to wait.
THROTTLED = Answer(429, openai_error("Slow down.", "rate_limit_error"))

#: Seconds between two calls, unless a test says otherwise: ten a second.
EVERY = 0.1

#: Never opens: what remains is the retry budget.
NEVER = Breaker(failures=1_000_000, minimum=1_000_000)

#: Opens at the first fault.
AT_ONCE = Breaker(failures=1)


@pytest.fixture(autouse=True)
def _no_waiting(request: pytest.FixtureRequest) -> Iterator[None]:
    with nullcontext() if "_for_real" in request.fixturenames else no_waiting():
        yield


@pytest.fixture
def _for_real() -> None:
    """Waiting takes the time that it takes."""


async def succeeds(world: World, client: Any, **kwargs: Any) -> bool:
    """Whether a call is answered."""
    try:
        await world.call(client, **kwargs)
    except openai.APIError:
        return False
    return True


async def storm(world: World, client: Any, calls: int, every: float = EVERY, **kwargs: Any) -> list[bool]:
    """So many calls, one after the other; whether each was answered."""
    outcomes = []
    for _ in range(calls):
        outcomes.append(await succeeds(world, client, **kwargs))
        sleep(every)
    return outcomes


# --- outages ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "breaker", "extra"),
    [
        pytest.param(DOWN, Breaker(), range(1, 11), id="503"),
        pytest.param(DOWN, NEVER, range(10, 11), id="503-by-the-budget-alone"),
        pytest.param(THROTTLED, Breaker(), range(20, 21), id="429"),
    ],
)
async def test_o1_an_outage_of_everything_is_not_amplified(world, answer, breaker, extra) -> None:
    """At most ten requests more than calls, twenty for 429s, and one more in 100 s; the SDK adds none of its own."""
    gateway = world.gateway(answer)
    client = world.wrapped(world.provider(), gateway, breaker=breaker)
    began = now()

    async with standing({gateway: None}, client, deadline=60):
        assert not any(await storm(world, client, 100))

    assert now() - began < 100
    assert len(gateway.requests) - 100 in extra


async def test_o2_a_gateway_that_is_down_costs_no_call(world) -> None:
    """The other target answers every call; the gateway sees five, and then one probe at a time."""
    gateway, second = world.gateway(DOWN), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    # Probes come after about 5, 15 and 35 s, each of them a fifth sooner or later.
    async with standing({gateway: range(6, 9), second: 100}, client, deadline=60):
        assert all(await storm(world, client, 100))
        assert len(gateway.requests) <= 0.1 * 100


async def test_o2_a_gateway_that_is_back_is_used_again(world) -> None:
    """One probe that is answered, and all calls go there as before."""
    gateway, second = world.gateway([DOWN] * 5 + [Ok()]), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 5 + 3, second: 5 + 1}, client):
        assert all(await storm(world, client, 6, every=0))
        sleep(6)  # 5, and a fifth
        assert all(await storm(world, client, 3))

    assert state_of("respan") == "closed"


async def test_o2_calls_under_way_when_a_gateway_breaks_down(world) -> None:
    """All of them are taken elsewhere at the same time, also those that the gateway's budget cannot pay for."""
    gateway, second = world.gateway(Steps(Silence(), DOWN)), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    async def break_down() -> None:
        assert await until(lambda: len(gateway.requests) == 40)
        gateway.release()

    async with standing({gateway: 40, second: 40}, client):
        outcomes = await world.together(*[lambda: world.call(client)] * 40, break_down)

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []


async def test_o3_loops_above_repeat_no_repeats(world) -> None:
    """Neither the SDK's retries nor a user's own loop multiply ours: each try is one request, once the budget is gone."""
    gateway = world.gateway(DOWN)
    client = world.wrapped(world.provider(), gateway, client={"max_retries": 5}, breaker=NEVER)

    async def tenaciously() -> bool:
        return any(await storm(world, client, 5))

    async with standing({gateway: 10 * 5 + 10}, client, deadline=60):
        assert not any([await tenaciously() for _ in range(10)])

    assert {seen.headers["x-stainless-retry-count"] for seen in gateway.requests} == {"0"}


async def test_o3_somebody_else_s_repeat_is_one_attempt(world) -> None:
    """A call that is itself a repetition is not repeated by us, nor taken to another target."""
    gateway, second = world.gateway(DOWN), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 4, second: 0}, client):
        for count in ("1", "2", "7", "1"):
            assert not await succeeds(world, client, extra_headers={"x-stainless-retry-count": count})

    assert story(last_call()) == [("respan", "overload")]


# --- half outages ----------------------------------------------------------


def three_in_ten(seed: int) -> Callable[[Any], Any]:
    """A script that fails for three of ten requests: of any twenty exactly six, in any order."""
    rng = random.Random(seed)
    failing: list[bool] = []

    def script(_request: Any) -> Any:
        if not failing:
            failing.extend(rng.sample([True] * 6 + [False] * 14, 20))
        return DOWN if failing.pop() else Ok()

    return script


async def test_o4_a_third_of_errors_is_made_up_for_within_the_budget(world) -> None:
    """With 30 % errors and a budget that was spent before, 84 % of the calls succeed by 1.3 requests each."""
    gateway = world.gateway(DOWN)
    client = world.wrapped(world.provider(), gateway, breaker=NEVER)

    async with standing({gateway: None}, client, deadline=60):
        await storm(world, client, 12)
        spent = len(gateway.requests)
        gateway.then(three_in_ten(seed=6))
        outcomes = await storm(world, client, 160)

    assert sum(outcomes) >= 0.84 * 160
    assert len(gateway.requests) - spent <= 1.3 * 160


class Crowded:
    """A server with a queue: capacity falls to a fifth for ten seconds, and turning a request away costs work too.

    Args:
        began: Monotonic seconds at which the ten seconds begin.
    """

    CAPACITY = 5.0  # requests a second
    PATIENCE = 1.0  # seconds of work in the queue, beyond which it turns away
    REFUSAL = 0.3  # requests' worth of work

    def __init__(self, began: float) -> None:
        self._began = began
        self._free = began

    def takes(self, at: float) -> bool:
        """A request comes in; whether it is answered."""
        capacity = self.CAPACITY if at >= self._began + 10 else self.CAPACITY / 5
        self._free = max(self._free, at)
        taken = self._free - at <= self.PATIENCE
        self._free += (1.0 if taken else self.REFUSAL) / capacity
        return taken


LOAD = 0.85 * Crowded.CAPACITY


def last_failure(outcomes: list[bool]) -> float:
    """Seconds after which all calls were answered."""
    return max((number + 1) / LOAD for number, answered in enumerate(outcomes) if not answered)


def with_tries(tries: int, calls: int) -> list[bool]:
    """What becomes of calls that are tried so often at once, wherever they fail."""
    crowded = Crowded(0.0)
    return [any(crowded.takes(number / LOAD) for _ in range(tries)) for number in range(calls)]


async def test_o5_a_crowd_disperses(world) -> None:
    """Ten seconds at a fifth of the capacity: answers are back in less than twice the time of calls without repeats."""
    calls = round(30 * LOAD)
    alone, stock = with_tries(1, calls), with_tries(3, calls)
    assert last_failure(alone) < 15 < last_failure(stock)
    assert not stock[-1]

    began = now()
    crowded = Crowded(began)
    gateway = world.gateway(lambda _: Ok() if crowded.takes(now()) else DOWN)
    client = world.wrapped(world.provider(), gateway)
    outcomes = []

    async with standing({gateway: range(calls, calls + 11)}, client, deadline=60):
        for number in range(calls):
            sleep(max(0.0, began + number / LOAD - now()))
            outcomes.append(await succeeds(world, client))

    assert last_failure(outcomes) < 2 * last_failure(alone)


# --- breakers --------------------------------------------------------------


async def test_o6_breakers_that_opened_together_do_not_close_together(world) -> None:
    """Thirty clients of one gateway, each with a key of its own: their probes are spread over two fifths, one for each."""
    gateway, second = world.gateway(DOWN), world.server("second")
    # Ten minutes instead of five seconds, so that the time which the calls themselves take makes no difference.
    slow = Breaker(failures=1, open_for=600, open_cap=600)
    gateway.canaries += [f"rk-gateway-canary-{number}" for number in range(30)]
    http, behind = world.http(), [world.provider_of(second)]
    clients = [
        world.wrap(
            world.client(second, http_client=http),
            gateway=Gateway(key, gateway.origin),
            fallbacks=behind,
            breaker=slow,
        )
        for key in gateway.canaries[1:]
    ]

    async def asked_after(wait: float) -> int:
        """How many requests the gateway has seen when all have called once more."""
        sleep(wait)
        assert [client for client in clients if not await succeeds(world, client)] == []
        return len(gateway.requests)

    async with standing({gateway: 60, second: 4 * 30}, *clients, deadline=60):
        assert await asked_after(0) == await asked_after(470) == 30
        assert 30 < await asked_after(120) < 60
        assert await asked_after(140) == 60

    assert {*Counter(seen.headers["authorization"] for seen in gateway.requests).values()} == {2}


async def test_o6_one_probe_at_a_time(world) -> None:
    """While it is under way, all other calls go elsewhere."""
    gateway, second = world.gateway([DOWN, Steps(Silence(), Ok())]), world.server("second")
    client = world.wrapped(world.provider(), gateway, second, breaker=AT_ONCE)

    async def answer_late() -> None:
        assert await until(lambda: len(second.requests) == 1 + 7)
        gateway.release()

    async with standing({gateway: 2, second: 1 + 7}, client):
        await world.call(client)
        sleep(6)
        outcomes = await world.together(*[lambda: world.call(client)] * 8, answer_late)

    assert [outcome for outcome in outcomes if isinstance(outcome, Exception)] == []
    assert state_of("respan") == "closed"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_o7_with_all_breakers_open_the_preferred_target_is_asked_once(world, stream) -> None:
    """No call is refused without an attempt; it is not repeated, and its answer is worth what any answer is."""
    gateway, second = world.gateway(DOWN), world.server("second", Answer(503, openai_error()))
    client = world.wrapped(world.provider(), gateway, second, breaker=AT_ONCE)

    async with standing({gateway: 1 + 3 + 1, second: 1}, client):
        assert not await succeeds(world, client, stream=stream)
        assert [known.state for known in health()] == ["open", "open"]
        for _ in range(3):
            with pytest.raises(openai.InternalServerError):
                await world.call(client, stream=stream)
            assert story(last_call()) == [("respan", "overload")]
        gateway.then(Ok("I am back."))
        said = await world.text(client) if stream else (await world.call(client)).choices[0].message.content

    assert said == "I am back."


async def test_o8_a_probe_that_times_out(world) -> None:
    """Its place is free again, and the breaker open for twice as long: the next probe is not waited for in vain."""
    gateway, second = world.gateway([DOWN, Silence(), Ok()]), world.server("second")
    client = world.wrapped(world.provider(), gateway, second, breaker=AT_ONCE, client={"timeout": 0.2})

    async with standing({gateway: 3, second: 2}, client):
        assert await succeeds(world, client)
        sleep(6)
        assert not await succeeds(world, client)
        (known,) = [each for each in health() if each.name == "respan"]
        assert (known.state, 7.5 < known.probe_in <= 12) == ("open", True)
        assert await succeeds(world, client)
        sleep(12)
        assert await succeeds(world, client)

    assert state_of("respan") == "closed"


# --- waiting in a crowd ----------------------------------------------------


@pytest.mark.usefixtures("_for_real")
async def test_o9_a_storm_of_429s_does_not_tie_up_every_thread(world) -> None:
    """Of twelve calls told to come back in half a second, four wait, each a little longer or shorter; the others fail."""
    come_back = Answer(429, THROTTLED.body, {"retry-after-ms": "500"})
    gateway = world.gateway(Steps(Silence(), come_back))
    client = world.wrapped(world.provider(), gateway, retry=Retry(max_waiters=4))
    waits = []

    async def call() -> None:
        await world.call(client)
        waits.append(last_call().attempts[1].wait)

    async def throttle() -> None:
        assert await until(lambda: len(gateway.requests) == 12)
        gateway.then(Ok())
        gateway.release()

    async with standing({gateway: 12 + 4}, client):
        outcomes = await world.together(*[call] * 12, throttle)

    assert [type(outcome) for outcome in outcomes if outcome] == [openai.RateLimitError] * (12 - 4)
    assert all(0.5 <= wait <= 0.55 for wait in waits)
    assert len({*waits}) == 4


async def test_o9_nobody_waits_where_another_target_is_well(world) -> None:
    """The same storm, with another target behind it: every call goes there at once."""
    gateway, second = world.gateway(Steps(Silence(), THROTTLED)), world.server("second")
    client = world.wrapped(world.provider(), gateway, second, retry=Retry(max_waiters=4))

    async def throttle() -> None:
        assert await until(lambda: len(gateway.requests) == 12)
        gateway.release()

    async with standing({gateway: 12, second: 12}, client):
        outcomes = await world.together(*[lambda: succeeds(world, client)] * 12, throttle)

    assert outcomes == [*[True] * 12, None]


FORKS = """
import os, sys, warnings

import openai
from respan_openai import Gateway, last_call, wrap
from respan_openai.testing import no_waiting

gateway, workers = Gateway("rk-gateway", sys.argv[1]), []
client = wrap(openai.OpenAI(api_key="sk-provider", max_retries=0), gateway=gateway)
for _ in range(8):
    worker = os.fork()
    if not worker:
        with no_waiting():
            client.chat.completions.create(model="m", messages=[])
        os.write(1, b"%.9f\\n" % last_call().attempts[1].wait)
        os._exit(0)
    workers.append(worker)
for worker in workers:
    assert os.waitpid(worker, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_o12_workers_of_one_parent_do_not_wait_alike() -> None:
    """Each of eight forked processes draws its own backoff, so they do not come back together."""
    first_tries = []

    def script(seen: Any) -> Any:
        first_tries.append(seen.connection)
        return Ok() if first_tries.count(seen.connection) == 2 else DOWN

    with Scripted(script, name="gateway", key="rk-gateway") as gateway:
        command = [sys.executable, "-c", FORKS, gateway.origin]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)

        assert len(gateway.requests) == 16
    assert len({*said.stdout.split()}) == 8
