"""The scripted server keeps its promises: what it remembers, deals out and closes, also over TLS."""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from contextlib import closing

import pytest
from faults.scripted import Scripted
from faults.steps import (
    AtAccept,
    Drip,
    Garbage,
    Hangup,
    Ok,
    Raw,
    Silence,
    Sip,
    Sse,
)
from faults.talk import (
    A_WHILE,
    BODY,
    REQUEST,
    SAID,
    asking,
    connect,
    exactly,
    head_of,
    said_by,
    the_rest,
    wait_until,
)


# --- the server ------------------------------------------------------------


def test_requests_are_remembered() -> None:
    """Parsed and raw, with their connections, in the order in which they came."""
    with Scripted(Raw(SAID)) as server:
        with asking(server) as first, asking(server) as second:
            exactly(first, len(SAID))
            exactly(second, len(SAID))
            first.sendall(REQUEST)
            exactly(first, len(SAID))
        assert server.wait_closed()

    one, two, three = server.requests
    assert (one.method, one.path, one.target) == (
        "POST",
        "/v1/chat/completions",
        "/v1/chat/completions?a=1",
    )
    assert (one.headers, one.body, one.json) == (
        {"host": "h", "content-length": str(len(BODY))},
        BODY,
        {"model": "m"},
    )
    assert one.raw == REQUEST
    assert one.at <= two.at <= three.at
    assert sorted([one.connection, two.connection]) == [1, 2]
    assert server.connections == 2
    assert server.bytes.count(REQUEST) == 3


def test_a_request_may_come_in_chunks() -> None:
    """The body is put together; the bytes stay what they were."""
    raw = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n"
    with Scripted(Raw(SAID)) as server, asking(server, raw) as sock:
        exactly(sock, len(SAID))

        assert server.requests[0].body == b"{} "
        assert server.bytes == raw


@pytest.mark.parametrize("part", [REQUEST[:-1], REQUEST[:20], b"\x16\x03\x01\r\n\r\n", b""])
def test_a_part_of_a_request_is_none(part) -> None:
    """What is not a whole request is heard, and counts as none."""
    with Scripted() as server:
        with asking(server, part) as sock:
            sock.shutdown(socket.SHUT_WR)
            assert the_rest(sock) == (b"", "fin")

        assert server.requests == []
        assert server.bytes == part


def test_open_connections_are_counted() -> None:
    """Until the client closes them; waiting for that ends by itself."""
    with Scripted(Raw(SAID)) as server:
        with asking(server) as sock:
            exactly(sock, len(SAID))
            assert server.open == 1
            assert not server.wait_closed(A_WHILE)

        assert server.wait_closed()
        assert server.open == 0


@pytest.mark.parametrize(
    "step",
    [
        Silence(),
        Raw(SAID),
        Hangup(),
        Drip(SAID, 3600),
        Sse([b"data: 1\n\n"], end="open"),
        AtAccept(Silence()),
        AtAccept(Sip(3600)),
        Raw(b"x" * 50_000_000),
    ],
)
def test_closing_the_server_ends_everything(step) -> None:
    """Whatever its connections are doing, and although the client keeps its side."""
    server = Scripted(step, name="closing")
    with asking(server) as sock:
        wait_until(lambda: server.bytes if isinstance(step, AtAccept) else server.requests)
        server.close()

        assert the_rest(sock)[1] in {"fin", "rst"}
        assert [each for each in threading.enumerate() if each.name.startswith("closing")] == []
        assert server.open == 0
        with pytest.raises(ConnectionRefusedError):
            connect(server)


def test_a_connection_counts_before_it_is_accepted() -> None:
    """A client that was here and is gone may have said something that is not read yet."""
    with Scripted() as server:
        with server._changed:  # nothing is accepted meanwhile
            with asking(server, b"!"):
                assert not server.closed()
            assert not server.closed()

        assert server.wait_closed()
        assert server.bytes == b"!"


# --- scripts ---------------------------------------------------------------


def test_the_last_step_repeats() -> None:
    """One step for each request, whatever its connection."""
    with Scripted([Raw(b"a"), Raw(b"b")]) as server:
        heard = []
        for _ in range(3):
            with asking(server) as sock:
                heard.append(exactly(sock, 1))

    assert heard == [b"a", b"b", b"b"]


def test_a_new_script_begins_at_its_beginning() -> None:
    """``then``: from the next request on, also on a connection that is open."""
    with Scripted([Raw(b"a"), Raw(b"b")]) as server, asking(server) as sock:
        exactly(sock, 1)
        server.then([Raw(b"c"), Hangup()])
        sock.sendall(REQUEST + REQUEST)

        assert the_rest(sock) == (b"c", "fin")


def test_a_script_may_be_a_function() -> None:
    """It is asked for each request, and may answer several steps."""
    with Scripted(lambda seen: [Raw(seen.body), Hangup()]) as server:
        assert said_by(server) == (BODY, "fin")


def test_trouble_in_a_script_is_not_lost() -> None:
    """Its connection ends, and closing the server raises it."""

    def wrong(_seen):
        raise LookupError("no step for this")

    def use() -> None:
        with Scripted(wrong) as server:
            assert said_by(server) == (b"", "fin")

    with pytest.raises(LookupError, match="no step for this"):
        use()


def test_a_test_s_own_error_comes_before_that_of_its_script() -> None:
    """Else the reason would hide behind what followed from it."""

    def use() -> None:
        with Scripted(lambda _: None) as server:
            said_by(server)
            pytest.fail("the reason")

    with pytest.raises(pytest.fail.Exception, match="the reason"):
        use()


# --- TLS -------------------------------------------------------------------


def secured(server: Scripted, trusted: ssl.SSLContext, host: str = "host.test") -> ssl.SSLSocket:
    return trusted.wrap_socket(connect(server), server_hostname=host, suppress_ragged_eofs=False)


def test_tls(trusted, certified) -> None:
    """What is inside is remembered, and the host that stands outside in clear."""
    with Scripted(Ok(), certified("host.test")) as server:
        with secured(server, trusted) as sock:
            sock.sendall(REQUEST)
            assert head_of(sock).startswith(b"HTTP/1.1 200 ")

        assert server.origin == f"https://127.0.0.1:{server.port}"
        assert server.at("host.test") == f"https://host.test:{server.port}"
        assert REQUEST in server.bytes
        assert b"host.test" in server.bytes


@pytest.mark.parametrize(
    ("host", "expired", "reason"),
    [("host.test", True, "expired"), ("other.test", False, "Hostname mismatch")],
)
def test_certificates_that_are_refused(host, expired, reason, trusted, certified) -> None:
    """Out of date or another's; no request comes, and the refusal is remembered."""
    with Scripted(Ok(), certified("host.test", expired=expired)) as server:
        with pytest.raises(ssl.SSLCertVerificationError, match=reason):
            secured(server, trusted, host)
        assert server.wait_closed()

        assert len(server.refused) == 1
        assert server.requests == []


def test_an_unknown_authority_is_refused(certified) -> None:
    """By whoever trusts only the system's."""
    with Scripted(Ok(), certified("host.test")) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            secured(server, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        assert server.wait_closed()

        assert len(server.refused) == 1


@pytest.mark.parametrize("end", ["eof", "cut", "rst"])
def test_ends_under_tls(end, trusted, certified) -> None:
    """A stream that ends says so; a cut is seen as one."""
    with (
        Scripted(Sse([b"1"], end=end), certified("host.test")) as server,
        secured(server, trusted) as sock,
    ):
        sock.sendall(REQUEST)
        head_of(sock)

        # SSLSocket.recv takes RST for an end of file.
        receive = functools.partial(socket.socket.recv, sock) if end == "rst" else sock.recv

        assert ending(receive) == {"eof": "end", "cut": "SSLEOFError", "rst": "ConnectionResetError"}[end]


def ending(receive) -> str:
    try:
        while receive(65536):
            pass
    except OSError as exc:
        return type(exc).__name__
    return "end"


def test_a_handshake_that_stalls(trusted, certified) -> None:
    """The client waits in its handshake; once released, the connection goes on."""
    with Scripted([AtAccept(Silence()), Ok()], certified("host.test")) as server:
        with closing(connect(server)) as sock:
            sock.settimeout(A_WHILE)
            with pytest.raises(TimeoutError):
                trusted.wrap_socket(sock, server_hostname="host.test")
        server.release()

        with secured(server, trusted) as sock:
            sock.sendall(REQUEST)
            assert head_of(sock).startswith(b"HTTP/1.1 200 ")


def test_a_port_that_speaks_no_tls(trusted, certified) -> None:
    """Its answer in clear is the handshake's end."""
    step = AtAccept(Garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with Scripted(step, certified("host.test")) as server, pytest.raises(ssl.SSLError, match=r"(?i)version"):
        secured(server, trusted)
