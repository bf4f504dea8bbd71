"""Candidates: what each is sent, and that one which cannot be asked at all is passed over for the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from respan_openai import OpenRouter, Provider
from respan_openai._core.call import Call
from respan_openai._core.health import Health
from respan_openai.local import Azure, Echo, LocalGateway
from respan_openai.local.credentials import Credential
from respan_openai.local.router import Candidate
from respan_openai.local.settings import Settings
from respan_openai.local.targets import Target
from tests.local.support import HELLO, behaving, refusing, sent_to
from tests.local_support import FAMILIES, Upstream, http_client, listening


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


FAMILY = FAMILIES[0]
STORED, THEIRS = "canary-stored-key-0123", "canary-their-key-4567"
BODY = b'{"model":"m","messages":[]}'
NO_KEY = Credential(None, extra={"aws_region_name": "x"})


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider on a socket, where the model ``down`` is down and ``locked`` knows no key."""
    with listening() as upstream:
        upstream.respond = behaving({"down": refusing(503), "locked": refusing(401)})
        yield upstream


@pytest.fixture
def gateway(upstream: Upstream) -> LocalGateway:
    """One that never repeats, before ``a``, ``b`` and ``c`` of one address, Azure and OpenRouter."""
    three: list[Any] = [Provider(name, upstream.base_url, STORED) for name in "abc"]
    others = [Azure(upstream.base_url, STORED, "v"), OpenRouter(STORED, upstream.base_url)]
    return LocalGateway([*three, *others], settings=Settings(retries=0))


def post(gateway: LocalGateway, path: str = "/chat/completions", **fields: Any) -> Any:
    """The gateway's answer."""
    with http_client(FAMILY, gateway) as http:
        return http.post(path, json={"messages": HELLO, "input": "hello", **fields})


# -- those that cannot be asked

UNFIT: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no key of its own": ("/chat/completions", "b/m", {"credential_override": {"b": {"api_version": "1"}}}),
    "not its path": ("/embeddings", "openrouter/m", {}),
    "not its field": ("/responses", "openrouter/m", {"previous_response_id": "r"}),
    "no such deployment": ("/chat/completions", "azure/..", {}),
}


@pytest.mark.parametrize("first", ["a/down", "a/locked"])
@pytest.mark.parametrize("reason", UNFIT)
def test_who_cannot_be_asked_is_passed_over(
    gateway: LocalGateway, upstream: Upstream, reason: str, first: str
) -> None:
    """The next that can be asked is, whether the first one is down or refuses."""
    path, unfit, fields = UNFIT[reason]
    answered = post(gateway, path, model=first, fallback_models=[unfit, "c/m"], **fields)

    assert answered.status_code == 200
    assert [sent.fields["model"] for sent in sent_to(upstream)] == [first[2:], "m"]
    assert gateway.store.entries()[0]["provider"] == "c"


@pytest.mark.parametrize("reason", UNFIT)
def test_the_failure_is_told_if_nobody_else_can_be_asked(gateway: LocalGateway, reason: str) -> None:
    """Not what is wrong with a candidate that would have been asked next."""
    path, unfit, fields = UNFIT[reason]
    answered = post(gateway, path, model="a/down", fallback_models=[unfit], **fields)

    assert answered.status_code == 503


@pytest.mark.parametrize("reason", UNFIT)
def test_the_first_one_is_never_passed_over(gateway: LocalGateway, upstream: Upstream, reason: str) -> None:
    """It is what was asked for, so the caller is told what is wrong with it; nothing is sent."""
    path, unfit, fields = UNFIT[reason]
    refused = post(gateway, path, model=unfit, fallback_models=["c/m"], **fields)

    assert refused.status_code == 400
    assert upstream.received == []


@pytest.mark.parametrize(
    "drawn",
    [
        {"models": ["openrouter/m", "a/m"]},
        {"load_balance_models": [{"model": "openrouter/m", "weight": 99}, {"model": "a/m", "weight": 1}]},
    ],
)
def test_nobody_is_drawn_who_does_not_serve_the_path(
    gateway: LocalGateway, upstream: Upstream, drawn: dict[str, Any]
) -> None:
    """What the router or a weight chooses is among those that can answer: the caller named both."""
    statuses = [post(gateway, "/embeddings", **drawn).status_code for _ in range(10)]

    assert statuses == [200] * 10
    assert {sent.fields["model"] for sent in sent_to(upstream)} == {"m"}


def test_who_cannot_be_asked_needs_no_price(upstream: Upstream) -> None:
    """A budget is reserved for those who may be asked, and for no other."""
    three: list[Any] = [Provider("a", upstream.base_url, STORED), OpenRouter(STORED, upstream.base_url)]
    gateway = LocalGateway(three, prices={"a/m": (1.0, 2.0)}, settings=Settings(retries=0))
    fields = {"customer_identifier": "u", "customer_params": {"customer_identifier": "u", "total_budget": 5}}
    answered = post(gateway, "/embeddings", model="a/m", fallback_models=["openrouter/x"], **fields)

    assert answered.status_code == 200


def test_a_body_that_is_not_needed_is_not_written(upstream: Upstream) -> None:
    """So a fallback of the settings that no body can name is in nobody's way."""
    provider = Provider("a", upstream.base_url, STORED)
    gateway = LocalGateway([provider], settings=Settings(retries=0, fallback_models=["a/\ud800"]))

    assert post(gateway, model="a/m").status_code == 200
    assert post(gateway, model="a/down").status_code == 503


@pytest.mark.parametrize("first", ["a/down", "a/locked"])
def test_a_key_is_asked_for_once_for_each_attempt(upstream: Upstream, first: str) -> None:
    """To find out whether a fallback can be asked costs no second look at a rotating key."""
    keys = iter(("first", "second", "third"))
    late = Provider("late", upstream.base_url, lambda: next(keys))
    gateway = LocalGateway([Provider("a", upstream.base_url, STORED), late], settings=Settings(retries=0))
    for model in ("m", "n"):
        assert post(gateway, model=first, fallback_models=[f"late/{model}"]).status_code == 200

    assert [sent.headers["authorization"] for sent in sent_to(upstream)][1::2] == [
        "Bearer first",
        "Bearer second",
    ]


def test_a_key_that_cannot_be_sent(upstream: Upstream) -> None:
    """What a fallback's function returns is found out late: the caller is told what went wrong before."""
    late = Provider("late", upstream.base_url, lambda: "canary key")
    gateway = LocalGateway([Provider("a", upstream.base_url, STORED), late], settings=Settings(retries=0))
    answered = post(gateway, model="a/down", fallback_models=["late/m"])

    assert answered.status_code == 503
    assert "canary" not in answered.text


def test_a_key_function_that_fails(upstream: Upstream) -> None:
    """A vault that is down is a fallback that cannot be asked, like any other."""

    def vault() -> str:
        raise RuntimeError("canary")

    late, well = Provider("late", upstream.base_url, vault), Provider("c", upstream.base_url, STORED)
    gateway = LocalGateway(
        [Provider("a", upstream.base_url, STORED), late, well], settings=Settings(retries=0)
    )

    assert post(gateway, model="a/down", fallback_models=["late/m", "c/m"]).status_code == 200


# -- each by itself


def target(
    provider: Any,
    credential: Credential | None = None,
    model: str = "m",
    write: Callable[[], bytes] = lambda: BODY,
) -> Target:
    """A candidate at *provider*."""
    return Target(provider, Candidate(provider.name, model, model, credential, ""), write, Health("p", "m"))


def call(path: str = "/chat/completions") -> Call:
    """As it came in."""
    headers = [(b"Authorization", b"Bearer canary-client-key"), (b"Content-Type", b"application/json")]
    return Call("POST", "", path.encode(), path, headers, b"{}")


def test_choices_and_their_keys() -> None:
    """Two of one provider share a key unless one of them came with the request."""
    one, other = Provider("a", "https://a.example", STORED), Provider("b", "https://a.example", STORED)
    theirs = Credential(THEIRS)

    assert target(one).shares_key_with(target(one, model="n"))
    assert not target(one).shares_key_with(target(one, theirs))
    assert not target(one).shares_key_with(target(other))
    assert not target(one).shares_key_with(one)
    assert "canary" not in repr(target(one, theirs))


def test_choice_builds() -> None:
    """It remembers its newest request, and names the model as the router did."""
    made = target(Provider("a", "https://a.example", STORED, models={"m": "theirs"}))
    assert made.unfit(call()) is None
    assert made.outgoing is None
    outgoing = made.build(call())

    assert made.outgoing is outgoing
    assert (outgoing.body, outgoing.model) == (BODY, "m")
    assert made.health(call()) is made.health(call())


def test_choice_asks_for_a_key_at_each_attempt() -> None:
    """The request that was looked at is the first attempt's; the next has a new key, maybe another."""
    keys = iter(("first", "second"))
    made = target(Provider("a", "https://a.example", lambda: next(keys)))
    assert made.unfit(call()) is None
    sent = [dict(made.build(call()).headers)[b"Authorization"] for _ in range(2)]

    assert sent == [b"Bearer first", b"Bearer second"]


def test_choice_that_cannot_be_asked() -> None:
    """It says why, and does not count as asked."""
    made = target(Provider("a", "https://a.example", STORED), NO_KEY)

    assert "no api_key" in str(made.unfit(call()))
    assert made.outgoing is None


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (Provider("a", "https://a.example", STORED), True),
        (Azure("https://a.example", STORED, "v"), True),
        (Echo(), True),
        (OpenRouter(STORED), False),
    ],
)
def test_paths(provider: Any, expected: bool) -> None:
    """A target serves what its provider does."""
    assert ("/embeddings" in target(provider).paths) is expected
    assert "/responses" in target(provider).paths


def test_a_body_is_written_for_who_is_asked() -> None:
    """Once, and not before: one of several candidates is asked, and a body may be long."""
    written: list[bytes] = []

    def write() -> bytes:
        written.append(BODY)
        return BODY

    made = target(Provider("a", "https://a.example", STORED), write=write)
    assert written == []
    made.build(call())
    made.build(call())

    assert written == [BODY]
