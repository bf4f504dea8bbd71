"""The four promises are checked: each of them, broken alone, is noticed."""

from __future__ import annotations

import base64
from urllib.parse import quote, quote_plus

import pytest
from faults.scripted import Scripted
from faults.standing import contains, forms, standing, strays, until
from faults.steps import AtAccept, Ok, Reset, Sip
from faults.talk import REQUEST, asking, connect, head_of, said_by
from hypothesis import given
from hypothesis import strategies as st


pytestmark = pytest.mark.anyio

#: What a key may be made of.
KEYS = st.text("abcXYZ019-_/+=. ?>~", min_size=8, max_size=40)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def one():
    with Scripted(Ok(), name="one", key="sk-one-0123456789") as server:
        yield server


@pytest.fixture
def two():
    with Scripted(Ok(), name="two", key="sk-two-0123456789") as server:
        yield server


class Client:
    """Holds a connection until it is closed, if then."""

    def __init__(self, server: Scripted) -> None:
        self.sock = connect(server)
        self.closed = False

    def close(self) -> None:
        self.closed = True
        self.sock.close()


class AsyncClient(Client):
    """Same, awaited."""

    async def close(self) -> None:  # type: ignore[override]
        super().close()


def ask(server: Scripted, request: bytes = REQUEST) -> None:
    with asking(server, request) as sock:
        head_of(sock)


def tell(server: Scripted, data: bytes) -> None:
    """Not even a whole request."""
    with asking(server, data):
        """Nothing comes of it."""


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize("number", [1, range(1, 3), None])
async def test_all_in_order(one, two, kind, number) -> None:
    """The client is closed, and nothing is said."""
    client = kind(one)

    async with standing({one: number, two: 0}, client, deadline=60):
        client.sock.sendall(REQUEST)
        head_of(client.sock)

    assert client.closed


@pytest.mark.parametrize("number", [0, 2, range(2, 5), range(0)])
async def test_a_wrong_number_of_requests(one, number) -> None:
    """More or fewer than said, with what came instead."""
    with pytest.raises(AssertionError, match=r"one: 1 requests.*POST /v1/chat/completions"):
        async with standing({one: number}):
            ask(one)


async def test_a_connection_that_is_left_open(one, two) -> None:
    """At any of the targets, also where the script never read a byte."""
    two.then(AtAccept(Sip()))
    left = Client(two)
    assert await until(lambda: two.open)

    with pytest.raises(AssertionError, match=r"left open: \[<two: 0 requests, 1 connections, 1 open>\]"):
        async with standing({one: 0, two: 0}, Client(one), patience=0.05):
            """Nothing else goes wrong."""
    left.close()


async def test_a_secret_that_goes_astray(one, two) -> None:
    """Another's key, whatever hides it; the message does not repeat it."""
    hidden = base64.b64encode(b'{"key": "' + one.key.encode() + b'"}')
    with pytest.raises(AssertionError, match="two was sent a secret of one") as caught:
        async with standing({one: 0, two: 0}):
            tell(two, b"GET /?q=" + hidden)

    assert one.key not in str(caught.value)


async def test_more_secrets_than_the_keys(one, two) -> None:
    """Those that a test planted itself."""
    tell(two, b"GET /org-canary-1")
    assert two.wait_closed()

    assert [*strays([one, two])] == []
    assert [*strays([one, two], {one: ["org-canary-1"]})] == ["two was sent a secret of one"]
    assert [*strays([one, two], {one: ["org-canary-1"], two: ["org-canary-1"]})] == []


async def test_a_secret_in_pieces(one, two) -> None:
    """Cut by the chunks of its body."""
    half = len(one.key) // 2
    parts = [one.key[:half].encode(), one.key[half:].encode(), b""]
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    ask(two, b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    assert [*strays([one, two])] == ["two was sent a secret of one"]


async def test_too_long(one) -> None:
    """Past the deadline, a tenth of it, and the slack."""
    with pytest.raises(AssertionError, match=r"with a deadline of -1\.0 s"):
        async with standing({one: 0}, deadline=-1.0):
            """However fast."""


async def test_a_script_that_fails(one) -> None:
    """What went wrong in it is not taken for a fault of the client."""
    one.then(lambda _: None)
    with pytest.raises(AssertionError, match=r"the script of <one: .* failed"):
        async with standing({one: 1}):
            said_by(one)
    one.troubles.clear()


async def test_an_error_of_the_block_goes_first(one) -> None:
    """The client is closed all the same, and nothing is checked that would hide the error."""
    client = Client(one)
    with pytest.raises(LookupError):
        async with standing({one: 7}, client):
            raise LookupError

    assert client.closed


async def test_waiting_ends(one) -> None:
    """With what was waited for, or without."""
    one.then(Reset())

    assert not await until(lambda: one.requests, 0.01)
    said_by(one)
    assert await until(lambda: one.requests)


# --- canaries --------------------------------------------------------------


@given(secret=KEYS, before=st.binary(max_size=5), after=st.binary(max_size=5))
def test_secrets_are_found(secret, before, after) -> None:
    """Raw, quoted in either way, in hex and in base64 of either alphabet, at any alignment."""
    whole = before + secret.encode() + after
    travelling = [
        whole,
        base64.b64encode(whole),
        base64.urlsafe_b64encode(whole),
        whole.hex().encode(),
        quote(whole).encode(),
        quote(whole, safe="").encode(),
        quote_plus(whole).encode(),
        quote(base64.b64encode(whole)).encode(),
        b"".join(b"%%%02X" % byte for byte in whole),
        b"".join(b"%%%02x" % byte for byte in whole),
    ]

    assert [data for data in travelling if not contains(b"<" + data + b">", secret)] == []


@given(secret=KEYS, data=st.binary(max_size=200))
def test_nothing_is_found_where_nothing_is(secret, data) -> None:
    """Letters that are not in the alphabet of the secret, nor of its forms, hold none."""
    assert not contains(bytes(byte | 0x80 for byte in data), secret)


def test_one_character_makes_a_difference() -> None:
    """A secret that is like another is not the other."""
    for hide in (str.encode, lambda text: base64.b64encode(text.encode())):
        assert not contains(hide("sk-one-0123356789"), "sk-one-0123456789")


def test_a_secret_may_be_too_short() -> None:
    """Chance would find it."""
    with pytest.raises(ValueError, match="8 bytes or more, got 7"):
        forms("1234567")
