"""Answers that say no: what each status leads to, from a gateway, from a provider behind it, and from a provider."""

from __future__ import annotations

import gzip
import json
import logging
import traceback
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import openai
import pytest
from doubles import chat
from faults.answers import chat_stream, openai_error, respan_error
from faults.scenes import ELSEWHERE, IN_PROVIDERS_WORDS, ROLES, Scene
from faults.steps import Answer, Garbage, Ok, Sse

from respan_openai import Fallback, Gateway, InvalidAnswer, Limits, RespanWarning, health, params
from respan_openai._clock import no_waiting, sleep


def cast(*roles: str) -> pytest.MarkDecorator:
    """Play a test in these roles. Each kind of target is asked for a stream too; how is the same for all of them."""
    chosen = [(role, streamed) for role, streamed in CAST if role in roles]
    ids = [f"{role}{'-streamed' if streamed else ''}" for role, streamed in chosen]
    return pytest.mark.parametrize(("role", "streamed"), chosen, ids=ids)


CAST = [("gateway", False), ("gateway", True), ("relayed", True), ("provider", False), ("direct", True)]

every_role = cast(*ROLES)
in_providers_words = cast(*IN_PROVIDERS_WORDS)
from_the_gateway = cast("gateway")
from_both_sides = cast("gateway", "direct")


@pytest.fixture
def scene(world, role, streamed) -> Scene:
    """The failing target and those around it."""
    return Scene(world, role, streamed=streamed)


_ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
}


async def refused(scene: Scene, status: int) -> openai.APIStatusError:
    """Ask; the SDK's own error for *status*, which tells it and all who look not to repeat the call."""
    with pytest.raises(openai.APIStatusError) as caught:
        await scene.ask()
    unknown = openai.InternalServerError if status >= 500 else openai.APIStatusError
    assert type(caught.value) is _ERRORS.get(status, unknown)
    assert caught.value.status_code == scene.attempts[-1].status == status
    assert caught.value.response.headers["x-should-retry"] == "false"
    return caught.value


def most_of(scene: Scene, attempts: int) -> int:
    """Of so many attempts, those that the failing target can have: the gateway may have had one before."""
    return attempts if scene.failing is scene.gateway else min(attempts, 2)


# --- refused for what it is ------------------------------------------------


@every_role
async def test_s1_a_bad_request_comes_back_at_once(scene) -> None:
    """Nobody else is asked: what is wrong here is wrong there, and billed once more."""
    scene.play(Answer(400, scene.error()), Answer(422, scene.error()))

    async with scene.standing(2, calls=2):
        for status in (400, 422):
            await refused(scene, status)
            assert scene.attempts[0].meaning == "request"

    assert scene.health.failures == 0


def with_lists(targets: list[Any]) -> Fallback:
    """A list for each kind of refusal, each with a model of its own."""
    return Fallback(*targets, on_context=["for-context"], on_content=["for-content"], on_model=["for-model"])


#: Status, code, and the model of the list for it.
S2_S3_S6 = [
    (400, "context_length_exceeded", "for-context"),
    (400, "content_filter", "for-content"),
    (400, "content_policy_violation", "for-content"),
    (404, "model_not_found", "for-model"),
]


@in_providers_words
async def test_s2_s3_s6_a_refusal_for_which_there_is_a_list(scene) -> None:
    """That list is asked, with a warning; never the same model again, nor the other targets or lists."""
    refusals = [Answer(status, scene.error(code=code)) for status, code, _ in S2_S3_S6]
    scene.play(*refusals, fallbacks=with_lists)
    is_gateway = scene.failing is scene.gateway
    befores = refusals if is_gateway else [scene.DOWN] * len(refusals)
    scene.gateway.then([step for before in befores for step in (before, Ok("Of another model."))])

    async with scene.standing(8 if is_gateway else 4, calls=8):
        with pytest.warns(RespanWarning) as warned:
            said = [await scene.ask() for _ in S2_S3_S6]
        assert said == ["Of another model."] * 4

    models = [model for _, _, model in S2_S3_S6]
    assert [seen.json["model"] for seen in scene.gateway.requests[1::2]] == models
    said = [f"respan answered with the model '{model}'; 'gpt-4o-mini' was asked for" for model in models]
    ours = [str(each.message) for each in warned if each.category is RespanWarning]
    assert [message.partition(".")[0] for message in ours] == [*dict.fromkeys(said)]
    assert scene.health.failures == 0


@in_providers_words
async def test_s2_s3_s6_a_refusal_for_which_there_is_no_list(scene) -> None:
    """It comes back: ordinary fallbacks are no way around moderation, and no longer context either."""
    scene.play(*(Answer(status, scene.error(code=code)) for status, code, _ in S2_S3_S6))

    async with scene.standing(4, calls=4):
        for status, code, _ in S2_S3_S6:
            assert (await refused(scene, status)).code == code

    assert scene.health.failures == 0


@in_providers_words
async def test_s2_a_list_may_name_another_target(scene) -> None:
    """It is asked, although an ordinary fallback would not be."""
    refusal = Answer(400, scene.error(code="context_length_exceeded"))
    scene.play(refusal, fallbacks=lambda targets: Fallback(*targets[:-1], on_context=targets[-1:]))

    async with scene.standing(1, onward=1, to=scene.second):
        assert await scene.ask() == ELSEWHERE


# --- refused for who asks --------------------------------------------------


@every_role
async def test_s4_a_key_that_is_not_accepted(scene) -> None:
    """It comes back, and the target that refused it is named; no other key is tried, here or elsewhere."""
    scene.play(*(Answer(status, scene.error(kind="authentication_error")) for status in (401, 403)))

    with no_waiting():
        async with scene.standing(2, calls=2):
            for status in (401, 403):
                caught = await refused(scene, status)
                assert caught.response.headers["x-respan-target"] == scene.name
                assert scene.attempts[0].meaning == "policy"
                # What a provider behind the gateway refuses is not the gateway's key.
                assert scene.health.credential_bad is (scene.role != "relayed")
                sleep(61)

    assert not scene.health.credential_bad
    assert scene.health.failures == 0


@cast("provider", "direct")
async def test_s4_a_fallback_whose_key_is_bad_is_left_out_for_a_minute(scene) -> None:
    """The next call goes past it to the one behind; after 60 s it is asked again."""
    scene.play(Answer(401, scene.error()))

    with no_waiting():
        async with scene.standing(2, onward=1, calls=3):
            await refused(scene, 401)
            assert await scene.ask() == ELSEWHERE
            sleep(61)
            await refused(scene, 401)


@from_the_gateway
async def test_s4_a_gateway_that_refuses_the_key_is_not_gone_around_later_either(scene) -> None:
    """Its key is known to be bad, and the next call is put to it all the same."""
    scene.play(Answer(401, scene.error()))

    async with scene.standing(2):
        await refused(scene, 401)
        await refused(scene, 401)


@every_role
async def test_s5_nobody_else_pays(scene) -> None:
    """402 comes back: neither the provider's account nor another one is charged instead."""
    scene.play(Answer(402, scene.error()))

    async with scene.standing(1):
        await refused(scene, 402)

    assert scene.attempts[0].meaning == "policy"


# --- one repeat ------------------------------------------------------------


@every_role
async def test_s7_a_conflict_is_repeated_once(scene) -> None:
    """409 and 425: at the same target, after a wait, and paid for; then it comes back."""
    scene.play(*(Answer(status, scene.error()) for status in (409, 409, 425, 425)))

    with no_waiting():
        async with scene.standing(4, calls=2):
            for status in (409, 425):
                await refused(scene, status)
                assert [0 < attempt.wait <= 0.2 for attempt in scene.attempts] == [False, True]

    assert 80 <= scene.health.retry_tokens < 81


@every_role
async def test_s7_the_repeat_may_succeed(scene) -> None:
    """Then the caller sees nothing, and the payment is given back."""
    steps = [step for status in (408, 409, 425) for step in (Answer(status, scene.error()), Ok("At last."))]
    scene.play(*steps, alone=True)

    with no_waiting():
        async with scene.standing(6, calls=3):
            for status in (408, 409, 425):
                assert await scene.ask() == "At last."
                assert scene.attempts[1].possible_duplicate is (status == 408)

    assert scene.health.retry_tokens > 99


@every_role
async def test_s7_a_request_timeout_leads_to_the_next_target(scene) -> None:
    """At once, and marked: a server that says 408 may have worked all the same."""
    scene.play(Answer(408, scene.error()))

    async with scene.standing(1, onward=1):
        assert await scene.ask() == ELSEWHERE

    assert scene.record.attempts[-1].possible_duplicate
    assert scene.record.attempts[-1].wait == 0


@every_role
async def test_s7_a_request_timeout_without_a_next_target_is_repeated_once(scene) -> None:
    """Then it comes back."""
    scene.play(Answer(408, scene.error()), alone=True)

    with no_waiting():
        async with scene.standing(2):
            await refused(scene, 408)


@cast("gateway", "relayed")
async def test_s7_repeats_are_paid_from_a_budget(scene) -> None:
    """Ten calls are repeated; for the others nothing is left."""
    scene.play(Answer(409, scene.error()))

    with no_waiting():
        async with scene.standing(22):
            for _ in range(12):
                await refused(scene, 409)


# --- too large -------------------------------------------------------------


@every_role
async def test_s8_too_large_comes_back_at_once(scene) -> None:
    """413 and 431: a repeat would be as large, whatever the server thinks of repeats."""
    hints: list[dict[str, str]] = [{}, {"x-should-retry": "true"}]
    scene.play(*(Answer(status, scene.error(), hint) for hint in hints for status in (413, 431)))

    async with scene.standing(4, calls=4):
        for status in (413, 431) * 2:
            await refused(scene, status)


@from_the_gateway
async def test_s8_431_says_that_parameters_can_move_into_the_body(scene) -> None:
    """A warning, if any of them stood in the headers that were too large."""
    scene.play(Answer(431, scene.error()))

    async with scene.standing(2):
        await refused(scene, 431)
        with pytest.warns(RespanWarning, match="431.*extra_body"), params(customer_identifier="u1"):
            await refused(scene, 431)


# --- a provider behind the target has failed -------------------------------


@every_role
async def test_s9_a_failed_dependency_leads_to_the_next_target(scene) -> None:
    """424 is Respan's word for a provider that failed: so the way straight to the provider is not the next one."""
    scene.play(Answer(424, scene.error()))

    async with scene.standing(1, onward=1, to=scene.second if scene.role == "gateway" else None):
        assert await scene.ask() == ELSEWHERE


@every_role
async def test_s9_a_failed_dependency_without_a_next_target_comes_back(scene) -> None:
    """The same target has tried already."""
    scene.play(Answer(424, scene.error()), alone=True)

    async with scene.standing(1):
        await refused(scene, 424)


@cast("relayed")
async def test_s9_a_relayed_failure_does_not_lead_straight_to_the_provider_by_a_detour(scene) -> None:
    """Nor after another target has failed in between: ``DIRECT`` is for failures of the gateway itself."""
    scene.second.then(Answer(500, openai_error()))
    scene.play(Answer(500, scene.error()), fallbacks=lambda targets: [*reversed(targets)])

    with no_waiting():
        async with scene.standing(1, onward=2):
            await refused_anywhere(scene, 500)


async def refused_anywhere(scene: Scene, status: int) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await scene.ask()
    assert caught.value.status_code == status


# --- too many requests -----------------------------------------------------


def limited(scene: Scene, *, body: dict[str, Any] | None = None, **headers: str) -> Answer:
    """A 429 with more in its body or its headers (underscores for hyphens)."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(429, {**scene.error(code="rate_limit_exceeded"), **(body or {})}, given)


def asking_for(seconds: int) -> list[dict[str, Any]]:
    """All ways to ask for a wait: two headers, a date in one of them, and the body, where only Respan's is read."""
    now = 1_000_000
    return [
        {"retry_after": f"{seconds}"},
        {"retry_after_ms": f"{seconds}000"},
        {"retry_after": formatdate(now + seconds, usegmt=True), "date": formatdate(now, usegmt=True)},
        {"body": {"retry_after": seconds}},
    ]


@every_role
async def test_s10_a_wait_that_is_asked_for_is_waited_for(scene) -> None:
    """Where there is nobody else: as long as asked and up to a tenth more."""
    ways = asking_for(2)
    scene.play(*(step for asked in ways for step in (limited(scene, **asked), Ok("At last."))), alone=True)

    with no_waiting():
        async with scene.standing(8, calls=4):
            for _ in ways:
                assert await scene.ask() == "At last."
                assert 2 <= scene.attempts[1].wait <= 2.2

    assert scene.health.failures == 0


@in_providers_words
async def test_s10_another_target_is_better_than_a_wait(scene) -> None:
    """A provider's limit is not another's, so that one is asked at once, for half the price of a fault."""
    scene.play(limited(scene, retry_after="2"))

    async with scene.standing(1, onward=1):
        assert await scene.ask() == ELSEWHERE

    assert scene.record.attempts[-1].wait == 0
    assert scene.health.retry_tokens >= 95


@from_the_gateway
async def test_s10_another_gateway_is_better_than_a_wait(scene) -> None:
    """It has limits too. A provider has none of ours, so a gateway's own limit never leads there."""
    other = Gateway(scene.second.key, f"{scene.second.origin}/api")
    scene.play(limited(scene, body={"retry_after": 2}), fallbacks=lambda targets: [*targets[:-1], other])

    async with scene.standing(1, onward=1, to=scene.second):
        assert await scene.ask() == ELSEWHERE

    assert scene.second.requests[0].path == "/api/chat/completions"


@every_role
async def test_s10_a_limit_costs_half_of_what_a_fault_costs(scene) -> None:
    """Each repeat that fails as well is five tokens."""
    scene.play(limited(scene, retry_after="1"), alone=True)
    most = most_of(scene, 3)

    with no_waiting():
        async with scene.standing(most):
            await refused(scene, 429)

    left = 100 - 5 * (most - 1)
    assert left <= scene.health.retry_tokens < left + 1


@every_role
async def test_s10_a_wait_beyond_the_deadline_is_not_begun(scene) -> None:
    """The failure comes back at once, while the caller can still do something about it."""
    scene.play(limited(scene, retry_after="5"), alone=True, client={"timeout": 4})

    async with scene.standing(1, deadline=1):
        await refused(scene, 429)


@every_role
async def test_s10_those_who_wait_do_not_come_back_in_the_same_instant(scene) -> None:
    """Told the same, they wait differently."""
    scene.play(*[limited(scene, retry_after="2"), Ok()] * 8, alone=True)
    waits = []

    with no_waiting():
        async with scene.standing(16, calls=8):
            for _ in range(8):
                await scene.ask()
                waits.append(scene.attempts[1].wait)

    assert all(2 <= wait <= 2.2 for wait in waits)
    assert all(later - earlier > 1e-9 for earlier, later in pairwise(sorted(waits)))


@every_role
async def test_s10_the_wait_is_real(scene) -> None:
    """By the server's clock."""
    scene.play(limited(scene, retry_after_ms="60"), Ok("At last."), alone=True)

    async with scene.standing(2):
        assert await scene.ask() == "At last."

    first, second = scene.failing.requests
    assert second.at - first.at >= 0.06


NONSENSE = ["inf", "1e400", "-5", "soon", "nan", "", formatdate(1e9, usegmt=True)]


@every_role
async def test_s11_an_hour_is_not_waited_for(scene) -> None:
    """Nor twelve seconds, although they would fit the deadline: without another target the 429 comes back at once."""
    ways = [*asking_for(3600), *asking_for(12)]
    scene.play(*(limited(scene, **asked) for asked in ways), alone=True)

    with no_waiting():
        async with scene.standing(len(ways), calls=len(ways), deadline=3):
            for _ in ways:
                await refused(scene, 429)
                assert [attempt.wait for attempt in scene.record.attempts if attempt.wait] == []
                sleep(100)  # what was paid comes back, and a target behind others is no longer left alone


@in_providers_words
async def test_s11_another_target_is_asked_at_once(scene) -> None:
    """However long the wait, and whether it is one at all."""
    ways = [*asking_for(3600), *({"retry_after": said} for said in NONSENSE)]
    scene.play(*(limited(scene, **asked) for asked in ways))

    with no_waiting():
        async with scene.standing(len(ways), onward=len(ways), calls=len(ways), deadline=3):
            for _ in ways:
                assert await scene.ask() == ELSEWHERE
                assert [attempt.wait for attempt in scene.record.attempts if attempt.wait] == []
                sleep(100)  # what the gateway has paid comes back


@every_role
async def test_s11_a_wait_that_is_none_is_as_if_none_was_asked_for(scene) -> None:
    """A gateway's own limit comes back at once. A provider's has the usual backoff: neither nothing nor an hour."""
    most = 1 if scene.role == "gateway" else most_of(scene, 3)
    scene.play(*(limited(scene, retry_after=said) for said in NONSENSE for _ in range(most)), alone=True)

    with no_waiting():
        async with scene.standing(most * len(NONSENSE), calls=len(NONSENSE)):
            for _ in NONSENSE:
                await refused(scene, 429)
                assert [0 < attempt.wait <= 2 for attempt in scene.attempts[1:]] == [True] * (most - 1)


S12 = [
    "insufficient_quota",
    "credit_balance_exhausted",
    "billing_hard_limit_reached",
    "organization_usage_limit_exceeded",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
]


@in_providers_words
async def test_s12_a_quota_is_no_rate_limit(scene) -> None:
    """It comes back, even if a short wait is asked for: waiting does not fill it, and no other key pays for it."""
    scene.play(*(Answer(429, scene.error(code=code), {"retry-after": "1"}) for code in S12))

    async with scene.standing(len(S12), calls=len(S12), deadline=3):
        for code in S12:
            assert (await refused(scene, 429)).code == code
            assert scene.attempts[0].meaning == "policy"


LIMITS = [
    respan_error("Customer u1 has used up its budget."),
    respan_error("Rate limit exceeded", retry_after=60),
    openai_error(code="budget_exceeded"),
    {"error": {"code": 429, "message": "Too many"}},  # OpenRouter's own: a number, and no provider's name
    {"error": "Too many"},
    "Too many",
    b"<html>Too many</html>",
    b"",
]


@from_the_gateway
async def test_s13_a_limit_of_the_gateway_holds(scene) -> None:
    """Whatever is not clearly a provider's is the gateway's own, and leads nowhere: least of all to the provider."""
    scene.play(*(Answer(429, body) for body in LIMITS))

    async with scene.standing(len(LIMITS)):
        for _ in LIMITS:
            await refused(scene, 429)
            assert scene.attempts[0].meaning == "policy"


@from_the_gateway
async def test_s13_a_short_wait_does_not_open_another_way(scene) -> None:
    """The gateway is asked again after it, and nobody else, even if it then breaks down."""
    slow = Answer(429, respan_error("Slow down.", retry_after=1))
    scene.play(slow, slow, slow, slow, scene.DOWN)

    with no_waiting():
        async with scene.standing(6):
            await refused(scene, 429)
            await refused(scene, 503)


@from_the_gateway
async def test_s13_a_limit_holds_on_every_way(scene) -> None:
    """Another gateway may be asked, which has limits too; if it fails, the way on is not past the first one's."""
    other = Gateway(scene.second.key, f"{scene.second.origin}/api")
    scene.second.then(scene.DOWN)
    slow = Answer(429, respan_error("Slow down.", retry_after=1))
    scene.play(slow, fallbacks=lambda targets: [other, *targets])

    with no_waiting():
        async with scene.standing(range(1, 3), onward=range(1, 3), to=scene.second):
            with pytest.raises(openai.APIStatusError):
                await scene.ask()


# --- the target fails ------------------------------------------------------


@every_role
async def test_s14_an_internal_error_leads_to_the_next_target(scene) -> None:
    """At once; what the gateway itself breaks may go straight to the provider, what it relays may not."""
    scene.play(Answer(500, scene.error()))

    async with scene.standing(1, onward=1):
        assert await scene.ask() == ELSEWHERE

    assert scene.attempts[0].meaning == "fault"
    assert scene.record.attempts[-1].wait == 0
    assert scene.health.failures == (0 if scene.role == "relayed" else 1)


@every_role
async def test_s14_an_internal_error_without_a_next_target_is_repeated_once(scene) -> None:
    """After a short wait, and paid for; the repeat may succeed."""
    scene.play(*[Answer(500, scene.error())] * 3, Ok("At last."), alone=True)

    with no_waiting():
        async with scene.standing(4, calls=2):
            await refused(scene, 500)
            assert 0 < scene.attempts[1].wait <= 0.2
            assert 90 <= scene.health.retry_tokens < 91
            assert await scene.ask() == "At last."


#: Status to meaning, and to the most attempts of a call whose only target answers so.
S15 = {502: ("fault", 2), 504: ("ambiguous", 1)}
S15 |= dict.fromkeys((503, 520, 521, 522, 523, 524, 525, 526, 529), ("overload", 3))


@every_role
async def test_s15_a_target_that_is_down_leads_to_the_next(scene) -> None:
    """Cloudflare's and Anthropic's words for it are known as well."""
    scene.play(*(Answer(status, scene.error()) for status in S15))

    with no_waiting():
        async with scene.standing(len(S15), onward=len(S15), calls=len(S15)):
            for status, (meaning, _) in S15.items():
                assert await scene.ask() == ELSEWHERE
                assert [(attempt.status, attempt.meaning) for attempt in scene.attempts] == [
                    (status, meaning)
                ]
                sleep(100)  # what the gateway has paid comes back


@every_role
async def test_s15_a_target_that_is_down_and_alone_is_asked_again(scene) -> None:
    """Within the attempts that a call has, and after waits; but not where a server behind it may be at work."""
    most = {status: most_of(scene, S15[status][1]) for status in (502, 503, 504, 529)}
    scene.play(*(Answer(status, scene.error()) for status in most for _ in range(most[status])), alone=True)

    with no_waiting():
        async with scene.standing(sum(most.values()), calls=len(most)):
            for status, times in most.items():
                await refused(scene, status)
                assert [0 < attempt.wait <= 2 for attempt in scene.attempts[1:]] == [True] * (times - 1)


# --- what the server says about repeating ----------------------------------


@every_role
async def test_s16_a_server_that_forbids_repeats_is_obeyed(scene) -> None:
    """The failure comes back: no repeat, here or elsewhere."""
    scene.play(*(Answer(status, scene.error(), {"x-should-retry": "false"}) for status in (503, 500, 408)))

    async with scene.standing(3, calls=3):
        for status in (503, 500, 408):
            await refused(scene, status)


@every_role
async def test_s17_a_server_that_wants_a_repeat_gets_one(scene) -> None:
    """One, paid for, and from nobody else; then what it said comes back, without the hint."""
    hinted = Answer(400, scene.error(), {"x-should-retry": "true"})
    scene.play(hinted, hinted, hinted, Ok("At last."))

    with no_waiting():
        async with scene.standing(4, calls=2):
            await refused(scene, 400)
            assert 90 <= scene.health.retry_tokens < 91
            assert await scene.ask() == "At last."


# --- statuses of no meaning ------------------------------------------------


@every_role
async def test_s18_a_status_that_repeats_do_not_change_comes_back(scene) -> None:
    """Not implemented, not this version, not before a login; and a number that HTTP does not know."""
    scene.play(*(Answer(status, scene.error()) for status in (501, 505, 511, 999)))

    async with scene.standing(4, calls=4):
        for status in (501, 505, 511, 999):
            await refused(scene, status)


NO_STATUS = [
    Garbage(b"HTTP/1.1 %s None\r\ncontent-length: 0\r\n\r\n" % said) for said in (b"0", b"000", b"99")
]


@every_role
async def test_s18_a_status_that_is_none_is_not_http(scene) -> None:
    """It leads to the next target."""
    onward = scene.second if scene.role == "direct" else scene.provider
    scene.play(*NO_STATUS)

    async with scene.standing(3, onward=3, to=onward, calls=3):
        for _ in NO_STATUS:
            assert await scene.ask() == ELSEWHERE
            assert scene.attempts[0].meaning == "fault"


@every_role
async def test_s18_a_status_that_is_none_without_a_next_target_is_an_error(scene) -> None:
    """It is said that this is not HTTP; or what the gateway had said before, where it had said something."""
    scene.play(*NO_STATUS, alone=True)

    async with scene.standing(3, calls=3):
        for _ in NO_STATUS:
            if scene.failing is scene.gateway:
                with pytest.raises(
                    openai.APIConnectionError, match="respan answered with something that is not HTTP"
                ):
                    await scene.ask()
            else:
                await refused_anywhere(scene, 503)


# --- bodies of errors ------------------------------------------------------

BODIES = [
    b'"overloaded"',
    b'[{"error": "overloaded"}]',
    b"7",
    b"null",
    b"<html><h1>Bad Gateway</h1></html>",
    b"",
    b"upstream connect error",
    b"\xff\xfe\x00",
    b'{"error": {"mess',
    b"[" * 200_000,
    b'{"error": [], "code": {}, "retry_after": "soon"}',
]


@from_both_sides
async def test_s19_the_status_counts_whatever_the_body_is(scene) -> None:
    """A 400 is one, a 503 leads on, and no error of a parser hides either."""
    scene.play(*(Answer(status, body) for body in BODIES for status in (400, 503)))

    with no_waiting():
        async with scene.standing(2 * len(BODIES), onward=len(BODIES), calls=2 * len(BODIES)):
            for _ in BODIES:
                await refused(scene, 400)
                assert await scene.ask() == ELSEWHERE
                assert scene.attempts[0].meaning == "overload"
                sleep(200)  # what the gateway has paid comes back


GIB = 1 << 30


class Endless:
    """An error whose body is 1 GiB, as it is or packed; counts what the client let in, by its wire."""

    def __init__(self, status: int, *, packed: bool = False) -> None:
        self.status = status
        self.sent = 0
        self._encoding = "content-encoding: gzip\r\n" if packed else ""
        self._block = PACKED if packed else b" " * 65536

    def play(self, wire: Any, _request: Any) -> None:
        wire.send(f"HTTP/1.1 {self.status} Said\r\n{self._encoding}content-length: {GIB}\r\n\r\n".encode())
        while self.sent < GIB:
            wire.send(self._block)
            self.sent += len(self._block)


#: 16 MiB of blanks in 16 KiB; such members can follow each other without end.
PACKED = gzip.compress(b" " * (16 << 20), 6, mtime=0)

#: What the kernels of both sides may take in without the client.
UNDERWAY = 16 << 20


@from_both_sides
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_s19_a_giant_body_is_not_read_before_going_on(scene, packed) -> None:
    """64 KiB are looked at, then the connection is closed and the next target asked."""
    endless = Endless(503, packed=packed)
    scene.play(endless)

    async with scene.standing(1, onward=1):
        assert await scene.ask() == ELSEWHERE

    assert endless.sent <= UNDERWAY
    one_read = 2 << 20 if scene.world.library.__name__ == "httpx2" else len(gzip.decompress(PACKED))
    assert scene.attempts[0].received <= (one_read if packed else 2 << 16)


@from_both_sides
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_s19_a_giant_body_does_not_fill_the_memory(scene, packed) -> None:
    """The caller gets the status, and of the body as much as ``Limits(body=...)`` allows for any."""
    endless = Endless(400, packed=packed)
    scene.play(endless, limits=Limits(body=1 << 20))

    async with scene.standing(1):
        error = await refused(scene, 400)

    assert endless.sent <= UNDERWAY
    assert len(error.response.content) <= max(
        (1 << 20) + 65536, len(gzip.decompress(PACKED)) if packed else 0
    )


# --- what else stands in an answer -----------------------------------------


@every_role
async def test_s20_a_key_that_an_error_repeats_goes_no_further(scene, caplog) -> None:
    """Not into our log, record or health; what the SDK raises is what the server said."""
    key, caplog_of = scene.failing.key, caplog.records
    said = f"Invalid api key {key}; got {key!r}."
    caplog.set_level(logging.DEBUG, "respan_openai")
    scene.play(*(Answer(status, scene.error(said)) for status in (403, 503)))

    with no_waiting():
        async with scene.standing(2, onward=1, calls=2):
            error = await refused(scene, 403)
            records = [scene.record]
            sleep(61)
            assert await scene.ask() == ELSEWHERE
            records.append(scene.record)

    assert json.loads(error.response.content) == scene.error(said)
    ours = [vars(record) for record in caplog_of if record.name == "respan_openai"]
    assert ours
    assert key not in repr((records, ours, health()))


@every_role
async def test_s20_a_key_that_an_answer_repeats_stands_in_no_error_of_ours(scene) -> None:
    """The message tells what is wrong with an answer, and shows nothing of it."""
    key = scene.failing.key
    scene.play(Answer(200, f"<html>Your key {key}</html>".encode()), alone=True)

    with no_waiting():
        async with scene.standing(2):
            with pytest.raises((InvalidAnswer, openai.APIStatusError)) as caught:
                await scene.ask()

    assert isinstance(caught.value, InvalidAnswer) or scene.failing is not scene.gateway
    assert key not in "".join(traceback.format_exception(caught.value))
    assert key not in repr(scene.record)


S21 = ["-1", "0", "6m0s", "12ms", "soon", "", "1e400", "nan", "9" * 400]


def with_headers(scene: Scene, headers: dict[str, str]) -> Any:
    """An answer that has *headers*."""
    if scene.streamed:
        return Sse(chat_stream("Hello", "!"), headers=headers)
    return Answer(200, chat("Hello!"), headers)


@every_role
async def test_s21_rate_limit_headers_are_no_reason_to_wait_or_refuse(scene) -> None:
    """Whatever they say: on an answer, and on a failure, which is handled as one without them."""
    kinds = ["limit-requests", "remaining-requests", "remaining-tokens", "reset-requests", "reset-tokens"]
    headers = [{f"x-ratelimit-{kind}": said for kind in kinds} for said in S21]
    steps = [(Answer(500, scene.error(), each), with_headers(scene, each)) for each in headers]
    scene.play(*(step for pair in steps for step in pair), alone=True)

    with no_waiting():
        async with scene.standing(2 * len(S21), calls=len(S21)):
            for _ in S21:
                assert await scene.ask() == "Hello!"
                assert 0 < scene.attempts[1].wait <= 0.2
                assert sum(attempt.wait for attempt in scene.record.attempts) == scene.attempts[1].wait
                sleep(200)  # what the gateway has paid comes back
