"""``respan-openai cassettes``, as somebody uses it: with real files, and what it prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from respan_openai.testing._files import removed, write
from respan_openai.testing.commands import PASSED_ON, main
from respan_openai.testing.errors import CassetteError
from respan_openai.testing.format import loads
from respan_openai.testing.leftovers import Leftovers, Unused, noted, read_leftovers, written_leftovers
from respan_openai.testing.names import file_of
from respan_openai.testing.recording import (
    Answer,
    Chunk,
    Failure,
    Json,
    Multipart,
    Part,
    Question,
    Raw,
    Recorded,
    Tape,
)
from respan_openai.testing.secrets import Secrets


CANARY = "canary-4711-secret-value"
TEST = "tests/test_agent.py::test_refund"

USER = {"role": "user", "content": "Where is\nmy refund?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"id": 7}'}}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The working directory, in which nothing else is, and no environment variable that holds a secret."""
    for name in ("OPENAI_API_KEY", "RESPAN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered(value: Any, **fields: Any) -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    kind = fields.pop("kind", "application/json")
    return Answer(200, (("content-type", kind),), (Chunk(412, body),) if body else ())._replace(**fields)


def said(text: str, *calls: Any) -> Answer:
    message = {"role": "assistant", "content": text, **({"tool_calls": calls} if calls else {})}
    return answered({"model": "m", "choices": [{"message": message}], "usage": {"total_tokens": 3}})


def asked(*messages: Any, **fields: Any) -> Question:
    return Question("POST", "/chat/completions", body=Json({"model": "m", "messages": [*messages]}), **fields)


CHAT = Recorded(asked(USER, via="respan", respan={"customer_identifier": "u1"}), said("On Monday."))
EMBED = Recorded(
    Question("POST", "/embeddings", body=Json({"model": "e", "input": [1, 2]})), answered({"data": []})
)
SPEECH = Recorded(
    Question("POST", "/audio/speech", body=Json({"model": "tts", "input": "hi"})),
    answered(b"\xff\x00" * 4000, kind="audio/mpeg"),
    "vcr",
)


def but(call: Recorded, **fields: Any) -> Recorded:
    """*call*, with other *fields*."""
    return Recorded(**{"question": call.question, "answer": call.answer, "origin": call.origin, **fields})


def kept(path: str | Path, *calls: Recorded, **fields: Any) -> Path:
    """A cassette of *calls*."""
    target = Path(path)
    write(target, Tape(calls, **{"test": TEST, "recorded": "2026-11-21", **fields}), Secrets({}))
    return target


def calls_of(path: Path) -> tuple[Recorded, ...]:
    return loads(path.read_bytes(), lambda name: (path.parent / name).read_bytes()).calls


def run(capsys, *argv: object) -> tuple[int, str, str]:
    """What the command returns, prints, and says on standard error."""
    code = main([str(word) for word in argv])
    return code, *capsys.readouterr()


# -- check


def test_nothing_to_see_to(capsys) -> None:
    """It is said how many were looked at: of a folder only cassettes."""
    Path("cassettes/folder.json").mkdir(parents=True)
    kept("cassettes/a/x.json", CHAT, SPEECH)
    Path("cassettes/package.json").write_text('{"name": "other"}')

    assert run(capsys, "check", "cassettes") == (0, "1 cassette, nothing found\n", "")


@pytest.mark.parametrize(
    ("command", "out"),
    [
        ("check", "0 cassettes, nothing found\n"),
        ("show", "0 cassettes\n"),
        ("ls", "0 cassettes\n"),
    ],
)
def test_a_folder_without_cassettes(command, out, capsys) -> None:
    """It is told, for it may be the wrong one."""
    Path("empty").mkdir()

    assert run(capsys, command, "empty") == (0, out, "")


@pytest.mark.parametrize(
    "call",
    [
        but(CHAT, question=asked({"role": "user", "content": f"my key: {CANARY}"})),
        but(CHAT, answer=said(f"It is {CANARY}.")),
        but(SPEECH, answer=answered(CANARY.encode() + b"\xff\x00" * 4000, kind="audio/mpeg")),
    ],
)
def test_a_secret_is_found(call, capsys, monkeypatch) -> None:
    """In the file or beside it: the place and the variable are named, the value is not."""
    kept("x.json", EMBED, call)
    monkeypatch.setenv("SHOP_API_KEY", CANARY)

    code, out, err = run(capsys, "check", "x.json")

    assert code == 1
    assert out.startswith("x")
    assert "SHOP_API_KEY" in out
    assert CANARY not in out + err


@pytest.mark.parametrize(
    "text", ["", "{", '{"respan_cassette": 99, "calls": []}', '{"respan_cassette": 1, "odd": 1}']
)
def test_a_file_that_cannot_be_read_is_told(text, capsys) -> None:
    """By name, in one line; others are still looked at, and the file stays as it is."""
    Path("bad.json").write_text(text)
    kept("good.json", CHAT)

    code, out, _ = run(capsys, "check", "bad.json", "good.json")

    assert code == 1
    assert out.count("\n") == 1
    assert out.startswith("bad.json: ")
    assert Path("bad.json").read_text() == text


@pytest.mark.parametrize("command", ["check", "show", "ls", "scrub"])
def test_nothing_at_a_path(command, capsys) -> None:
    """A slip in a path is told, not taken for nothing to do."""
    assert run(capsys, command, "no/such") == (
        1,
        "",
        "respan-openai: no/such: there is no such file or folder.\n",
    )


def test_too_large_a_file(capsys) -> None:
    """It is not read into memory; nor is it taken for one without secrets."""
    with Path("x.json").open("wb") as file:
        file.truncate((64 << 20) + 1)

    shown, checked = run(capsys, "show", "x.json"), run(capsys, "check", "x.json")

    assert (shown[0], checked[0]) == (1, 1)
    assert "x.json: is larger than 64 MiB" in shown[2]
    assert "x.json: larger than 64 MiB, so nobody has looked for secrets" in checked[1]


# -- show


def test_a_conversation(capsys) -> None:
    """Who said what, in the order in which it was said, and what came back."""
    kept("x.json", CHAT, by="openai 3")

    assert run(capsys, "show", "x.json") == (
        0,
        """\
x.json  1 call, recorded 2026-11-21, with openai 3, for tests/test_agent.py::test_refund
1. POST /chat/completions  m  via respan
   respan      customer_identifier="u1"
   user        Where is
               my refund?
   ->          200  412 ms  usage {"total_tokens": 3}
   assistant   On Monday.
""",
        "",
    )


def lines_of(call: Recorded, capsys) -> list[str]:
    kept("x.json", call)
    return [line.strip() for line in run(capsys, "show", "x.json")[1].splitlines()[1:]]


LONG = "iVBORw0KGgo" + "A" * 400


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            SPEECH,
            [
                "1. POST /audio/speech  tts  (from vcr)",
                "user        hi",
                "->          200  412 ms",
                "<8000 B>",
            ],
        ),
        (
            EMBED,
            [
                "1. POST /embeddings  e",
                'body        {"model": "e", "input": [1, 2]}',
                "->          200  412 ms",
                '{"data": []}',
            ],
        ),
        (
            but(CHAT, question=asked(USER, CALL | {"role": "x"}), answer=said("", CALL)),
            [
                "1. POST /chat/completions  m",
                "user        Where is",
                "my refund?",
                f"x           {json.dumps(CALL | {'role': 'x'})}",
                '->          200  412 ms  usage {"total_tokens": 3}',
                "assistant",
                'calls       look({"id": 7})',
            ],
        ),
        (
            Recorded(
                asked(
                    {"role": "assistant", "content": None, "tool_calls": [CALL, {"id": "c2"}]},
                    {"role": "user", "content": [{"text": "Look"}, {"type": "image_url", "n": 1}]},
                    "bare",
                ),
                Answer(None, end="failed", failure=Failure("ReadTimeout", 300)),
            ),
            [
                "1. POST /chat/completions  m",
                'calls       look({"id": 7})',
                'calls       {"id": "c2"}',
                "user        Look",
                'user        {"type": "image_url", "n": 1}',
                "bare",
                "->          ReadTimeout after 300 ms",
            ],
        ),
        (
            Recorded(
                Question("POST", "/audio/transcriptions", (("a", "1"),), Multipart((
                    Part("model", None, None, "whisper", "00" * 32, 7),
                    Part("file", "a.wav", "audio/wav", None, "00" * 32, 350),
                ))),
                answered({"text": "hello"}, end="closed"),
            ),
            [
                "1. POST /audio/transcriptions?a=1",
                "model       whisper",
                "file        <a.wav, 350 B>",
                "->          200  412 ms  the reader left",
                "assistant   hello",
            ],
        ),
        (
            Recorded(Question("POST", "/x", body=Raw("text/plain", "hi", "00" * 32, 2)), Answer(204)),
            ["1. POST /x", "body        hi", "->          204"],
        ),
        (
            Recorded(
                Question("POST", "/x", body=Raw(None, None, "00" * 32, 5000)),
                Answer(200, (), (Chunk(1, b"a"), Chunk(2, b"b"))),
            ),
            ["1. POST /x", "body        <5000 B>", "->          200  2 chunks  2 ms", "ab"],
        ),
    ],
)  # fmt: skip
def test_what_there_is_to_say(call, expected, capsys) -> None:
    """Uploads, calls of tools, failures and bytes have their words too."""
    assert [line for line in lines_of(call, capsys) if line] == expected


def test_base64_is_told_by_its_size(capsys) -> None:
    """An image of megabytes is one word."""
    parts = [{"type": "text", "text": LONG}]

    assert "<png 308 B sha" in "\n".join(lines_of(but(CHAT, question=asked({"content": parts})), capsys))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text())
def test_nothing_that_a_terminal_obeys(text) -> None:
    """Whatever a model said, the lines hold only what prints."""
    from respan_openai.testing._conversation import conversation

    message = {"role": text, "content": text, "tool_calls": [{"function": {"name": text}}]}
    call = Recorded(asked(message, respan={text: text}, via=text), said(text), text)

    assert all(line.isprintable() for line in conversation(1, call))


def test_one_call(capsys) -> None:
    """The number is that of the list."""
    kept("x.json", CHAT, EMBED, CHAT)

    _, out, _ = run(capsys, "show", "x.json", "--call", 2)

    assert [line for line in out.splitlines() if line[0].isdigit()] == ["2. POST /embeddings  e"]


# -- diff


def test_no_difference(capsys) -> None:
    """Times and chunks do not matter, nor who recorded it."""
    body = CHAT.answer.chunks[0].data
    later = CHAT.answer._replace(chunks=(Chunk(1, body[:9]), Chunk(2, body[9:])))
    kept("a.json", CHAT, EMBED)
    kept("b.json", but(CHAT, answer=later), EMBED, recorded="2026-12-01")

    assert run(capsys, "diff", "a.json", "b.json") == (0, "", "")


def test_a_side_that_is_missing(capsys) -> None:
    """It is told by name, and is no difference."""
    kept("a.json", CHAT)

    assert run(capsys, "diff", "a.json", "b.json") == (
        1,
        "",
        "respan-openai: b.json: cannot be read (No such file or directory).\n",
    )


def test_differences(capsys) -> None:
    """Calls that ask alike are compared, wherever they stand; others are in one of the two only."""
    other = asked(USER, respan={"customer_identifier": "u2"})
    kept("a.json", EMBED, CHAT, SPEECH)
    kept("b.json", but(CHAT, question=other, answer=said("On Tuesday, I think.")), SPEECH, CHAT)

    code, out, _ = run(capsys, "diff", "a.json", "b.json")

    assert code == 1
    assert "- 1. POST /embeddings  e\n" in out
    assert "/audio/speech" not in out


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (said("On Tuesday."), "-> text  On [-Monday-]{+Tuesday+}."),
        (answered({"model": "m"}), "-> body.choices  is gone"),
        (CHAT.answer._replace(status=500), "-> status  was 2xx, is 5xx"),
        (
            CHAT.answer._replace(chunks=(Chunk(1, CHAT.answer.chunks[0].data.replace(b": 3", b": 4")),)),
            "->           says the same in other bytes",
        ),
    ],
)
def test_a_different_answer(answer, line, capsys) -> None:
    """What it says, its shape, and at least that something is different."""
    kept("a.json", CHAT)
    kept("b.json", but(CHAT, answer=answer))

    code, out, _ = run(capsys, "diff", "a.json", "b.json")

    assert code == 1
    assert out.startswith("  1. POST /chat/completions  m  via respan\n")
    assert line.split() in [each.split() for each in out.splitlines()]


def test_a_moved_call(capsys) -> None:
    """Where it stands now is told if anything else is different."""
    changed = but(CHAT, answer=said("No."))
    kept("a.json", CHAT)
    kept("b.json", EMBED, changed)

    assert run(capsys, "diff", "a.json", "b.json")[1].splitlines()[:2] == [
        "+ 1. POST /embeddings  e",
        "  1. POST /chat/completions  m  via respan  (now 2.)",
    ]


# -- ls, prune


def test_a_list(capsys) -> None:
    """A line for each: how many calls, how old, and what was not recorded here."""
    kept("c/a.json", CHAT, SPEECH, SPEECH)
    kept("c/b.json", CHAT, test=None, recorded=None)

    code, out, _ = run(capsys, "ls", "c")

    assert code == 0
    assert out.splitlines() == [
        "c/a.json  3 calls, 2 from vcr, recorded 2026-11-21, for tests/test_agent.py::test_refund",
        "c/b.json  1 call",
    ]


def test_a_list_of_everything(capsys) -> None:
    """Without a path it is what lies below the working directory."""
    kept("c/a.json", CHAT)

    assert run(capsys, "ls")[1].startswith("c/a.json  1 call,")


def reported(**leftovers: Any) -> Path:
    report = Path("report.json")
    report.write_text(written_leftovers(Leftovers(**{"unused": {}, **leftovers})))
    return report


def test_what_is_unused(capsys) -> None:
    """As the report has it, and then there is something to see to."""
    path = kept("a.json", CHAT, EMBED, SPEECH)
    report = reported(unused={"a.json": noted(path, [1, 3])}, orphans=("old.json",))

    assert run(capsys, "ls", "--unused", report) == (
        1,
        "a.json  calls 1, 3 of 3 unused\nold.json  belongs to no test\n",
        "",
    )
    one = reported(unused={"a.json": noted(path, [3])})
    assert run(capsys, "ls", "--unused", one)[1] == "a.json  call 3 of 3 unused\n"
    assert run(capsys, "ls", "--unused", reported()) == (0, "", "")


def test_prune(capsys) -> None:
    """Unused recordings go, and files in which none is left, with what lies beside them; all else stays."""
    some, none = kept("some.json", SPEECH, EMBED, SPEECH), kept("none.json", SPEECH)
    old, other = kept("old.json", SPEECH), kept("other.json", SPEECH)
    report = reported(
        unused={"some.json": noted(some, [1, 2]), "none.json": noted(none, [1])},
        orphans=("old.json", "gone.json"),
    )
    said_before = run(capsys, "prune", report, "--dry-run")
    before = sorted(map(str, Path().rglob("*")))

    code, out, _ = run(capsys, "prune", report)

    assert said_before[0] == 0
    assert said_before[1].splitlines() == [
        "some.json: 2 of 3 recordings would be dropped",
        "none.json: would be removed",
        "old.json: would be removed",
    ]
    assert code == 0
    assert out == "some.json: 2 of 3 recordings dropped\nnone.json: removed\nold.json: removed\n"
    assert "some.d/3.mp3" in before
    assert sorted(map(str, Path().rglob("*"))) == [
        "other.d", "other.d/1.mp3", "other.json", "report.json", "some.d", "some.d/1.mp3", "some.json",
    ]  # fmt: skip
    assert calls_of(some) == (SPEECH,)
    assert calls_of(other) == (SPEECH,)
    assert not old.exists()


def test_a_stale_report(capsys) -> None:
    """The numbers may be those of other calls by now, so the file is left alone."""
    path = kept("a.json", CHAT, EMBED)
    report = reported(unused={"a.json": noted(path, [1]), "gone.json": Unused("00", (1,))})
    kept("a.json", EMBED, CHAT)

    listed = run(capsys, "ls", "--unused", report)
    code, out, _ = run(capsys, "prune", report)

    assert listed[0] == 1
    assert listed[1].count("not the file of the report any more. Run the tests again.") == 2
    assert code == 1
    assert out.count("left alone") == 2
    assert calls_of(path) == (EMBED, CHAT)


def test_what_is_no_cassette_is_not_removed(capsys) -> None:
    """A report that somebody has edited removes nothing else."""
    Path("precious.txt").write_text("1")

    code, _, err = run(capsys, "prune", reported(orphans=("precious.txt",)))

    assert code == 1
    assert "precious.txt" in err
    assert Path("precious.txt").exists()


REPORT = {"respan_leftovers": 1, "unused": {}, "orphans": []}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 5000,
        json.dumps({**REPORT, "respan_leftovers": 2}),
        json.dumps({**REPORT, "orphans": [1]}),
        json.dumps({**REPORT, "orphans": None}),
        json.dumps({**REPORT, "unused": {"a": {"sha256": "00", "calls": [0]}}}),
        json.dumps({**REPORT, "unused": {"a": {"sha256": "00", "calls": "12"}}}),
        json.dumps({**REPORT, "unused": {"a": {"calls": [1]}}}),
        json.dumps({**REPORT, "unused": {"a": {"sha256": 1, "calls": [1]}}}),
        json.dumps({**REPORT, "unused": [1]}),
    ],
)
def test_no_report(content) -> None:
    """Anything else is told in one line, with how to get one."""
    Path("r.json").write_text(content)

    with pytest.raises(
        CassetteError, match=r"r.json: no report of unused recordings.*--respan-cassette-report"
    ):
        read_leftovers(Path("r.json"))


@pytest.mark.parametrize("command", ["check", "show", "ls"])
def test_a_file_that_cannot_be_opened(command, capsys) -> None:
    """It is told by name, whatever the reason."""
    path = kept("x.json", SPEECH)
    Path("x.d/1.mp3").unlink()
    Path("x.d/1.mp3").symlink_to("nowhere")

    code, out, err = run(capsys, command, path)

    assert code == 1
    assert (out + err).count("x.json") == 1


def test_no_report_there(capsys) -> None:
    """A report that does not exist is told by name."""
    assert (
        run(capsys, "prune", "r.json")[2]
        == "respan-openai: r.json: cannot be read (No such file or directory).\n"
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.text(), st.builds(Unused, st.text(), st.lists(st.integers(1)).map(tuple))),
    st.lists(st.text()).map(tuple),
)
def test_a_report_comes_back(unused, orphans) -> None:
    """What is written is what is read."""
    path = Path("r.json")
    leftovers = Leftovers(unused, orphans)
    path.write_text(written_leftovers(leftovers), encoding="utf-8", errors="surrogatepass")

    assert read_leftovers(path) == leftovers


# -- mv


OLD, NEW = "tests/test_agent.py::test_refund[eur-de]", "tests/test_agent.py::test_refund[de-eur]"


@pytest.mark.parametrize(
    ("old", "new", "where", "target", "nested"),
    [
        (OLD, NEW, "tests/cassettes", "tests/cassettes", False),
        (OLD, "tests/test_agent.py::T::test_b", "tests/cassettes", "tests/cassettes", False),
        (OLD, "tests/a/test_b.py::test_c", "tests/cassettes", "tests/a/cassettes", False),
        (OLD, "test_b.py::test_c", "tests/cassettes", "cassettes", False),
        (OLD, "tests/a/test_b.py::test_c", "shared", "shared", False),
        (OLD, "tests/a/test_b.py::test_c", "shared", "shared", True),
        ("test_a.py::test_b", "tests/test_a.py::test_b", "cassettes", "tests/cassettes", False),
    ],
)
def test_a_renamed_test(old, new, where, target, nested, capsys) -> None:
    """The file goes where the test's own is looked for, with what lies beside it, and says whose it is."""
    path = kept(file_of(old, Path(where), nested=nested), SPEECH, test=old)
    expected = file_of(new, Path(target), nested=nested)

    code, out, _ = run(capsys, "mv", path, new)

    assert (code, out) == (0, f"{path}: now {expected}\n")
    assert calls_of(expected) == (SPEECH,)
    assert json.loads(expected.read_text())["test"] == new
    assert sorted(each for each in Path().rglob("*") if each.is_file()) == sorted(
        [expected, expected.with_suffix(".d") / "1.mp3"]
    )


def test_a_name_that_is_taken(capsys) -> None:
    """Nothing is overwritten."""
    path = kept(file_of(OLD, Path("cassettes")), CHAT, test=OLD)
    taken = kept(file_of(NEW, Path("cassettes")), EMBED, test=NEW)

    code, _, err = run(capsys, "mv", path, NEW)

    assert code == 1
    assert "exists already" in err
    assert (calls_of(path), calls_of(taken)) == ((CHAT,), (EMBED,))


@pytest.mark.parametrize("test", [None, OLD])
def test_a_cassette_of_a_name_of_its_own(test, capsys) -> None:
    """One that is not named after its test is named in the test, and has to be renamed there."""
    path = kept("cassettes/shared.json", CHAT, test=test)

    code, _, err = run(capsys, "mv", path, NEW)

    assert code == 1
    assert "not named after the test that recorded it" in err
    assert path.exists()


# -- scrub


def test_scrub(capsys, monkeypatch) -> None:
    """A secret that has become known is replaced wherever it was; a clean file is not touched."""
    dirty = kept("dirty.json", EMBED, but(CHAT, question=asked({"role": "user", "content": CANARY})))
    clean = kept("clean.json", CHAT)
    before = clean.stat().st_mtime_ns
    monkeypatch.setenv("SHOP_TOKEN", CANARY)

    code, out, _ = run(capsys, "scrub", ".")

    assert (code, out) == (0, "dirty.json: 1 of 2 recordings redacted\n")
    assert CANARY not in dirty.read_text()
    assert "{{env:SHOP_TOKEN}}" in dirty.read_text()
    assert clean.stat().st_mtime_ns == before
    assert run(capsys, "check", ".") == (0, "2 cassettes, nothing found\n", "")
    assert run(capsys, "scrub", ".") == (0, "", "")


def test_scrub_by_rules(capsys) -> None:
    """What else is to go can be said by place or by pattern."""
    path = kept("x.json", CHAT)

    run(capsys, "scrub", path, "--redact", "messages[*].content", "--redact", "~ Mon[a-z]+")

    assert "refund" not in path.read_text().replace("test_refund", "")
    assert "Monday" not in path.read_text()


def test_what_cannot_be_written(capsys, monkeypatch) -> None:
    """The file is as it was, and nothing is left lying about."""
    path = kept("x.json", but(CHAT, question=asked({"role": "user", "content": CANARY})))
    before = path.read_bytes()
    monkeypatch.setenv("SHOP_TOKEN", CANARY)
    Path("x.d").write_text("in the way")
    big = Recorded(asked({"role": "user", "content": CANARY}), SPEECH.answer)
    Path("y.d").write_text("in the way")

    with pytest.raises(CassetteError, match=r"y.json: cannot be written"):
        write(Path("y.json"), Tape((but(big, question=EMBED.question),)), Secrets({}))
    with pytest.raises(CassetteError, match=r"x.json: not written, because it would hold a secret") as caught:
        write(path, Tape((big,)), Secrets({"SHOP_TOKEN": CANARY}))

    assert CANARY not in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(each.name for each in Path().iterdir()) == ["x.d", "x.json", "y.d"]


def test_half_a_file_is_never_left() -> None:
    """If a file cannot take its place, what was written so far is removed."""
    Path("x.json/in the way").mkdir(parents=True)

    with pytest.raises(CassetteError, match=r"x.json: cannot be written"):
        kept("x.json", CHAT)

    assert [each.name for each in Path().iterdir()] == ["x.json"]


def test_what_cannot_be_removed(capsys) -> None:
    """The file is named, in one line."""
    path = kept("x.json", SPEECH)
    Path("x.d/1.mp3").unlink()
    Path("x.d/1.mp3").mkdir()

    with pytest.raises(CassetteError, match=r"x.json: cannot be removed"):
        removed(path)


def test_the_mode_of_a_file_stays() -> None:
    """A cassette that only its owner may read stays so."""
    path = kept("x.json", CHAT)
    path.chmod(0o600)

    kept("x.json", EMBED)

    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_not_ours_stays_beside_a_cassette(capsys) -> None:
    """In the folder beside it only files with bodies are removed."""
    path = kept("x.json", SPEECH)
    Path("x.d/notes.md").write_text("mine")

    run(capsys, "prune", reported(orphans=("x.json",)))

    assert not path.exists()
    assert [each.name for each in Path("x.d").iterdir()] == ["notes.md"]


# -- import


YAML = f"""\
interactions:
- request:
    body: '{{"model": "m", "messages": [{{"role": "user", "content": "my key is {CANARY}"}}]}}'
    headers:
      authorization: [Bearer {CANARY}]
      content-type: [application/json]
    method: POST
    uri: https://api.openai.com/v1/chat/completions
  response:
    body: {{string: '{{"error": "Incorrect key {CANARY}"}}'}}
    headers: {{content-type: [application/json]}}
    status: {{code: 401, message: no}}
"""


def test_import(capsys) -> None:
    """The keys that were sent are replaced wherever they were, and whose recordings they are is known."""
    pytest.importorskip("yaml")
    Path("old").mkdir()
    Path("old/test_a.yaml").write_text(YAML)

    code, out, _ = run(capsys, "import", "vcr", "old/test_a.yaml", "--to", "new")

    assert (code, out) == (0, "old/test_a.yaml: 1 recording, now new/test_a.json\n")
    assert CANARY not in Path("new/test_a.json").read_text()
    (call,) = calls_of(Path("new/test_a.json"))
    assert (call.origin, call.question.path, call.answer.status) == ("vcr", "/chat/completions", 401)
    assert run(capsys, "check", "new")[0] == 0


def test_an_import_beside_the_file(capsys) -> None:
    """That is where it goes by default; a second one does not overwrite it."""
    pytest.importorskip("yaml")
    Path("a.yaml").write_text(YAML)

    first, second = run(capsys, "import", "vcr", "a.yaml"), run(capsys, "import", "vcr", "a.yaml")

    assert first[0] == 0
    assert second[0] == 1
    assert "a.json: exists already" in second[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [("no.yaml", "cannot be read (No such file"), ("bad.yaml", "interactions: expected a list")],
)
def test_what_cannot_be_imported(name, message, capsys) -> None:
    """The file is named, and nothing is written."""
    pytest.importorskip("yaml")
    Path("bad.yaml").write_text("a: 1")

    code, _, err = run(capsys, "import", "cassetter", name)

    assert code == 1
    assert err.startswith(f"respan-openai: {name}: {message}")
    assert [each.name for each in Path().iterdir()] == ["bad.yaml"]


# -- arguments


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        ([], 2, "usage: respan-openai cassettes"),
        (["odd"], 2, "invalid choice: 'odd'"),
        (["check"], 2, "usage: respan-openai cassettes check"),
        (["import", "odd", "x"], 2, "invalid choice: 'odd'"),
        (["show", "x", "--call", "one"], 2, "invalid int value"),
    ],
)
def test_arguments_that_cannot_be_read(argv, code, text, capsys) -> None:
    """The usage says what is expected, and the process would exit with 2."""
    found, out, err = run(capsys, *argv)

    assert (found, out) == (code, "")
    assert text in err


def test_help_tells_every_command(capsys) -> None:
    """One line for each."""
    code, out, _ = run(capsys, "--help")

    assert code == 0
    assert all(
        f"\n    {name} " in out for name in ("check", "show", "diff", "ls", "prune", "mv", "scrub", "import")
    )


def test_as_a_command_of_typer() -> None:
    """It hands its arguments on as they are, ``--help`` too, and exits with what comes back."""
    app = typer.Typer()
    app.command("other")(lambda: None)

    @app.command("cassettes", context_settings=PASSED_ON, add_help_option=False)
    def cassettes_command(context: typer.Context) -> None:
        raise typer.Exit(main(context.args))

    kept("x.json", CHAT)
    results = [
        CliRunner().invoke(app, ["cassettes", *argv]) for argv in (["ls", "x.json"], ["--help"], ["odd"])
    ]

    assert [each.exit_code for each in results] == [0, 0, 2]
    assert results[0].output.startswith("x.json  1 call")
    assert "usage: respan-openai cassettes" in results[1].output
