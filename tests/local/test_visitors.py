"""Who gets in over the socket: keys, names of this machine, origins of pages."""

from __future__ import annotations

import base64

import httpx2
import pytest
from serve_support import Body, Scripted, row, served

from respan_openai.local.visitors import is_loopback


KEYS = {"canary-key-of-production": "production", "canary-key-of-tests": "test"}


def basic(password: str, user: str = "") -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.fixture(scope="module")
def guarded():
    """A gateway with keys, and a call in each environment."""
    gateway = Scripted(keys=KEYS)
    for environment in ("production", "test"):
        gateway.store.log(
            row(id=f"in-{environment}", environment=environment, input={"text": f"said in {environment}"})
        )
    with served(gateway) as base:
        yield base


@pytest.mark.parametrize("path", ["/", "/calls/in-test", "/calls/none"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer",
        "Bearer wrong",
        basic("wrong"),
        basic("", "canary-key-of-tests"),
        "Basic %%%",
        "Digest x",
        "Basic " + "/w==",
    ],
)
def test_the_page_needs_a_key(guarded, path, authorization) -> None:
    """401, and a browser is told to ask for one; whether a call exists is not told."""
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = httpx2.get(guarded + path, headers=headers)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic realm=")
    assert "canary" not in answer.text


@pytest.mark.parametrize(
    "authorization", ["Bearer canary-key-of-tests", basic("canary-key-of-tests", "anybody")]
)
def test_a_key_opens_its_environment_only(guarded, authorization) -> None:
    """As a bearer token or a password; prompts of another environment stay closed, whatever is asked for."""
    headers = {"Authorization": authorization}
    page = httpx2.get(f"{guarded}/?environment=production", headers=headers).text

    assert "/calls/in-test" in page
    assert "in-production" not in page
    assert "said in test" in httpx2.get(f"{guarded}/calls/in-test", headers=headers).text
    assert httpx2.get(f"{guarded}/calls/in-production", headers=headers).status_code == 404
    assert "canary" not in page


def test_with_keys_any_name_will_do(guarded) -> None:
    """Behind a proxy the Host header is the proxy's: who has no key sees nothing anyway."""
    headers = {
        "Authorization": "Bearer canary-key-of-tests",
        "Host": "gateway.example",
        "Origin": "https://x.example",
    }

    assert httpx2.get(guarded, headers=headers).status_code == 200


@pytest.fixture(scope="module")
def open_gateway():
    async def answer(_request):
        return httpx2.Response(200, stream=Body(b"{}"))

    with served(Scripted(answer), hosts=("Box.Example",)) as base:
        yield base


@pytest.mark.parametrize("path", ["/", "/calls/x", "/api/models", "/nowhere"])
@pytest.mark.parametrize(
    ("host", "is_let_in"),
    [
        ("localhost", True),
        ("LOCALHOST:8010", True),
        ("localhost.", True),
        ("127.0.0.1:8010", True),
        ("127.8.9.10", True),
        ("[::1]:8010", True),
        ("gateway.localhost", True),
        ("box.example:8010", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.5", False),
        ("0.0.0.0", False),  # noqa: S104 -- refused
        ("[::1", False),
        ("", False),
    ],
)
def test_without_keys_only_names_of_this_machine(open_gateway, path, host, is_let_in) -> None:
    """A page whose name was made to resolve to the loopback reaches neither the log nor the models."""
    answer = httpx2.get(open_gateway + path, headers={"Host": host})

    assert (answer.status_code != 403) == is_let_in


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        ("http://localhost:8010", True),
        ("http://LOCALHOST:8010", True),
        ("https://evil.example", False),
        ("null", False),
        ("http://localhost:3000", False),
        ("http://[", False),
    ],
)
@pytest.mark.parametrize("path", ["/", "/api/chat/completions"])
def test_without_keys_no_page_of_another_origin(open_gateway, path, origin, is_let_in) -> None:
    """Such a page could not read the answer, but it would be paid for."""
    answer = httpx2.get(open_gateway + path, headers={"Host": "localhost:8010", "Origin": origin})

    assert answer.status_code == (200 if is_let_in else 403)
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.255.0.9", True),
        ("::1", True),
        ("::1%lo", True),
        ("0.0.0.0", False),  # noqa: S104 -- refused
        ("::", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
    ],
)
def test_addresses_of_loopback(address, expected) -> None:
    """127.0.0.0/8 and ::1; a name is no address."""
    assert is_loopback(address) == expected
