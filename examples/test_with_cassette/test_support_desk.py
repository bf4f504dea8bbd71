"""Tests of code that calls a model: offline, in milliseconds, without a key, because the calls are recorded.

The recordings lie in ``cassettes/``. They are of the gateway that ``respan-openai serve --echo`` runs, which answers by
repeating the question; to record them again, run it, and then these tests with ``--respan-record=rewrite``,
``RESPAN_BASE_URL=http://127.0.0.1:8010/api`` and any keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from openai import OpenAI
from support_desk import dictate, reply

from respan_openai import wrap


if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def client() -> Iterator[OpenAI]:
    """As the application makes it; with a cassette, it needs no key."""
    with wrap(OpenAI()) as client:
        yield client


@pytest.mark.respan_cassette
def test_a_reply(client) -> None:
    """The marker is enough: the call is answered from the file that is named after this test."""
    assert "refund" in reply(client, "cust_1", "Where is my refund?")


def test_what_was_sent(client, respan_cassette) -> None:
    """The fixture knows what was asked and what came back."""
    reply(client, "cust_2", "May I return it?")

    [call] = respan_cassette.calls
    assert call.messages[-1] == {"role": "user", "content": "May I return it?"}
    assert call.respan == {"customer_identifier": "cust_2"}
    assert call.usage["total_tokens"] > 0


@pytest.mark.respan_cassette
def test_a_stream(client) -> None:
    """It comes in the pieces that it was recorded in."""
    words = [*dictate(client, "one two three")]

    assert len(words) > 1
    assert "".join(words) == "echo: one two three"


def test_a_busy_provider(client, respan_cassette) -> None:
    """A fault uses up no recording: the first attempt fails, and the next one gets the recorded answer, at once."""
    respan_cassette.fault(status=429)

    assert reply(client, "cust_3", "Are you there?")
    assert [call.status for call in respan_cassette.calls] == [429, 200]
