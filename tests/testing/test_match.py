"""Which recording answers which question, and what a rule lets differ."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing._paths import Wild, edited, parsed, written
from respan_openai.testing.errors import CassetteError
from respan_openai.testing.match import Held, Library, Miss, Rules, Taken
from respan_openai.testing.recording import Answer, Json, Multipart, Part, Question, Raw, Recorded


def ask(body: Any = None, **fields: Any) -> Question:
    """A question with a JSON body."""
    return Question("POST", fields.pop("path", "/chat/completions"), body=Json(body), **fields)


def recorded(*bodies: Any, **fields: Any) -> list[Recorded]:
    """A recording for each of *bodies*, told apart by its status."""
    return [Recorded(ask(body, **fields), Answer(200 + at)) for at, body in enumerate(bodies)]


def status(found: Taken | Miss) -> int | None:
    """By which a recording is known."""
    assert isinstance(found, Taken), found
    return found.recorded.answer.status


def missed(found: Taken | Miss) -> Miss:
    assert isinstance(found, Miss), found
    return found


def same(one: Question, other: Question, *ignore: str, **given: Any) -> bool:
    rules = Rules(ignore, **given)
    return rules.key(one) == rules.key(other)


# -- what is the same


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, -0.0, 1.0, 2.5, 1e22])
    | st.text("ab", max_size=2)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
)


def json_equal(one: Any, other: Any) -> bool:
    """JSON's own equality: true is not 1, and 1 is 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(json_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(json_equal, one, other))
    return isinstance(one, bool) is isinstance(other, bool) and type(one) not in {dict, list} and one == other


@given(one=VALUES, other=VALUES)
def test_questions_are_the_same_exactly_if_their_json_is(one: Any, other: Any) -> None:
    """No two different bodies share a key, and no two equal ones differ in it."""
    assert same(ask(one), ask(other)) is json_equal(one, other)


@given(value=VALUES, data=st.data())
def test_how_json_was_written_makes_no_difference(value: Any, data: st.DataObject) -> None:
    """Neither the order of keys nor the spelling of numbers."""

    def rewritten(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rewritten(value[key]) for key in data.draw(st.permutations(list(value)))}
        if isinstance(value, list):
            return [rewritten(item) for item in value]
        return float(value) if type(value) is int and data.draw(st.booleans()) else value

    assert same(ask(value), ask(rewritten(value)))


def test_where_it_was_sent_never_matters() -> None:
    """Neither the target nor the name of a deployment."""
    assert same(ask({}), ask({}, via="respan", deployment="x"))


@pytest.mark.parametrize(
    "other",
    [
        Question("GET", "/a", (("q", "1"),), Json({}), {"weight": 1}),
        Question("POST", "/b", (("q", "1"),), Json({}), {"weight": 1}),
        Question("POST", "/a", (("q", "2"),), Json({}), {"weight": 1}),
        Question("POST", "/a", (("q", "1"), ("q", "1")), Json({}), {"weight": 1}),
        Question("POST", "/a", (("q", "1"),), Json([]), {"weight": 1}),
        Question("POST", "/a", (("q", "1"),), None, {"weight": 1}),
        Question("POST", "/a", (("q", "1"),), Json({}), {"weight": 2}),
        Question("POST", "/a", (("q", "1"),), Multipart(()), {"weight": 1}),
    ],
)
def test_each_part_of_a_question_counts(other: Question) -> None:
    """Method, path, query, body, the kind of body, and the gateway's parameters."""
    assert not same(Question("POST", "/a", (("q", "1"),), Json({}), {"weight": 1}), other)


def test_null_is_not_the_same_as_nothing() -> None:
    """For a body as well as for a field in it."""
    assert not same(ask(None), Question("POST", "/chat/completions"))
    assert not same(ask({"stop": None}), ask({}))


def part(
    name: str = "file",
    filename: str | None = "a",
    kind: str | None = "t",
    text: str | None = None,
    sha: str = "1",
) -> Part:
    return Part(name, filename, kind, text, sha, 1)


def test_what_of_a_form_counts() -> None:
    """Content, names and types of files, the text of fields, and the order of those with one name."""
    base = ask()._replace(body=Multipart((part(), part("x", None, None, "1"), part("x", None, None, "2"))))
    parts = base.body.parts  # type: ignore[union-attr]
    others = [
        (parts[0]._replace(sha256="2"), *parts[1:]),
        (parts[0]._replace(filename="b"), *parts[1:]),
        (parts[0]._replace(type=None), *parts[1:]),
        (parts[0], parts[2], parts[1]),
        (parts[0], parts[1], parts[2]._replace(type="text/plain")),
        parts[:2],
    ]

    assert not any(same(base, base._replace(body=Multipart(other))) for other in others)
    assert same(base, base._replace(body=Multipart((parts[1], parts[0], parts[2]))))


def test_the_text_of_a_body_counts_where_it_is_known() -> None:
    """Otherwise its hash, so that replacing a secret in a recorded text is enough."""
    base = ask()._replace(body=Raw("a", "text", "1", 4))

    assert same(base, base._replace(body=Raw("a", "text", "2", 4)))
    assert not same(base, base._replace(body=Raw("b", "text", "1", 4)))
    assert not same(base._replace(body=Raw("a", None, "1", 4)), base._replace(body=Raw("a", None, "2", 4)))


# -- rules


BODY = {
    "model": "m",
    "metadata": {"run_id": "r1", "a.b": 1, "~": 2},
    "messages": [
        {"role": "system", "content": "Today is 2026-11-20."},
        {"role": "user", "content": [{"type": "text", "text": "on 2026-11-19"}]},
    ],
    "respan": {"x": 1},
}
PARAMS = {"customer_identifier": "u1", "properties": {"id": 1, "deep": [{"id": 2}]}}


@pytest.mark.parametrize(
    ("rule", "place", "value"),
    [
        ("metadata.run_id", ("metadata", "run_id"), "r2"),
        ("$.metadata.run_id", ("metadata", "run_id"), 7),
        ('metadata["a.b"]', ("metadata", "a.b"), 2),
        ('metadata["\\u007e"]', ("metadata", "~"), 3),
        ("metadata.*", ("metadata", "run_id"), 7),
        ("metadata", ("metadata",), None),
        ("messages[0].content", ("messages", 0, "content"), "x"),
        ("messages[-2].content", ("messages", 0, "content"), "x"),
        ("messages[*].content", ("messages", 1, "content"), []),
        ("messages[1]", ("messages", 1), "x"),
        ("**.text", ("messages", 1, "content", 0, "text"), "x"),
        ("**.**.text", ("messages", 1, "content", 0, "text"), "x"),
        ("messages.**", ("messages", 1, "content", 0, "text"), "x"),
        ("$.respan.x", ("respan", "x"), 2),
        ("$", ("model",), "n"),
        (r"messages[*].content ~ \d{4}-\d\d-\d\d", ("messages", 0, "content"), "Today is 2027-01-01."),
        (r"messages[*].content ~ \d{4}-\d\d-\d\d", ("messages", 1, "content", 0, "text"), "on 2027-01-01"),
        (r"** ~ \d{4}".replace("** ", "**.text "), ("messages", 1, "content", 0, "text"), "on 2027-11-19"),
    ],
)
def test_what_a_rule_lets_differ(rule: str, place: tuple[Any, ...], value: Any) -> None:
    """What stands at its place may be anything; without the rule it may not."""
    other = json.loads(json.dumps(BODY))
    at = other
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value

    assert not same(ask(BODY), ask(other))
    assert same(ask(BODY), ask(other), rule)


@pytest.mark.parametrize(
    ("rule", "other"),
    [
        ("metadata.run_id", {"b": 1}),
        ("metadata.run", {"run_id": 2}),
        ("run_id", {"run_id": 2}),
        ("metadata[0]", {"run_id": 2}),
        ("metadata.run_id ~ [a-z]", {"run_id": "r2"}),
        ("metadata.run_id ~ 1", {"run_id": 7}),
        ("respan.run_id", {"run_id": "r2"}),
        ("?run_id", {"run_id": "r2"}),
    ],
)
def test_what_a_rule_does_not_let_differ(rule: str, other: Any) -> None:
    """Nothing but its place, and of a text nothing but what its pattern finds."""
    assert not same(ask({"metadata": {"run_id": "r1"}}), ask({"metadata": other}), rule)


@pytest.mark.parametrize(
    ("rule", "params"),
    [
        ("respan.customer_identifier", {**PARAMS, "customer_identifier": "u2"}),
        ("respan.customer_identifier", {"properties": PARAMS["properties"]}),
        ("respan.properties.**.id", {**PARAMS, "properties": {"deep": [{}]}}),
        ("**.id", {**PARAMS, "properties": {"deep": [{"id": 3}]}}),
        ("respan", {}),
        ("respan.*", {"weight": 1}),
    ],
)
def test_rules_for_the_gateways_parameters(rule: str, params: Any) -> None:
    """They begin with ``respan``; a missing parameter is as good as another value."""
    assert same(ask(BODY, respan=PARAMS), ask(BODY, respan=params), rule)


def test_rules_for_the_query() -> None:
    """They begin with a question mark."""
    one, other = (ask(query=(("after", at), ("after", at), ("b", "1"))) for at in ("x", "y"))

    assert same(one, other, "?after")
    assert same(one, other, "?after[*]")
    assert not same(one, other, "?b")


def test_an_item_of_a_list_must_be_there() -> None:
    """A rule for items lets them differ, not be more or fewer."""
    assert same(ask({"a": [1, 2]}), ask({"a": [3, 4]}), "a[*]")
    assert not same(ask({"a": [1, 2]}), ask({"a": [1]}), "a[*]")
    assert not same(ask({"a": [1, 2]}), ask({"a": [2, 2]}), "a[1]")


def test_headers_are_compared_on_demand() -> None:
    """Only those that were named, and by any spelling."""
    one, other = (ask(headers=(("x-a", at), ("x-b", at))) for at in "12")

    assert same(one, other)
    assert not same(one, other, match=["header:X-A"])
    assert Rules(match=["header:X-A"]).headers == ("x-a",)
    assert same(one, other, "header:x-a", match=["header:x-a"])


def test_normalize_makes_both_sides_comparable() -> None:
    """Before anything is ignored; the recording itself stays as it is."""

    def lower(question: Question) -> Question:
        assert isinstance(question.body, Json)
        return question._replace(body=Json({"t": question.body.value["T"].lower()}))

    library = Library(recorded({"T": "A1"}), Rules(["t ~ \\d"], normalize=lower))

    assert status(library.take(ask({"T": "a2"}))) == 200
    assert library.used[0].question == ask({"T": "A1"})


def test_a_miss_is_told_by_the_path_that_is_compared() -> None:
    """A recording of another path that ``normalize`` makes the same one differs in its body, not in its path."""
    rules = Rules(normalize=lambda question: question._replace(path="/n"))

    found = Library(recorded("a", path="/one"), rules).take(ask("b", path="/two"))
    other = Library(recorded("a", path="/one")).take(ask("b", path="/two"))

    assert isinstance(found, Miss)
    assert isinstance(other, Miss)
    assert (found.reason, other.reason) == ("differs", "path")


def test_normalize_must_give_a_question() -> None:
    """A forgotten return is told as such."""
    with pytest.raises(CassetteError, match=r"^normalize returned NoneType instead of a Question; return"):
        Rules(normalize=lambda _: None).key(ask())  # type: ignore[arg-type, return-value]


def test_rules_are_added() -> None:
    """To those that there are, of which none is lost."""
    rules = Rules(["a"], ["header:x"], lambda question: question._replace(path="/p")).ignoring(["b"])

    assert rules.headers == ("x",)
    assert rules.key(ask({"a": 1, "b": 1}, path="/q")) == rules.key(ask({"a": 2, "b": 2}))
    assert repr(rules) == "Rules(2 places ignored, headers=('x',))"


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"ignore": [""]}, r"'' cannot be read as a path from '\.' on\. A path is names"),
        ({"ignore": ["a..b"]}, r"'a\.\.b' cannot be read as a path from '\.\.b' on"),
        ({"ignore": ["a[x].b"]}, r"from '\[x\]\.b' on"),
        ({"ignore": ["a b"]}, r"from ' b' on"),
        ({"ignore": ["a[0]b"]}, r"from 'b' on"),
        ({"ignore": ['a["\\x"]']}, "cannot be read as a path"),
        ({"ignore": ["a***"]}, "cannot be read as a path"),
        ({"ignore": ["**"]}, r"'\*\*' is no place in a request: it would leave nothing to compare"),
        ({"ignore": ["**.**"]}, "it would leave nothing"),
        ({"ignore": ["a ~ ("]}, r"'a ~ \(': what stands behind the ~ is no regular expression: missing \)"),
        ({"ignore": ["a ~ "]}, "there is no pattern behind the ~"),
        ({"ignore": "a"}, "ignore must be a list of strings, even of one"),
        ({"ignore": [1]}, "ignore must be a list of strings"),
        ({"match": "header:x"}, "match must be a list of strings"),
        ({"match": ["body"]}, r"'body' cannot be matched; match takes headers: header:x-tenant"),
        ({"match": ["header:"]}, "match takes headers"),
        ({"match": ["header:Authorization"]}, "the header holds a secret"),
    ],
)
def test_a_rule_that_cannot_be_read(rules: Any, message: str) -> None:
    """One line: the rule, what is wrong with it, and how it is written."""
    with pytest.raises(CassetteError, match=message) as raised:
        Rules(**rules)

    assert "\n" not in str(raised.value)


STEPS = st.text(max_size=4) | st.integers(-9, 9) | st.just(Wild.EACH)
PATHS = st.builds(
    lambda root, rest: (*root, *rest),
    st.sampled_from([("$",), ("respan",), ("?",), ("header:",), (Wild.DEEP,)]),
    st.lists(STEPS | st.sampled_from(["respan", "$", "?", "header:", "a~b", 'a"b', "a.b", "**"]), max_size=3),
)


@given(path=PATHS.filter(lambda path: path != (Wild.DEEP,)))
def test_a_path_that_is_written_is_read_as_the_same(path: tuple[Any, ...]) -> None:
    """Whatever its names are."""
    assert parsed(written(path)) == path
    assert repr(Rules([f"{written(path)} ~ x"])).startswith("Rules(1 ")


@given(value=VALUES, path=PATHS)
def test_following_a_path_changes_nothing_but_a_copy(value: Any, path: tuple[Any, ...]) -> None:
    """Questions are shared, and never written to."""
    before = json.dumps(value)
    edited({"$": value}, path, lambda _: "changed")

    assert json.dumps(value) == before


# -- taking


def test_equal_questions_get_their_answers_in_the_order_of_recording() -> None:
    """First in, first out, each once, whatever is asked in between."""
    library = Library(recorded("a", "b", "a", "a"))

    assert [status(library.take(ask(each))) for each in "aaba"] == [200, 202, 201, 203]
    assert [each.answer.status for each in library.used] == [200, 201, 202, 203]
    assert library.unused == ()


def test_a_recording_has_its_place() -> None:
    """A number from 1, in which source, and whether it was taken."""
    calls, more = recorded("a", "b"), recorded("c")
    library = Library(calls, extra=[more])

    assert library.take(ask("c")) == Taken(more[0], 1, 1)
    assert library.holds() == [
        Held(calls[0], 1, 0, False),
        Held(calls[1], 2, 0, False),
        Held(more[0], 1, 1, True),
    ]
    assert (len(library), library.used, repr(library)) == (2, (), "<Library of 2, 0 used>")


def test_further_sequences_answer_when_the_own_one_is_used_up() -> None:
    """In their order, each recording once, and they are never reported as unused."""
    library = Library(recorded("a"), extra=[recorded("b", "a"), recorded("c", "c", "a")])

    assert [status(library.take(ask("a"))) for _ in range(3)] == [200, 201, 202]
    assert missed(library.take(ask("a")))[2:4] == (3, 4)
    assert library.unused == ()


def test_one_question_too_many() -> None:
    """It is a miss that says how often it was recorded, and how often asked."""
    library = Library(recorded("a", "a"))
    found = [library.take(ask("a")) for _ in range(4)]

    assert missed(found[2]) == Miss("used up", library, recorded=2, asked=3)
    assert missed(found[3]) == Miss("used up", library, recorded=2, asked=4)


def test_the_last_answer_may_repeat() -> None:
    """Of the last sequence that has one, as often as asked; what was never recorded is a miss all the
    same."""
    library = Library(recorded("a", "a"), repeats="last", extra=[recorded("b", "x", "a")])

    assert [status(library.take(ask("a"))) for _ in range(5)] == [200, 201, 202, 202, 202]
    assert missed(library.take(ask("z"))).reason == "differs"


@pytest.mark.parametrize(
    ("calls", "question", "reason"),
    [
        ([], ask("a"), "empty"),
        (recorded("a"), ask("a", path="/b"), "path"),
        (recorded("a"), ask("a")._replace(method="GET"), "path"),
        (recorded("a"), ask("b"), "differs"),
    ],
)
def test_the_reason_of_a_miss(calls: Any, question: Question, reason: str) -> None:
    """Nothing recorded, nothing with this method and path, or nothing like it; it was asked for the first
    time."""
    library = Library(calls)

    assert library.take(question) == Miss(reason, library, recorded=0, asked=1)  # type: ignore[arg-type]
    assert library.peek(question) is None


def test_in_order() -> None:
    """What is recorded for later is a miss that tells whose turn it is, and uses nothing up."""
    calls = recorded("a", "b", "a")
    library = Library(calls, ordered=True)

    assert missed(library.take(ask("b"))) == Miss("order", library, 1, 1, Held(calls[0], 1, 0, False))
    assert [status(library.take(ask(each))) for each in "ab"] == [200, 201]
    assert missed(library.take(ask("b"))).reason == "used up"
    assert status(library.take(ask("a"))) == 202


def test_each_sequence_has_its_own_order() -> None:
    """What the own one does not have is taken from another, where its turn must have come."""
    library = Library(recorded("a", "b"), ordered=True, extra=[recorded("c", "d")])

    assert missed(library.take(ask("d"))).expected == library.holds()[2]
    assert [status(library.take(ask(each))) for each in "cadb"] == [200, 200, 201, 201]


def test_in_order_the_last_may_repeat() -> None:
    """A poll that goes on longer than it was recorded does not stop the sequence."""
    library = Library(recorded("a", "b"), ordered=True, repeats="last")

    assert [status(library.take(ask(each))) for each in "aaabb"] == [200, 200, 200, 201, 201]


def test_peeking_uses_nothing() -> None:
    """It shows what would be taken next."""
    library = Library(recorded("a", "a"))
    library.take(ask("a"))

    assert [library.peek(ask("a")), library.peek(ask("a"))] == [library.unused[0]] * 2


def test_rewinding() -> None:
    """Everything can be taken once more, in order too, and asked questions are forgotten."""
    library = Library(recorded("a", "b"), ordered=True)
    library.take(ask("a"))
    library.take(ask("z"))
    library.rewind()

    assert [status(library.take(ask(each))) for each in "ab"] == [200, 201]
    assert missed(library.take(ask("z"))).asked == 1


def test_other_rules_for_the_same_recordings() -> None:
    """What was taken stays taken, and the order goes on where it was."""
    library = Library(recorded({"a": 1}, {"a": 2}, {"a": 3}), ordered=True, extra=[recorded({"b": 1})])
    library.take(ask({"a": 1}))
    library.take(ask({"b": 1}))
    other = library.under(Rules(["a"]))

    assert [status(other.take(ask({"a": 9}))) for _ in range(2)] == [201, 202]
    assert missed(other.take(ask({"b": 1}))).reason == "used up"
    assert len(library.unused) == 2


def test_a_question_is_looked_up_once() -> None:
    """At the same cost however much is recorded: recordings are prepared beforehand."""
    prepared = []

    def counting(question: Question) -> Question:
        prepared.append(question)
        return question

    library = Library(recorded(*range(300)), Rules(normalize=counting))
    prepared.clear()
    found = library.take(ask(299))

    assert status(found) == 499
    assert prepared == [ask(299)]


def test_threads_never_share_a_recording() -> None:
    """However many ask at once, each gets one of its own."""
    threads, each = 8, 40
    library = Library(recorded(*["a"] * (threads * each - 5)))
    barrier = Barrier(threads)

    def run(_: int) -> list[Taken | Miss]:
        barrier.wait()
        return [library.take(ask("a")) for _ in range(each)]

    with ThreadPoolExecutor(threads) as pool:
        found = [one for many in pool.map(run, range(threads)) for one in many]

    assert sorted(one.number for one in found if isinstance(one, Taken)) == list(range(1, threads * each - 4))
    assert sorted(one.asked for one in found if isinstance(one, Miss)) == list(
        range(threads * each - 4, threads * each + 1)
    )


def test_numbers_that_no_json_has_are_no_error() -> None:
    """A recording that was written by hand may hold anything that Python reads."""
    assert same(ask({"a": math.nan}), ask({"a": math.nan}))
