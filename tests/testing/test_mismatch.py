"""What is said about a request that no recording answers."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing._noise import suggested
from respan_openai.testing.closest import MOST_CANDIDATES, closest
from respan_openai.testing.difference import differences
from respan_openai.testing.match import Library, Miss, Rules
from respan_openai.testing.mismatch import MOST_LINES, WIDTH, CassetteMismatch, describe, sent_from
from respan_openai.testing.recording import Answer, Json, Multipart, Part, Question, Recorded


FILE = "tests/cassettes/test_agent/test_refund.json"
TEST = "tests/test_agent.py::test_refund"


def ask(body: Any, path: str = "/chat/completions", **fields: Any) -> Question:
    """A question with a JSON body."""
    return Question("POST", path, body=Json(body), **fields)


def library(*questions: Question, **given: Any) -> Library:
    """A library of recordings of *questions*."""
    return Library([Recorded(question, Answer(200)) for question in questions], **given)


def missed(held: Library, question: Question) -> Miss:
    found = held.take(question)
    assert isinstance(found, Miss)
    return found


def said(held: Library, question: Question, **given: Any) -> list[str]:
    """The lines about *question*, which *held* does not answer."""
    about: dict[str, Any] = {
        "test": TEST,
        "file": FILE,
        "number": 2,
        "sent_from": None,
        "mode": "none",
        **given,
    }
    return describe(missed(held, question), question, **about).split("\n")


def say(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


# -- the whole text

SYSTEM = "You are the bot of a shop that sells shoes. Today is {}."


def chat(temperature: float, day: str, *more: str) -> dict[str, Any]:
    """A body of three messages, and *more* before the last."""
    says = ["Where is my parcel?", *more, "Bye."]
    messages = [say("system", SYSTEM.format(day)), *(say("user", text) for text in says)]
    return {"model": "gpt-5.5", "stream": True, "temperature": temperature, "messages": messages}


CHAT = ask(chat(0.2, "2026-11-20"))
OTHER = ask(chat(0.3, "2026-11-21", "hi"))
EMBEDDING = ask({"model": "e", "input": "x"}, "/embeddings")


def test_the_text_for_a_request_that_differs() -> None:
    """What was asked, from where, what is closest, what differs, what is left, and what to do."""
    held = library(EMBEDDING, CHAT, EMBEDDING)
    held.take(EMBEDDING)

    assert said(held, OTHER, sent_from="app/agent.py:41 in plan()") == [
        f"respan cassette: no recorded call matches call #2 of this test{FILE:>48}",
        f"  POST /chat/completions  model=gpt-5.5  stream{'sent from app/agent.py:41 in plan()':>63}",
        "  closest: recorded call 2 of 3, not yet used (88 % alike); 3 differences",
        "    temperature          0.2 → 0.3",
        "    messages[0].content  …9 words… shoes. Today is [-2026-11-20-]{+2026-11-21+}.",
        '    messages[2]          {+"role": "user", "content": "hi"+}  (inserted; later messages line up)',
        "  mode none.   used so far: 1/3.   also recorded, unused: call 3  POST /embeddings",
        '  intended?   pytest "tests/test_agent.py::test_refund" --respan-record=rewrite',
        r'  noise?      ignore = ["messages[0].content ~ \\d{4}-\\d\\d-\\d\\d"]',
    ]


def test_the_rule_that_is_proposed_works() -> None:
    """Copied into the configuration as it stands, it makes the difference go away."""
    line = said(library(CHAT), ask(chat(0.2, "2026-11-21")))[-1]
    scope: dict[str, Any] = {}
    exec(line.partition("?")[2].strip(), scope)  # noqa: S102 -- what a user would paste
    one, other = (
        ask({"messages": [say("system", SYSTEM.format(day))]}) for day in ("2026-11-20", "2027-01-02")
    )

    assert Rules(scope["ignore"]).key(one) == Rules(scope["ignore"]).key(other)


@pytest.mark.parametrize(
    ("held", "question", "exists", "headline", "advice"),
    [
        (library(), CHAT, False, "there is no recording yet, and {} needs one", "to record   pytest {} once"),
        (
            library(),
            CHAT,
            True,
            "the cassette holds no calls, and {} needs one",
            "to record   pytest {} rewrite",
        ),
        (
            library(CHAT),
            EMBEDDING,
            True,
            "nothing is recorded for POST /embeddings, which is {}",
            "to add it   pytest {} new",
        ),
        (library(CHAT), OTHER, True, "no recorded call matches {}", "intended?   pytest {} rewrite"),
        (
            library(EMBEDDING, CHAT, ordered=True),
            CHAT,
            True,
            "{} is out of order: it is recorded for later",
            "intended?   pytest {} rewrite",
        ),
    ],
)
def test_each_reason_has_its_own_words(
    held: Library, question: Question, exists: bool, headline: str, advice: str
) -> None:
    """And the command that puts it right: not everything has to be recorded anew."""
    lines = said(held, question, exists=exists)
    command = advice.replace("{} ", f'"{TEST}" --respan-record=')

    assert lines[0].startswith(f"respan cassette: {headline.format('call #2 of this test')}")
    assert f"  {command}" in lines


def test_a_question_once_too_often() -> None:
    """It tells how often it was recorded; there is no difference, and nothing to ignore."""
    held = library(CHAT, CHAT)
    held.take(CHAT)
    held.take(CHAT)
    lines = said(held, CHAT, number=3)

    assert lines[0].startswith("respan cassette: call #3 of this test is asked 3 times, but recorded 2 times")
    assert "  closest: recorded call 1 of 2, already used (100 % alike); no difference" in lines
    assert lines[-1] == f'  to add it   pytest "{TEST}" --respan-record=new'


def test_a_question_twice() -> None:
    """What happened once is told in the singular."""
    held = library(CHAT)
    held.take(CHAT)

    assert said(held, CHAT)[0].endswith("is asked 2 times, but recorded 1 time")


def test_whose_turn_it_is() -> None:
    """Elsewhere, its method and path say enough; at the same place, the differences are told."""
    assert "  expected now: recorded call 1 of 2, POST /embeddings" in said(
        library(EMBEDDING, CHAT, ordered=True), CHAT
    )
    lines = said(library(OTHER, CHAT, ordered=True), CHAT)

    assert "  expected now: recorded call 1 of 2, not yet used (88 % alike); 3 differences" in lines
    assert "    temperature          0.3 → 0.2" in lines


def test_a_recording_of_a_further_cassette() -> None:
    """Its number is one in that cassette."""
    held = Library([], extra=[[], [Recorded(CHAT, Answer(200))]])

    assert (
        "  closest: recorded call 1 of 1 of further cassette 2, not yet used (88 % alike); 3 differences"
        in said(held, OTHER)
    )


def test_without_pytest() -> None:
    """The advice is Python then."""
    lines = said(library(CHAT), OTHER, test=None, file='a "b".json')

    assert lines[0].startswith("respan cassette: no recorded call matches call #2     ")
    assert r'  intended?   cassette("a \"b\".json", mode="rewrite")' in lines


@pytest.mark.parametrize(
    "test",
    [
        TEST,
        f"{TEST}[a b]",
        f"{TEST}[$HOME]",
        f'{TEST}["x"]',
        f"{TEST}[`id`]",
        f"{TEST}[!x\\]",
        f"{TEST}[it's $1]",
    ],
)
def test_the_command_is_one_for_a_shell(test: str) -> None:
    """Names of parameters hold anything; the test is one word all the same."""
    line = next(line for line in said(library(CHAT), OTHER, test=test) if "intended?" in line)

    assert shlex.split(line) == ["intended?", "pytest", test, "--respan-record=rewrite"]
    assert not any(mark in line for mark in "$`!") or f"'{test[:10]}" in line


def test_what_does_not_fit_beside_gets_its_own_line() -> None:
    """A long path is not cut."""
    long = f"tests/{'x' * 150}.json"

    assert said(library(), CHAT, file=long, sent_from="y" * 99)[:4] == [
        "respan cassette: the cassette holds no calls, and call #2 of this test needs one",
        f"  {long}",
        "  POST /chat/completions  model=gpt-5.5  stream",
        f"  sent from {'y' * 99}",
    ]


def test_a_form_is_told_by_its_model() -> None:
    """Like any other request; a body that has no model is told by its path alone."""
    parts = Part("model", None, None, "whisper-1", "", 9), Part("stream", None, None, "true", "", 4)
    speech = Question("POST", "/audio/transcriptions", body=Multipart(parts))

    assert "  POST /audio/transcriptions  model=whisper-1  stream" in said(library(CHAT), speech)
    assert "  POST /a" in said(library(CHAT), ask([1], "/a"))
    assert "  POST /a" in said(library(CHAT), ask({"model": [], "stream": []}, "/a"))
    assert "  GET /b" in said(library(CHAT), Question("GET", "/b"))


def test_many_differences_are_counted() -> None:
    """As many as there is room for are told, then how many more there are."""
    lines = said(
        library(ask(dict.fromkeys(map(str, range(100)), 1))), ask(dict.fromkeys(map(str, range(100)), 2))
    )

    assert lines[2].endswith("; 100 differences")
    assert lines[3:5] == ["    0   1 → 2", "    1   1 → 2"]
    assert lines[47] == "    … and 56 more"
    assert len(lines) == 50


def test_a_text_for_two_books_is_short_too() -> None:
    """However long and however different: of each difference the beginning is told."""
    words = [" ".join(f"{mark}{at * at}" for at in range(6000)) for mark in "ab"]
    old, new = (ask({"messages": [say("user", f"{at} {text}") for at in range(60)]}) for text in words)
    lines = said(library(old), new)

    assert lines[2].endswith("; 60 differences")
    assert lines[3].startswith("    messages[0].content   0 [-a0 a1 a4")
    assert len(lines) <= MOST_LINES


NASTY = st.text(st.sampled_from("ab\n\x1b\u202e\ud800\\\"'$% 漢") | st.characters(), max_size=60)
BODIES = st.recursive(
    st.none() | st.integers() | NASTY | NASTY.map(lambda text: text * 40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NASTY, inner, max_size=4),
    max_leaves=10,
)


@given(
    old=BODIES,
    new=BODIES,
    path=NASTY,
    test=st.none() | NASTY,
    file=NASTY,
    sender=st.none() | NASTY,
    ordered=st.booleans(),
)
def test_whatever_was_asked_the_text_is_bounded(
    old: Any, new: Any, path: str, test: str | None, file: str, sender: str | None, ordered: bool
) -> None:
    """In lines, in the length of each that is not there to be copied, and nothing in it is obeyed by a
    terminal."""
    one, other = (ask({"x": body, "model": path}, path) for body in (old, new))
    held = library(one, one, ordered=ordered)
    held.take(one)
    if isinstance(held.peek(other), Recorded):
        return
    lines = said(held, other, test=test, file=file, sent_from=sender)
    copied = [
        line
        for line in lines
        if line.startswith(("  intended?", "  to add it", "  noise?")) or line in lines[1:4]
    ]

    assert len(lines) <= MOST_LINES
    assert all(line.isprintable() for line in lines)
    assert all(len(line) <= WIDTH for line in lines if line not in copied)


# -- the closest one


def test_the_closest_is_the_most_alike() -> None:
    """Among those with the same method and path, and of equally good ones the first that is not used."""
    far, near = ask({"a": "one two three"}), ask({"a": "one two four"})
    held = library(far, ask({"a": "one two four five"}, "/b"), near, near)
    held.take(near)
    question = ask({"a": "one two four five"})
    found = closest(missed(held, question), question)

    assert found is not None
    assert (found.held.number, found.is_elsewhere) == (4, False)
    assert found.likeness == pytest.approx(6 / 7)
    assert found.differences == tuple(differences(near, question))


def test_there_is_no_closest_elsewhere() -> None:
    """Another path is another thing altogether."""
    assert closest(missed(library(CHAT), EMBEDDING), EMBEDDING) is None


def test_the_search_for_the_closest_ends() -> None:
    """Only so many recordings are looked at."""
    questions = [ask({"a": f"b{at} b b"}) for at in range(MOST_CANDIDATES)]
    question = ask({"a": "c b b d"})
    found = closest(missed(library(*questions, ask({"a": "c b b"})), question), question)

    assert found is not None
    assert found.held.number == 1


def test_what_is_ignored_counts_neither_for_nor_against() -> None:
    """The closest one is judged by what is compared."""
    held = library(ask({"id": "x y z", "a": "q"}), ask({"id": "1", "a": "p r s"}), rules=Rules(["id"]))
    question = ask({"id": "x y z", "a": "p r t"})
    found = closest(missed(held, question), question)

    assert found is not None
    assert found.held.number == 2
    assert [each.path for each in found.differences] == ["a"]


# -- noise


def proposed(old: Any, new: Any) -> list[str]:
    """Rules for what differs between two bodies."""
    return suggested(differences(ask(old), ask(new)))


@pytest.mark.parametrize(
    ("old", "new", "pattern"),
    [
        ("2026-11-20", "2026-11-21", r"\d{4}-\d\d-\d\d"),
        (
            "at 2026-11-20T10:00:00Z",
            "at 2026-11-21T11:30:00Z",
            r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?",
        ),
        ("at 9:05 now", "at 10:15 now", r"\d\d?:\d\d(?::\d\d(?:\.\d+)?)?"),
        ("on 20.11.2026", "on 21.11.2026", r"\d\d?[/.]\d\d?[/.]\d{4}"),
        ("took 3.25 s", "took 4.1 s", r"\d+(?:\.\d+)*"),
        (
            "id 8f14e45f-ceea-467f-a0a4-4a1b2c3d4e5f",
            "id 45c48cce-2e2d-4fbd-8a2f-1a2b3c4d5e6f",
            r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
        ),
        ("commit 9f2c41ab", "commit 45c48cce", r"[0-9a-f]{8,}"),
        ("call_9f2Xq1 is", "call_Zr81bb is", "call_[A-Za-z0-9]+"),
        ("toolu-call_9f2Xq1", "toolu-call_Zr81bb", r"toolu\-call_[A-Za-z0-9]+"),
        ("2026-11-20, take 1", "2026-11-21, take 2", r"\d{4}-\d\d-\d\d|\d+(?:\.\d+)*"),
    ],
)
def test_noise_is_known_by_its_shape(old: str, new: str, pattern: str) -> None:
    """The rule finds all that differs, and leaves the rest to be compared."""
    rules = proposed({"a": old}, {"a": new})

    assert rules == [f"a ~ {pattern}"]
    assert Rules(rules).key(ask({"a": old})) == Rules(rules).key(ask({"a": new}))
    assert Rules(rules).key(ask({"a": old})) != Rules(rules).key(ask({"a": f"{new} x"}))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("be nice", "be rude"),
        ("be nice 1", "be rude 2"),
        ("call_abcdefg", "call_hijklmn"),
        ("call_9f2Xq1", "run_9f2Xq1"),
        ("a", "a 2026-11-21"),
        ("2026-11-20", "yesterday"),
        (1, 2),
        ("x" * 50_001, "y" * 5),
        (None, "2026-11-20"),
    ],
)
def test_what_may_be_meant_is_no_noise(old: Any, new: Any) -> None:
    """Words, parameters, and what is only on one side: a rule for them would hide a change."""
    assert proposed({"a": old}, {"a": new}) == []


@pytest.mark.parametrize("field", ["metadata", "user", "safety_identifier", "prompt_cache_key"])
def test_labels_are_noise_whatever_they_hold(field: str) -> None:
    """No answer depends on them; parameters that are near them in name are meant."""
    assert proposed({field: "ada"}, {field: "bob"}) == [field]
    assert proposed({f"{field}s": "ada"}, {f"{field}s": "bob"}) == []


def test_fields_of_labels_are_noise() -> None:
    """Of the metadata only what differs, also where it is there on one side only."""
    old, new = (
        ask({"metadata": {"run": run, "x": 1}}, respan={"properties": {"a.b": run}}) for run in ("ada", "bob")
    )

    assert suggested(differences(old, new)) == ["metadata.run", 'respan.properties["a.b"]']
    assert proposed({"metadata": {"x": 1}}, {"metadata": {}}) == ["metadata.x"]


def test_a_rule_for_messages_that_moved() -> None:
    """A number would be right on one side only."""
    old = {"messages": [say("user", "the time is 10:00 now")]}
    new = {"messages": [say("system", "be nice"), say("user", "the time is 10:01 now")]}

    assert proposed(old, new)[0].startswith("messages[*].content ~ ")


def test_few_rules_are_proposed() -> None:
    """And none twice: whoever needs more should not ignore, but normalize."""
    assert len(proposed({str(at): "1" for at in range(9)}, {str(at): "2" for at in range(9)})) == 4
    assert len(proposed({"a": ["x", "at 1", "at 2"]}, {"a": ["at 3", "at 4"]})) == 1


# -- who sent it


def calling(name: str, file: str, inner: Any) -> Any:
    """A function of the module *name* in *file* that calls *inner*."""
    code = compile("\ndef send():\n    return inner()\n", file, "exec").co_consts[0]
    return FunctionType(code, {"__name__": name, "inner": inner})


LIBRARIES = [
    "openai._base_client",
    "httpx2",
    "httpx._client",
    "httpcore2.pool",
    "respan_openai._shim",
    "asyncio.tasks",
    "anyio.to_thread",
    "concurrent.futures.thread",
    "wrapt",
]


@pytest.mark.parametrize("module", LIBRARIES)
def test_the_sender_is_outside_of_libraries(module: str) -> None:
    """The innermost line of the user's own; here, one of this test."""
    found = calling(module, "/x/lib.py", sent_from)()

    assert found is not None
    assert found.endswith(" in test_the_sender_is_outside_of_libraries()")
    assert found.startswith(("tests/testing/test_mismatch.py:", str(Path(__file__))))


def test_the_sender_is_a_path_from_here() -> None:
    """Relative below the working directory, else absolute."""
    near = calling("app.agent", str(Path.cwd() / "app" / "agent.py"), sent_from)
    far = calling("app.agent", "/far/agent.py", sent_from)

    assert near() == "app/agent.py:3 in send()"
    assert far() == "/far/agent.py:3 in send()"


def test_the_sender_is_not_in_a_framework() -> None:
    """Installed code that lies between counts only where nothing else is left."""
    framework = calling(
        "framework", "/venv/lib/python3/site-packages/framework.py", calling("openai", "/o.py", sent_from)
    )

    assert calling("app", "/app.py", framework)() == "/app.py:3 in send()"


def test_a_sender_outside_of_functions() -> None:
    """A module's own lines have no name to call."""
    scope: dict[str, Any] = {"__name__": "script", "sent_from": sent_from}
    exec(compile("found = sent_from()", "/script.py", "exec"), scope)  # noqa: S102 -- a module's own line

    assert scope["found"] == "/script.py:1 in <module>"


def test_no_sender_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """If everybody is a library, as in a thread that one of them started."""
    everybody = {str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame in frames()}
    monkeypatch.setattr(sys, "stdlib_module_names", sys.stdlib_module_names | everybody)

    assert sent_from() is None


def frames() -> list[Any]:
    found, frame = [], sys._getframe()
    while frame is not None:
        found.append(frame)
        frame = frame.f_back  # type: ignore[assignment]
    return found


# -- the exception


def test_no_except_exception_hides_it() -> None:
    """It is none, and its text is the message."""
    assert not issubclass(CassetteMismatch, Exception)
    assert str(CassetteMismatch("text")) == "text"
