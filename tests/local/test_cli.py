"""``respan-openai serve | calls | check``, as a process and as a command."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager

import openai
import pytest
from local_support import listening, stream
from serve_support import PATIENCE, Scripted, refuses_connections, row, served
from typer.testing import CliRunner

from respan_openai import cli
from respan_openai._commands import app
from respan_openai.exceptions import ConfigError, RespanError, StoreError
from respan_openai.stores.sqlite import SQLiteStore


COMMAND = (sys.executable, "-W", "error", "-c", "from respan_openai.cli import main; main()")


def run(*arguments: str) -> str:
    """What the command prints; what it raises is raised."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


# -- serve


@contextmanager
def serving(*arguments: str):
    """The command as a process, and the base URL that it prints."""
    command = [*COMMAND, "serve", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = ""
            while "Call log:" not in said:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                said += line
            yield process, next(word for word in said.split() if word.endswith("/api")), said
        finally:
            process.kill()


@pytest.fixture
def slow(tmp_path):
    """A file that names a provider whose stream waits for a gate, and the gate."""
    gate = threading.Event()
    chunk = b'data: {"id":"1","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":%s}]}\n\n'
    with listening() as upstream:
        upstream.respond = lambda wfile, _raw: stream(
            wfile, chunk % (b"one", b"null"), gate, chunk % (b"two", b'"stop"'), b"data: [DONE]\n\n"
        )
        path = tmp_path / "serve.toml"
        path.write_text(f'[providers.slow]\nbase_url = "{upstream.base_url}"\nneeds_key = false\n')
        yield path, gate


def begun(client):
    """A stream of which the first chunk has come."""
    chunks = client.chat.completions.create(model="m", messages=[], stream=True)
    assert next(chunks).choices[0].delta.content == "one"
    return chunks


def test_serve_answers_and_stops() -> None:
    """It says where it is and that it echoes; Ctrl-C is an orderly end."""
    with serving("--echo") as (process, base, said):
        with openai.OpenAI(base_url=base, api_key="any", max_retries=0) as client:
            answer = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE)

    assert said.startswith("Every answer is an echo")
    assert answer.choices[0].message.content == "echo: Hi"
    assert "open to programs on this machine" in said
    assert (process.returncode, errors) == (0, "")


def test_calls_under_way_are_finished(slow) -> None:
    """After Ctrl-C nobody new is let in, and the stream comes to its end."""
    path, gate = slow
    with serving("--config", str(path)) as (process, base, _):
        with openai.OpenAI(base_url=base, api_key="any", max_retries=0) as client:
            chunks = begun(client)
            process.send_signal(signal.SIGINT)
            while not refuses_connections(base):
                pass
            gate.set()
            rest = [chunk.choices[0].delta.content for chunk in chunks]
        _, errors = process.communicate(timeout=PATIENCE)

    assert rest == ["two"]
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("forced", ["twice", "late"])
def test_calls_under_way_are_cut_off(slow, forced) -> None:
    """By a second Ctrl-C, or after the time that was given; without a traceback."""
    path, gate = slow
    seconds = {"twice": "600", "late": "0"}[forced]
    with serving("--config", str(path), "--stop-seconds", seconds) as (process, base, _):
        with openai.OpenAI(base_url=base, api_key="any", max_retries=0) as client:
            chunks = begun(client)
            process.send_signal(signal.SIGINT)
            while not refuses_connections(base):
                pass
            if forced == "twice":
                process.send_signal(signal.SIGINT)
            with pytest.raises(Exception, match=r"(?i)incomplete|closed|connection"):
                list(chunks)
        _, errors = process.communicate(timeout=PATIENCE)
        gate.set()

    assert process.returncode == 0
    assert "Traceback" not in errors


def test_keys_are_not_told(monkeypatch) -> None:
    """What it prints, with keys on both sides: that one is needed, and none of them."""
    monkeypatch.setenv("OPENAI_API_KEY", "canary-provider-key")
    monkeypatch.setenv("RESPAN_SERVE_API_KEYS", "canary-client-key")
    with serving("--host", "localhost") as (_, _, said):
        assert "with a key as bearer token" in said
        assert "canary" not in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--echo", "--host", "0.0.0.0"], "The gateway has no api_keys"),  # noqa: S104 -- refused
        ([], "There is no provider to ask"),
        (["--config", "/nowhere/serve.toml"], "/nowhere/serve.toml cannot be read"),
    ],
    ids=["open", "nobody", "no file"],
)
def test_serve_refuses_in_a_line(monkeypatch, arguments, message) -> None:
    """Status 1 and a line on standard error."""
    monkeypatch.delenv("OPENAI_API_KEY")
    result = subprocess.run(
        [*COMMAND, "serve", *arguments], capture_output=True, text=True, check=False, timeout=PATIENCE
    )

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith(f"respan-openai: {message}")
    assert result.stderr.count("\n") == 1


def test_a_port_in_use_is_told(monkeypatch) -> None:
    """With its number, from the command too."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 is in use"):
            run("serve", "--echo", "--port", port)


# -- the command itself


@pytest.mark.parametrize("arguments", [["serve", "--port", "65536"], ["serve", "--nonsense"], ["nonsense"]])
def test_arguments_that_cannot_be_read(arguments) -> None:
    """Status 2, as everywhere."""
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_without_typer(monkeypatch) -> None:
    """The extra is named."""
    monkeypatch.delitem(sys.modules, "respan_openai._commands")
    monkeypatch.setitem(sys.modules, "typer", None)

    with pytest.raises(SystemExit, match=r"pip install 'respan-openai\[cli\]'"):
        cli.main()


def test_serve_without_typer(monkeypatch) -> None:
    """It needs two extras, and both are named at once."""
    monkeypatch.delitem(sys.modules, "respan_openai._commands")
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.setattr(sys, "argv", ["respan-openai", "serve", "--echo"])

    with pytest.raises(SystemExit, match=r"pip install 'respan-openai\[cli,server\]'"):
        cli.main()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [(["--help"], 0, "Look after recorded calls"), (["ls", "/nowhere"], 1, ""), (["nonsense"], 2, "")],
    ids=["help", "nothing there", "nonsense"],
)
def test_cassettes_without_typer(monkeypatch, capsys, arguments, status, said) -> None:
    """They need no extra, and end with the same status."""
    monkeypatch.delitem(sys.modules, "respan_openai._commands")
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.setattr(sys, "argv", ["respan-openai", "cassettes", *arguments])

    with pytest.raises(SystemExit) as caught:
        cli.main()

    told = capsys.readouterr()
    assert caught.value.code == status
    assert said in told.out
    assert "typer" not in told.out + told.err


#: The command, interrupted when it begins to import the package that its first argument names.
INTERRUPTED = """
import signal, sys

class Interrupting:
    def find_spec(self, name, *_):
        if name == sys.argv[0]:
            signal.raise_signal(signal.SIGINT)

del sys.argv[0]
sys.meta_path.insert(0, Interrupting())
from respan_openai.cli import main
main()
"""


@pytest.mark.parametrize("package", ["openai", "typer", "uvicorn"])
def test_ctrl_c_while_it_begins(package) -> None:
    """The end that is usual for it, and nothing to read."""
    command = [sys.executable, "-W", "error", "-c", INTERRUPTED, package, "serve", "--echo", "--port", "0"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)

    assert (result.returncode, result.stdout, result.stderr) == (130, "", "")


@pytest.mark.parametrize("command", ["serve", "calls"])
def test_help_says_where_a_store_may_be(command) -> None:
    """Also in a variable, so that no password stands in a list of processes."""
    assert "env:NAME" in run(command, "--help")


def test_another_package_that_is_missing(monkeypatch) -> None:
    """Is not blamed on the extra."""
    monkeypatch.delitem(sys.modules, "respan_openai._commands")
    monkeypatch.setitem(sys.modules, "respan_openai._checkup", None)

    with pytest.raises(ImportError):
        cli.main()


def test_errors_are_a_line(monkeypatch) -> None:
    """What cannot be done is said without a traceback."""
    monkeypatch.setattr(sys, "argv", ["respan-openai", "calls", "--store", "memory"])

    with pytest.raises(SystemExit, match=r"^respan-openai: A log in memory ends with its process"):
        cli.main()


# -- calls


@pytest.fixture
def kept(tmp_path) -> str:
    """A log with two calls in a file."""
    path = tmp_path / "calls.sqlite3"
    store = SQLiteStore(path)
    store.log(row(id="log-1"))
    store.log(
        row(id="log-2", at=1_790_000_001.0, status=None, customer_identifier="\x1b[31m[bold]eve", cost=None)
    )
    store.close()
    return str(path)


@pytest.mark.parametrize("rich", [True, False])
def test_calls_are_listed(kept, monkeypatch, rich) -> None:
    """The newest first; what would act on a terminal, or be read as markup, is shown as it is."""
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    text = run("calls", "--store", kept)

    assert text.index("log-2") < text.index("log-1")
    assert "1,234 → 56" in text
    assert "$0.001234" in text
    assert "unknown" in text
    assert "\N{REPLACEMENT CHARACTER}[31m[bold]eve" in text
    assert "\x1b" not in text
    assert ("┃" in text) == rich


def test_calls_can_be_chosen(kept) -> None:
    """By fields that a store compares, and by number."""
    assert "log-1" in run("calls", "--store", kept, "--where", "status=200", "--where", "provider=openai")
    assert "log-" not in run("calls", "--store", kept, "--where", "status=429")
    assert "log-1" not in run("calls", "--store", kept, "--limit", "1")


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("status", "takes NAME=VALUE"),
        ("id=1", "NAME is one of environment, status"),
        ("status=x", "takes a number"),
    ],
)
def test_conditions_that_cannot_be_read(kept, where, message) -> None:
    """With those that can."""
    with pytest.raises(ConfigError, match=message):
        run("calls", "--store", kept, "--where", where)


def test_a_log_that_is_not_there(tmp_path) -> None:
    """No file is made by looking for one."""
    path = tmp_path / "missing.sqlite3"
    with pytest.raises(ConfigError, match="There is no file"):
        run("calls", "--store", str(path))

    assert not path.exists()


def test_a_log_on_a_server(monkeypatch) -> None:
    """A variable may say where, as everywhere; what is meant as a URL is not told."""
    monkeypatch.setenv("THE_STORE", "valkey://:canary@localhost/0")
    for store in ("env:THE_STORE", "valkey://:canary@localhost/0", "valkey:/:canary@localhost/0"):
        with pytest.raises(ConfigError, match="must begin with redis://") as caught:
            run("calls", "--store", store)
        assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my notes\n" * 99, "not a store"),
        (b"SQLite format 3\0" + b"\xff" * 999, "not a store"),
        (b"", "older release"),
    ],
    ids=["notes", "damaged", "empty"],
)
def test_looking_changes_no_file(tmp_path, content, message) -> None:
    """A file that is no log stays where it is, with its mode and what is in it, and no other one is made."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    path.chmod(0o644)
    with pytest.raises(StoreError, match=message):
        run("calls", "--store", str(path))

    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


# -- check


def test_check_tells_no_value(monkeypatch) -> None:
    """What is set and what is not, and which packages are there."""
    monkeypatch.setenv("RESPAN_API_KEY", "canary-key")
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    text = run("check")

    assert "RESPAN_API_KEY: set" in text
    assert "OPENROUTER_API_KEY: not set" in text
    assert "openai 3." in text or "openai 2." in text or "openai 1." in text
    assert "canary" not in text


def test_check_knows_what_is_not_installed(monkeypatch) -> None:
    """An absent extra is no error."""
    monkeypatch.setattr("respan_openai._checkup._PACKAGES", ("no-such-package-of-ours",))

    assert "no-such-package-of-ours (not installed)" in run("check")


def test_check_tries_a_file(tmp_path) -> None:
    """And says that it will do, or why not."""
    path = tmp_path / "serve.toml"
    path.write_text("[providers.e]\nkind = 'echo'")
    assert f"{path}: can be used" in run("check", "--config", str(path))

    path.write_text("[providers.e]\nkind = 'ech'")
    with pytest.raises(RespanError, match="`kind` must be one of"):
        run("check", "--config", str(path))


def test_check_asks_the_gateway_only_if_told_to(monkeypatch) -> None:
    """Any answer is a sign of life, and no key is sent."""

    class Refusing(Scripted):
        async def handle_async_request(self, request):
            self.requests.append(request)
            import httpx2

            return httpx2.Response(401)

    gateway = Refusing()
    with served(gateway) as base:
        monkeypatch.setenv("RESPAN_BASE_URL", f"{base}/api")
        assert "answers" not in run("check")
        assert gateway.requests == []
        assert "The gateway answers (HTTP 401)." in run("check", "--reach")

    (request,) = gateway.requests
    assert request.url.path == "/api/models"
    assert "authorization" not in request.headers
    assert "cannot be reached (ConnectionRefusedError)" in run("check", "--reach")


def test_check_asks_something_else(monkeypatch) -> None:
    """Whatever answers in another language is no gateway, and that is a line as well."""

    def answer(listener: socket.socket) -> None:
        with listener.accept()[0] as peer:
            peer.recv(65536)
            peer.sendall(b"220 mail.example ESMTP\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("RESPAN_BASE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}/api")
        mail = threading.Thread(target=answer, args=(listener,))
        mail.start()
        assert "cannot be reached (BadStatusLine)" in run("check", "--reach")
        mail.join()


def test_check_is_told_that_all_is_well(monkeypatch) -> None:
    """A gateway that lists its models."""
    from respan_openai.local import LocalGateway

    with served(LocalGateway.echo()) as base:
        monkeypatch.setenv("RESPAN_BASE_URL", f"{base}/api")
        assert "The gateway answers (HTTP 200)." in run("check", "--reach")
