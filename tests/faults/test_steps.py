"""Each step does on the wire what it says, and nothing else."""

from __future__ import annotations

import threading
from contextlib import closing

import pytest
from doubles import reply
from faults.answers import chat_stream
from faults.scripted import Scripted
from faults.steps import (
    Answer,
    AtAccept,
    CutBody,
    Drip,
    Garbage,
    Hangup,
    HangupBeforeReading,
    Raw,
    Reset,
    Silence,
    Sip,
    Sse,
    Steps,
)
from faults.talk import (
    A_WHILE,
    REQUEST,
    SAID,
    asking,
    connect,
    exactly,
    head_of,
    is_silent,
    said_by,
    the_rest,
)


# --- answers ---------------------------------------------------------------


def test_a_whole_answer() -> None:
    """Status, headers and body as given; the connection stays."""
    step = Answer(429, {"detail": "slow"}, {"retry-after": "3"})
    with Scripted(step) as server, asking(server) as sock:
        expected = reply(429, {"detail": "slow"}, {"retry-after": "3"})
        assert exactly(sock, len(expected)) == expected
        assert is_silent(sock)


def test_an_answer_with_fin() -> None:
    """Who has read the last byte finds the connection closed, without waiting, every time."""
    with Scripted(Answer(200, b"x", fin=True)) as server:
        for _ in range(100):
            with asking(server) as sock:
                exactly(sock, len(reply(200, b"x")))
                sock.setblocking(False)

                assert sock.recv(1) == b""


def test_nothing_but_bytes() -> None:
    """Also several after each other."""
    with Scripted(Steps(Raw(b"HTTP/1.1 100 Continue\r\n\r\n"), Raw(SAID), Hangup())) as server:
        assert said_by(server) == (b"HTTP/1.1 100 Continue\r\n\r\n" + SAID, "fin")


def test_garbage() -> None:
    """What it says is no HTTP, and FIN."""
    with Scripted(Garbage(b"SSH-2.0-x\r\n")) as server:
        assert said_by(server) == (b"SSH-2.0-x\r\n", "fin")


@pytest.mark.parametrize(("rst", "end"), [(False, "fin"), (True, "rst")])
def test_a_body_that_is_cut(rst, end) -> None:
    """More is declared than comes."""
    with Scripted(CutBody(100, b"half", rst=rst)) as server:
        heard, how = said_by(server)

    head, _, body = heard.partition(b"\r\n\r\n")
    assert b"content-length: 100" in head
    assert (body, how) == (b"half", end)


def test_a_drip() -> None:
    """The first byte comes at once, the next after its time, and all of them in the end."""
    with Scripted([Drip(b"abc", 3600), Steps(Drip(SAID, 0.0001, size=3), Hangup())]) as server:
        with asking(server) as sock:
            assert exactly(sock, 1) == b"a"
            assert is_silent(sock)

        assert said_by(server) == (SAID, "fin")


# --- streams ---------------------------------------------------------------

EVENTS = chat_stream("Hel", "lo!")
CHUNKS = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in EVENTS)


@pytest.mark.parametrize(
    ("end", "body", "how"),
    [
        ("eof", b"".join(EVENTS), "fin"),
        ("cut", CHUNKS, "fin"),
        ("rst", CHUNKS, "rst"),
    ],
)
def test_streams_that_end_with_the_connection(end, body, how) -> None:
    """Everything before the end arrives, RST or not, each time; only what has no length is not chunked."""
    with Scripted(Sse(iter(EVENTS), end=end, headers={"x-a": "b"})) as server:
        heard, ended = said_by(server)
        assert said_by(server) == (heard, ended)

    head, _, rest = heard.partition(b"\r\n\r\n")
    assert b"content-type: text/event-stream\r\nx-a: b" in head
    assert (b"transfer-encoding: chunked" in head) is (end != "eof")
    assert (rest, ended) == (body, how)


@pytest.mark.parametrize(("end", "last"), [("chunked", b"0\r\n\r\n"), ("open", b"")])
def test_streams_that_leave_the_connection_open(end, last) -> None:
    """After its last chunk, or without one."""
    with Scripted(Sse(EVENTS, end=end)) as server, asking(server) as sock:
        heard = exactly(sock, 1)
        while b"\r\n\r\n" not in heard:
            heard += exactly(sock, 1)

        assert exactly(sock, len(CHUNKS + last)) == CHUNKS + last
        assert is_silent(sock)


def test_gaps_in_a_stream() -> None:
    """Between any two events, or where one stands: nothing comes until it is set or over."""
    gate, gap = threading.Event(), threading.Event()
    step = Sse([b"1", gate, b"2", 0.001, b"3"], gap=gap, end="eof")
    with Scripted(step) as server, asking(server) as sock:
        head_of(sock)
        assert exactly(sock, 1) == b"1"
        gate.set()
        assert is_silent(sock)
        gap.set()

        assert the_rest(sock) == (b"23", "fin")


def test_a_stream_without_end() -> None:
    """Made anew for each request, and over when the client hangs up."""

    def comments():
        while True:
            yield b": still here\n\n"
            yield 0.001

    with Scripted(Sse(comments, end="eof")) as server:
        for _ in range(2):
            with asking(server) as sock:
                head_of(sock)
                assert exactly(sock, 28) == b": still here\n\n" * 2

        assert server.wait_closed()


# --- no answer -------------------------------------------------------------


def test_a_reset() -> None:
    """RST instead of an answer, once the request was read."""
    with Scripted(Reset()) as server:
        assert said_by(server) == (b"", "rst")
        assert len(server.requests) == 1


def test_a_hangup() -> None:
    """FIN instead of an answer; a request that comes later is heard, but none."""
    with Scripted(Hangup()) as server, asking(server) as sock:
        assert sock.recv(1) == b""
        sock.sendall(REQUEST)
        assert server.open == 1
        sock.close()

        assert server.wait_closed()
        assert len(server.requests) == 1
        assert server.bytes == REQUEST * 2


def test_a_hangup_before_reading() -> None:
    """FIN before a byte was sent, and then a server that works."""
    with Scripted([HangupBeforeReading(), Steps(Raw(SAID), Hangup())]) as server:
        with closing(connect(server)) as sock:
            assert the_rest(sock) == (b"", "fin")
            assert server.bytes == b""

        assert said_by(server) == (SAID, "fin")
        assert (server.connections, len(server.requests)) == (2, 1)


def test_silence() -> None:
    """Not a byte until it is released; if nothing follows it, FIN."""
    with Scripted([Steps(Silence(), Raw(SAID)), Silence()]) as server, asking(server) as sock:
        assert is_silent(sock)
        server.release()
        exactly(sock, len(SAID))

        assert said_by(server) == (b"", "fin")


def test_silence_until_an_event() -> None:
    """Others are not what it waits for."""
    until = threading.Event()
    with Scripted(Steps(Silence(until), Garbage(b"!"))) as server, asking(server) as sock:
        server.release()
        assert is_silent(sock)
        until.set()

        assert the_rest(sock) == (b"!", "fin")


def test_silence_ends_with_the_client() -> None:
    """A client that hangs up is noticed while it waits."""
    with Scripted(Silence()) as server:
        with asking(server) as sock:
            assert is_silent(sock)
            assert server.open == 1

        assert server.wait_closed()


def test_a_server_that_sips() -> None:
    """A large request does not get through; and still it is seen when the client hangs up."""
    body = b"x" * 20_000_000
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with Scripted(AtAccept(Sip(every=3600))) as server:
        with closing(connect(server)) as sock:
            sock.settimeout(A_WHILE)
            with pytest.raises(TimeoutError):
                sock.sendall(request)
            assert len(server.bytes) <= 1
            assert not server.wait_closed(A_WHILE)

        assert server.wait_closed()
        assert server.requests == []
