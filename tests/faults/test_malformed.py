"""Parameters, headers and names that nobody should send: what is refused before it is sent, and what is harmless."""

from __future__ import annotations

import openai
import pytest
from faults.answers import respan_error
from faults.standing import standing
from faults.steps import Answer, Ok
from faults.stories import story

from respan_openai import Fallback, ParamsError, Provider, RespanWarning, Retry, last_call
from respan_openai._clock import no_waiting


DOWN = Answer(503, respan_error("Down."))


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"], ids=ascii)
async def test_p4_a_header_that_would_break_out(world, value) -> None:
    """An error at the call that names the header, before a connection is opened; no retry, no fallback."""
    gateway, second = world.gateway(), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 1, second: 0}, client):
        await world.call(client, extra_headers={"X-Respan-Trace": "fine"})
        with pytest.raises(ParamsError, match=r"(?i)x-respan-trace") as caught:
            await world.call(client, extra_headers={"X-Respan-Trace": value})

    assert caught.value.param.lower() == "x-respan-trace"
    assert value not in str(caught.value)
    assert isinstance(caught.value, ValueError)


async def test_p4_a_header_beyond_latin_1(world) -> None:
    """The HTTP library's own error, which is a ValueError; nothing is sent, there or elsewhere."""
    gateway, second = world.gateway(), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 0, second: 0}, client):
        with pytest.raises(ValueError, match="encode"):
            await world.call(client, extra_headers={"X-Respan-Trace": "\u20ac"})


async def test_p6_a_target_among_its_own_fallbacks(world) -> None:
    """It is asked as one target, however often it stands in the list."""
    gateway, second = world.gateway(DOWN), world.server("second", DOWN)
    target, behind = world.gateway_of(gateway), world.provider_of(second)
    client = world.wrap(
        world.client(world.provider()), gateway=target, fallbacks=[target, behind, target, behind]
    )

    async with standing({gateway: 1, second: 2}, client):
        with no_waiting(), pytest.raises(openai.InternalServerError):
            await world.call(client)

    assert story(last_call()) == [("respan", "overload"), *[("second", "overload")] * 2]


@pytest.mark.parametrize("attempts", [3, 5])
async def test_p6_hundreds_of_fallbacks(world, attempts) -> None:
    """A call ends after as many attempts as it may have, not after as many targets as there are."""
    gateway, second = world.gateway(DOWN), world.server("second", DOWN)
    many = [Provider(f"second-{number}", f"{second.origin}/v1", second.key) for number in range(500)]
    client = world.wrapped(world.provider(), gateway, *many, retry=Retry(attempts=attempts))

    async with standing({gateway: 1, second: attempts - 1}, client):
        with no_waiting(), pytest.raises(openai.InternalServerError):
            await world.call(client)


def test_p6_no_fallbacks_at_all() -> None:
    """An empty list is a list."""
    assert Fallback().all == ()


@pytest.mark.parametrize(
    "text", ["{{ 7*7 }}", "{0.__class__}", "{% for x in () %}{% endfor %}", "${7*7}", "%(x)s"]
)
async def test_p10_variables_are_text(world, text) -> None:
    """What looks like a template is rendered by nobody here, neither in variables nor in what they are put into."""
    gateway = world.gateway()
    client = world.wrapped(world.provider(), gateway)
    prompt = {"prompt_id": "p", "variables": {"name": text}}

    async with standing({gateway: 1}, client):
        await world.call(
            client, prompt=prompt, variables={"other": text}, messages=[{"role": "user", "content": text}]
        )

    sent = gateway.requests[0].json
    assert sent["prompt"] == prompt
    assert sent["variables"] == {"other": text}
    assert sent["messages"][0]["content"] == text


MODELS = {"lines": "gpt\r\n4\n", "emoji": "gpt-\U0001f600", "1 MB": "m" * 1_000_000}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
async def test_p12_any_model_name_is_sent_as_it_is(world, model) -> None:
    """In JSON, where it can do no harm; in the answer's headers only if a header can hold it."""
    gateway, second = world.gateway(DOWN), world.server("second", Ok("Hi."))
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 1, second: 1}, client):
        assert (await world.call(client, model=model)).choices[0].message.content == "Hi."

    assert [each.requests[0].json["model"] for each in (gateway, second)] == [model] * 2
    assert last_call().model == model


async def test_p12_a_name_in_a_message_is_cut(world) -> None:
    """A warning that names a model is for people to read, however long the name is."""
    gateway, second = world.gateway(DOWN), world.server("second")
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 1, second: 1}, client):
        with pytest.warns(RespanWarning, match="was asked for") as caught:
            await world.call(client, model="second/" + "m" * 1_000_000)

    assert len(str(caught[0].message)) < 2000
