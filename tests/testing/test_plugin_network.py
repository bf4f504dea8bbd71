"""Tests kept from other machines: what is refused, what never is, and how it is said."""

from __future__ import annotations

import socket
import threading

import pytest

from respan_openai.testing.plugin_network import Guard, _audit
from tests.testing.llm_server import Project


pytest_plugins = "pytester"

#: Reserved for documentation (RFC 5737, RFC 3849, RFC 6761): nobody answers there.
ELSEWHERE = ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "host.invalid", "fe80::1%eth0"]
#: Another way to write 192.0.2.1, which the system looks up as a name, and finds without asking anybody.
NAME = "3221225985"

HERE = [
    "127.0.0.1",
    "127.9.9.9",
    "::1",
    "::ffff:127.0.0.1",
    "0.0.0.0",  # noqa: S104 -- nobody is bound to it
    "::",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    "",
]


class Refused(BaseException):
    pass


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Project:
    return Project(pytester, monkeypatch)


@pytest.mark.parametrize("host", HERE)
def test_this_machine(host) -> None:
    """It may always be asked for and reached, under all of its names."""
    guard = Guard([], Refused)

    guard.looked_up(host)
    guard.connected(host)


def test_this_machine_by_its_name() -> None:
    """A server may be bound to the host's own name."""
    Guard([], Refused).looked_up(socket.gethostname())


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_machines(host) -> None:
    """They are not reached; the text names the host and the option that lets it through."""
    guard = Guard(["*.example.org"], Refused)

    with pytest.raises(Refused, match=r"only this machine and \*\.example\.org may be reached") as info:
        guard.connected(host)

    assert repr(host) in str(info.value)
    assert f"--respan-allow-hosts={host}" in str(info.value)


def test_a_name_is_refused_when_it_is_looked_up() -> None:
    """So the text has the name, and no question leaves for a name server; an address is not asked for anywhere."""
    guard = Guard([], Refused)

    with pytest.raises(Refused, match=r"host\.invalid"):
        guard.looked_up("host.invalid")
    guard.looked_up("192.0.2.1")


@pytest.mark.parametrize(
    ("globs", "host"),
    [
        (["192.0.2.1"], "192.0.2.1"),
        (["192.0.2.*"], "192.0.2.77"),
        (["other", NAME], NAME),
        (["0xc*"], "0XC0000201"),
    ],
)
def test_hosts_that_are_allowed(globs, host) -> None:
    """Globs are matched with what is asked for, a name or an address, upper and lower case alike."""
    guard = Guard(globs, Refused)

    guard.looked_up(host)
    guard.connected(host)


def test_the_addresses_of_an_allowed_name() -> None:
    """Libraries look a name up and then connect to one of its addresses: of an allowed name, all are."""
    guard = Guard([NAME], Refused)
    with pytest.raises(Refused):
        guard.connected("192.0.2.1")

    guard.looked_up(NAME)

    guard.connected("192.0.2.1")
    with pytest.raises(Refused):
        guard.connected("192.0.2.2")


def test_what_is_learned_is_forgotten_with_the_test() -> None:
    """What one test was allowed to reach by its name says nothing about the next."""
    guard = Guard([NAME], Refused)
    with guard.during("test"):
        guard.looked_up(NAME)
        guard.connected("192.0.2.1")

    with guard.during("next"), pytest.raises(Refused):
        guard.connected("192.0.2.1")


def test_between_tests_everything_passes() -> None:
    """Outside of a test, the hook does nothing."""
    _audit("socket.getaddrinfo", ("host.invalid", 80))


@pytest.mark.parametrize("event", ["socket.bind", "open", "socket.__new__"])
def test_other_events_are_none_of_its_business(event) -> None:
    """Only looking up and connecting is looked at."""
    with Guard([], Refused).during("test"):
        _audit(event, ("host.invalid",))


def test_what_the_hook_is_told() -> None:
    """Names as text and bytes, no name at all, and addresses of the Internet's two families; no other ones."""
    with Guard([], Refused).during("test"), socket.socket() as plain, socket.socket(socket.AF_UNIX) as unix:
        for event, args in {
            "socket.getaddrinfo": ("host.invalid", 80),
            "socket.connect": (plain, ("192.0.2.1", 80)),
        }.items():
            with pytest.raises(Refused):
                _audit(event, args)
        with pytest.raises(Refused, match=r"'host\.invalid'"):
            _audit("socket.getaddrinfo", (b"host.invalid", 80))
        _audit("socket.getaddrinfo", (None, 80))
        _audit("socket.connect", (unix, "/run/some.sock"))


def test_blocks_nest() -> None:
    """A run inside of a test leaves that test as it was."""
    outer = Guard([], Refused)
    with outer.during("outer"):
        with Guard(["*"], Refused).during("inner"):
            _audit("socket.getaddrinfo", (NAME, 80))
        with pytest.raises(Refused, match="outer wants"):
            _audit("socket.getaddrinfo", (NAME, 80))


def test_real_sockets() -> None:
    """Listening, connecting to this machine, Unix sockets and pairs of sockets work as ever, in all threads."""
    with Guard([], Refused).during("test_x"), socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
        for each in socket.socketpair():
            each.close()
        with socket.socket(socket.AF_UNIX) as unix, pytest.raises(FileNotFoundError):
            unix.connect("/nowhere/at/all")
        with (
            socket.socket() as plain,
            pytest.raises(Refused, match=r"^respan: test_x wants to reach '192\.0\.2\.1'"),
        ):
            plain.connect(("192.0.2.1", 80))
        with pytest.raises(Refused):
            socket.getaddrinfo(b"host.invalid", 80)
        socket.getaddrinfo(None, 0)
        found: list[BaseException] = []

        def elsewhere() -> None:
            try:
                socket.getaddrinfo("host.invalid", 80)
            except Refused as exc:
                found.append(exc)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    assert len(found) == 1


@pytest.mark.parametrize("how", ["--respan-block-network", "-orespan_block_network=true"])
def test_a_run_with_the_network_blocked(project, how) -> None:
    """Sync, asyncio and trio: other machines are refused, with the test's name; servers of the test's own are not."""
    project.write(
        test_a="""
        import asyncio
        import socket

        import httpx2
        import pytest
        import trio

        REFUSED = pytest.fail.Exception

        def test_sync():
            with pytest.raises(REFUSED, match="test_a.py::test_sync wants to reach 'host.invalid'"):
                httpx2.get("http://host.invalid/", trust_env=False)

        @pytest.mark.parametrize("host", ["host.invalid", "192.0.2.1"])
        def test_asyncio(host):
            async def main():
                server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]
                _, writer = await asyncio.open_connection("localhost", port)
                writer.close()
                with pytest.raises(REFUSED, match=host):
                    await asyncio.open_connection(host, 80)
                server.close()

            asyncio.run(main())

        def test_trio():
            async def main():
                with pytest.raises((REFUSED, BaseExceptionGroup)):
                    await trio.open_tcp_stream("192.0.2.1", 80)

            trio.run(main)

        def test_allowed():
            assert socket.getaddrinfo("3221225985", 80)

        def test_fails():
            socket.create_connection(("host.invalid", 80))
        """
    )

    result = project.run(how, "--respan-allow-hosts=one.invalid,3221*", fresh=True)

    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines([
        "respan: test_a.py::test_fails wants to reach 'host.invalid', and only this machine and one.invalid, 3221*",
    ])  # fmt: skip
    assert "Traceback" not in result.stdout.str()


def test_recording_reaches_its_hosts_only_while_it_lasts(project) -> None:
    """A cassette that records lets its hosts through; a test without one does not reach them."""
    project.ini("respan_cassette_hosts = 3221225985")
    project.write(
        test_a="""
        import socket
        import pytest

        def test_with(respan_cassette):
            assert socket.getaddrinfo("3221225985", 80)

        def test_without():
            with pytest.raises(pytest.fail.Exception):
                socket.getaddrinfo("3221225985", 80)
        """
    )

    recording = project.run("--respan-block-network", "--respan-record=rewrite")
    replaying = project.run("--respan-block-network")

    recording.assert_outcomes(passed=2)
    replaying.assert_outcomes(passed=1, failed=1)


def test_models_are_not_reached_past_a_cassette_that_replays(project) -> None:
    """A client that nobody has wrapped gets no answer from a cassette, and is stopped; other hosts are reached."""
    project.ini("respan_cassette_hosts = host.invalid 3221225985")
    project.write(
        test_a="""
        import socket
        import pytest
        from openai import OpenAI

        @pytest.mark.respan_cassette
        def test_replays():
            try:
                OpenAI(base_url="http://host.invalid/v1").models.list()
            except Exception:
                pytest.fail("taken for an error")

        @pytest.mark.respan_cassette(mode="off")
        def test_without_cassettes():
            assert socket.getaddrinfo("3221225985", 80)

        @pytest.mark.respan_cassette
        def test_elsewhere():
            assert socket.getaddrinfo("3221225986", 80)

        def test_has_none():
            assert socket.getaddrinfo("3221225985", 80)
        """
    )

    result = project.run()

    result.assert_outcomes(failed=1, passed=3)
    result.stdout.fnmatch_lines([
        "respan: test_a.py::test_replays wants to reach 'host.invalid', past its cassette*wrap()*",
        "respan: 0 replayed, 0 live, 0 unused, 1 without a call",
    ])  # fmt: skip
    assert "taken for an error" not in result.stdout.str()
    project.run("--respan-allow-hosts=host.invalid", "-k", "elsewhere").assert_outcomes(
        passed=1, deselected=3
    )
