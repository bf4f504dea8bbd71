"""What differs between two questions: the right place, in few words, at a bounded cost."""

from __future__ import annotations

import base64
import json
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing._alignment import Pair, paired
from respan_openai.testing._edits import MOST_EDITS, MOST_WORK, Run, Work, aligned, common
from respan_openai.testing._shown import clipped, label, printable, shown
from respan_openai.testing._words import MOST_CHARACTERS, Piece, merged, pieces, reworded
from respan_openai.testing.difference import Difference, differences, likeness, text_of
from respan_openai.testing.match import Rules
from respan_openai.testing.recording import Json, Multipart, Question


def ask(body: Any, **fields: Any) -> Question:
    """A question with a JSON body."""
    return Question("POST", "/chat/completions", body=Json(body), **fields)


def told(old: Any, new: Any, *ignore: str) -> list[tuple[str, str, str]]:
    """Path, text and note of each difference between two bodies."""
    found = differences(ask(old), ask(new), Rules(ignore))
    return [(each.path, text_of(each), each.note) for each in found]


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


# -- where


CHAT: dict[str, Any] = {
    "model": "m",
    "temperature": 0.2,
    "messages": [
        say("system", "You are a kind and patient bot. Today is 2026-11-20."),
        say("user", "Hello."),
        say("user", "Bye."),
    ],
}


def test_a_chat_that_changed() -> None:
    """A word, a message more, a number: each in its place, and the later messages line up."""
    messages = [
        say("system", "You are a kind and patient bot. Today is 2026-11-21."),
        say("user", "Hello."),
        say("user", "hi"),
        say("user", "Bye."),
    ]

    assert told(CHAT, {**CHAT, "messages": messages, "temperature": 0.3}) == [
        ("temperature", "0.2 → 0.3", ""),
        ("messages[0].content", "…6 words… bot. Today is [-2026-11-20-]{+2026-11-21+}.", ""),
        ("messages[2]", '{+"role": "user", "content": "hi"+}', "(inserted; later messages line up)"),
    ]


def test_a_message_less() -> None:
    """It has the number that it had; at the end there is nothing that could line up."""
    first, second, third = CHAT["messages"]

    assert told(CHAT, {**CHAT, "messages": [first, third]}) == [
        ("messages[1]", '[-"role": "user", "content": "Hello."-]', "(removed; later messages line up)")
    ]
    assert told(CHAT, {**CHAT, "messages": [first, second]}) == [
        ("messages[2]", '[-"role": "user", "content": "Bye."-]', "(removed)")
    ]


def test_a_changed_message_beside_an_inserted_one() -> None:
    """Those that are alike belong together, not those with the same number."""
    old = {"messages": [say("user", "one two three four"), say("user", "x")]}
    new = {
        "messages": [
            say("assistant", "something else entirely"),
            say("user", "one two three five"),
            say("user", "x"),
        ]
    }

    assert told(old, new) == [
        (
            "messages[0]",
            '{+"role": "assistant", "content": "something else entirely"+}',
            "(inserted; later messages line up)",
        ),
        ("messages[1].content", "one two three [-four-]{+five+}", ""),
    ]
    assert differences(ask(old), ask(new))[1].rule == "messages[*].content"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("a", "1 → true", "")]),
        ({"a": None}, {}, [("a", "[-null-]", "")]),
        ({}, {"a": {}}, [("a", "{+{}+}", "")]),
        ({"a": {"b.c": 1}}, {"a": {"b.c": "1"}}, [('a["b.c"]', '1 → "1"', "")]),
        ({"a": [1, 2, 3]}, {"a": [1, 5, 3]}, [("a[1]", "2 → 5", "")]),
        ({"a": [1]}, {"a": {"0": 1}}, [("a", '[1] → {"0": 1}', "")]),
        ([], {}, [("$", "[] → {}", "")]),
        ([1], [2], [("[0]", "1 → 2", "")]),
        ([[1, 2]], [[1]], [("[0][1]", "[-2-]", "(removed)")]),
        ("a", "b", [("$", '"a" → "b"', "")]),
        ("a b", "a c", [("$", "a [-b-]{+c+}", "")]),
    ],
)
def test_places_and_values(old: Any, new: Any, expected: Any) -> None:
    """By JSON's own equality, with paths that a rule would have."""
    assert told(old, new) == expected


def test_everything_that_is_compared_can_differ() -> None:
    """Method, path, kind of body, parameters, query and headers; what is not compared is not told."""
    old = Question("POST", "/a", (("q", "1"),), Json({}), {"x": 1}, "one", "d", (("x-a", "1"),))
    new = Question("GET", "/b", (("q", "2"),), Multipart(()), {"x": 2}, "two", "e", (("x-a", "2"),))
    found = differences(old, new, Rules(match=["header:x-a"]))

    assert [(each.path, each.rule) for each in found] == [
        ("(method)", None),
        ("(path)", None),
        ("(kind of body)", None),
        ("respan.x", "respan.x"),
        ("?q", "?q"),
        ("header:x-a", "header:x-a"),
    ]


def test_what_is_ignored_does_not_differ() -> None:
    """Neither a place, nor what a pattern finds; the rest of that text is told."""
    assert told({"id": 1, "t": "on 1 May"}, {"id": 2, "t": "on 2 June"}, "id", r"t ~ \d") == [
        ("t", "on {{ignored}} [-May-]{+June+}", "")
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.text("ab .", max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("a.$[", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(old=VALUES, new=VALUES)
def test_differences_are_told_exactly_if_the_questions_are_not_the_same(old: Any, new: Any) -> None:
    """And both ways round there are as many."""
    rules = Rules()
    found = differences(ask(old), ask(new))

    assert bool(found) is (rules.key(ask(old)) != rules.key(ask(new)))
    assert bool(found) is bool(differences(ask(new), ask(old)))


@given(old=VALUES, new=VALUES)
def test_ignoring_every_difference_makes_them_the_same(old: Any, new: Any) -> None:
    """The rule of a difference is one that works, wherever there is one."""
    one, other = ask({"x": old}), ask({"x": new})
    rules = [each.rule for each in differences(one, other)]

    if None not in rules:
        loose = Rules(rule for rule in rules if rule is not None)
        assert loose.key(one) == loose.key(other)


@given(old=VALUES, new=VALUES, work=st.integers(0, 30))
def test_with_little_work_nothing_is_missed(old: Any, new: Any, work: int) -> None:
    """Where it ends, a value counts as changed as a whole."""
    left = Work(work)

    assert bool(differences(ask(old), ask(new), work=left)) is bool(differences(ask(old), ask(new)))
    assert 0 <= left.left <= work


# -- alike


@given(old=VALUES, new=VALUES)
def test_likeness_is_between_0_and_1(old: Any, new: Any) -> None:
    """It is 1 exactly for what is the same, and the same both ways round."""
    old, new = (Rules().compared(ask(each)).tree["$"] for each in (old, new))

    assert 0 <= likeness(old, new) <= 1
    assert (likeness(old, new) == 1) is (json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True))
    assert likeness(old, new) == likeness(new, old)


def test_what_is_more_alike() -> None:
    """A word less counts less than a message less, and that less than another model with another prompt."""
    base = {
        "model": "m",
        "messages": [say("system", "be nice and kind to all"), say("user", "hello my friend")],
    }
    word = {**base, "messages": [say("system", "be nice and kind to all"), say("user", "hello my")]}
    message = {**base, "messages": base["messages"][:1]}
    other = {"model": "n", "messages": [say("user", "something else")]}
    found = [likeness(base, each) for each in (base, word, message, other)]

    assert found == sorted(found, reverse=True)
    assert len(set(found)) == 4
    assert likeness({"a": "x"}, {"b": "x"}) == likeness([], {}) == 0


# -- sequences


class Counted(str):
    """A word that counts how often words are compared."""

    compared = 0
    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other


WORDS = st.lists(st.sampled_from("abc"), max_size=9)


def longest(old: list[str], new: list[str]) -> int:
    """Length of the longest common subsequence, by trying all."""
    return next(
        size
        for size in range(len(old), -1, -1)
        if any(is_within(each, new) for each in combinations(old, size))
    )


def is_within(few: tuple[str, ...], many: list[str]) -> bool:
    rest = iter(many)
    return all(each in rest for each in few)


@given(old=WORDS, new=WORDS)
def test_what_is_common_is_as_long_as_can_be(old: list[str], new: list[str]) -> None:
    """Runs are equal in both, in order, never overlap, and end at both ends."""
    runs = common(old, new, Work())

    assert runs is not None
    assert all(
        old[run.old_at : run.old_at + run.size] == new[run.new_at : run.new_at + run.size] for run in runs
    )
    assert all(
        one.old_at + one.size <= two.old_at and one.new_at + one.size <= two.new_at
        for one, two in pairwise(runs)
    )
    assert sum(run.size for run in runs) == longest(old, new)
    assert runs[-1] == Run(len(old), len(new), 0)


ADVERSE = [
    (["a", "b"] * 2000, ["b", "a", "a"] * 1500),
    ([str(at) for at in range(5000)], [str(-at) for at in range(5000)]),
    (["a"] * 4000, ["b"] * 4000),
    (["x", *["a"] * 20_000, "y"], ["z", *["a"] * 20_001, "w"]),
    ([*"ab" * 3000], [*"ba" * 3000]),
    ([str(at * at % 7) for at in range(4000)], [str(at * at % 11) for at in range(4000)]),
]


@pytest.mark.parametrize(("old", "new"), ADVERSE)
@pytest.mark.parametrize("most", [10, 10_000, MOST_WORK])
def test_the_work_is_bounded(old: list[str], new: list[str], most: int) -> None:
    """No more words are compared than are paid for, plus one look at each and one slide beyond the last."""
    Counted.compared = 0
    common([*map(Counted, old)], [*map(Counted, new)], Work(most))

    assert Counted.compared <= most + 4 * (len(old) + len(new))


@given(old=st.lists(st.sampled_from("ab"), max_size=200), new=st.lists(st.sampled_from("ab"), max_size=200))
def test_any_two_sequences_are_cheap(old: list[str], new: list[str]) -> None:
    """The number of edits bounds the cost, not only the length."""
    Counted.compared = 0
    common([*map(Counted, old)], [*map(Counted, new)], Work())

    assert Counted.compared <= 2 * (len(old) + len(new) + 2) * (len(old) + len(new) + 2)


def test_too_many_edits_are_no_comparison() -> None:
    """Then the two have too little in common to be told apart word by word."""
    half = MOST_EDITS // 2

    assert common(["a"] * half, ["b"] * half, Work()) is not None
    assert common(["a"] * (half + 1), ["b"] * half, Work()) is None


ALIKE = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3), max_size=3)


@given(table=ALIKE)
def test_pairs_are_as_alike_as_can_be(table: list[list[float]]) -> None:
    """In sum, in order on both sides, and never without any likeness."""
    pairs = aligned(len(table), 3, lambda left, right: table[left][right])
    every = [
        [*zip(lefts, rights, strict=True)]
        for size in range(4)
        for lefts in combinations(range(len(table)), size)
        for rights in combinations(range(3), size)
    ]

    assert sum(table[left][right] for left, right in pairs) == max(
        sum(table[one][two] for one, two in each) for each in every
    )
    assert pairs in every
    assert all(table[left][right] for left, right in pairs)


@given(old=st.lists(VALUES, max_size=5), new=st.lists(VALUES, max_size=5))
def test_every_item_is_equal_to_another_or_in_one_pair(old: list[Any], new: list[Any]) -> None:
    """None is lost, none is told twice, and both sides are in order."""
    pairs = paired(old, new, Work())
    lefts = [pair.old for pair in pairs if pair.old is not None]
    rights = [pair.new for pair in pairs if pair.new is not None]
    rest = [
        [item for at, item in enumerate(items) if at not in done]
        for items, done in ((old, lefts), (new, rights))
    ]

    assert (lefts, rights) == (sorted(set(lefts)), sorted(set(rights)))
    assert json.dumps(rest[0], sort_keys=True) == json.dumps(rest[1], sort_keys=True)


def test_items_beyond_a_number_belong_together_in_order() -> None:
    """Trying all of them would cost too much."""
    old, new = [f"a{at} same" for at in range(11)], [f"b{at} same" for at in range(12)]

    assert paired(old, new, Work()) == [*(Pair(at, at) for at in range(11)), Pair(None, 11)]


def test_a_huge_body_is_told_as_a_whole() -> None:
    """At its end the message is still about the right field."""
    old = {"a": [{"b": [str(at)] * 3} for at in range(3000)], "z": 1}
    new = {"a": [{"b": [str(-at)] * 3} for at in range(1, 3001)], "z": 2}
    work = Work()
    found = differences(ask(old), ask(new), work=work)

    assert found[0].path == "a[0].b[0]"
    assert found[-1].path == "z"
    assert work.left >= 0
    assert {each.note for each in differences(ask(old), ask(new), work=Work(100))} == {
        "(too large to be compared closely)"
    }


# -- words


TEXTS = st.text(st.sampled_from("ab .\n-漢字"), max_size=40)


@given(old=TEXTS, new=TEXTS, work=st.sampled_from([0, 5, MOST_WORK]))
def test_pieces_are_all_of_both_texts(old: str, new: str, work: int) -> None:
    """Same and changed ones by turns, whatever the work, and also once they are merged."""
    cut = pieces(old, new, Work(work))

    for each in (cut, merged(cut)):
        assert ("".join(piece.old for piece in each), "".join(piece.new for piece in each)) == (old, new)
        assert all(one.is_same is not two.is_same for one, two in pairwise(each))
        assert Piece("", "") not in each


LONG = "one two three four five six seven eight nine ten. "


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("It is 2026-11-20.", "It is 2026-11-21.", "It is [-2026-11-20-]{+2026-11-21+}."),
        (
            "at 10:00:01, by a@b.c",
            "at 10:00:02, by a@b.d",
            "at [-10:00:01-]{+10:00:02+}, by [-a@b.c-]{+a@b.d+}",
        ),
        (f"{LONG * 20}end", f"{LONG * 20}end now", "…198 words… nine ten. end{+ now+}"),
        (f"a {LONG}{LONG}z", f"b {LONG}{LONG}y", "[-a-]{+b+} one two three […] eight nine ten. [-z-]{+y+}"),
        (f"a {LONG}", f"b {LONG}", "[-a-]{+b+} one two three […]"),
        ("a b c d", "x y c d", "[-a b-]{+x y+} c d"),
        ("a  b", "a b", "a [- -]b"),
        ("", "a b", "{+a b+}"),
        ("漢字です", "漢語です", "漢[-字-]{+語+}です"),
        (
            "id_" + "a" * 300,
            "id_" + "b" * 300,
            f"[-id_{'a' * 77}[…]{'a' * 80}-]{{+id_{'b' * 77}[…]{'b' * 80}+}}",
        ),
        ("x " + "a" * 300 + " c", "x " + "a" * 300 + " d", f"x {'a' * 78}[…]{'a' * 79} [-c-]{{+d+}}"),
    ],
)
def test_texts_word_by_word(old: str, new: str, expected: str) -> None:
    """Changes with a little of what is around them; the number of words tells where in the text they are."""
    assert reworded(old, new, Work()) == expected


def test_the_middle_of_long_texts_is_one_change() -> None:
    """What is equal at both ends is set aside first, so that only what changed counts."""
    same = "word " * MOST_CHARACTERS
    inner = "a " * MOST_CHARACTERS

    assert pieces(f"{same}x {same}", f"{same}y {same}", Work()) == [
        Piece(same, same),
        Piece("x", "y"),
        Piece(f" {same}", f" {same}"),
    ]
    assert pieces(f"s {inner}x", f"s {inner[::-1]}y", Work()) == [
        Piece("s ", "s "),
        Piece(f"{inner}x", f"{inner[::-1]}y"),
    ]


# -- values


PNG = base64.b64encode(b"\x89PNG\r\n" + bytes(33_600)).decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PNG, "<png 34 kB sha bfbcb94b…>"),
        (f"data:image/jpeg;base64,{PNG}", "<jpeg 34 kB sha bfbcb94b…>"),
        ("data:audio/wav;rate=1;base64,", "<wav 0 B sha e3b0c442…>"),
        ("A" * 201, "<base64 150 B sha "),
        ("_-" * 4_000_000, "<base64 6 MB sha "),
        ("A" * 199, None),
        ("A " * 300, None),
        ("data:text/plain,hello", None),
        ("", None),
    ],
)
def test_base64_is_shown_by_kind_and_size(text: str, expected: str | None) -> None:
    """With the hash of its content, as a checksum of the file would have it."""
    found = label(text)

    assert found is None if expected is None else found is not None and found.startswith(expected)


def test_an_image_that_changed() -> None:
    """Two labels, also within a message that was inserted."""
    other = base64.b64encode(b"\xff\xd8\xff" + bytes(300)).decode()

    assert told({"image": PNG}, {"image": other})[0][1].startswith(
        "<png 34 kB sha bfbcb94b…> → <jpeg 303 B sha "
    )
    assert (
        told({"a": []}, {"a": [{"url": PNG, "n": [1]}]})[0][1]
        == '{+"url": "<png 34 kB sha bfbcb94b…>", "n": [1]+}'
    )


@given(value=VALUES | st.text(max_size=300))
def test_a_value_is_one_printable_line(value: Any) -> None:
    """Of a bounded length, whatever is in it."""
    assert shown(value).isprintable()
    assert len(shown(value)) <= 200


def test_what_a_terminal_would_obey_is_escaped() -> None:
    """Controls, line ends, marks that change the direction of text, halves of characters."""
    assert printable("a\x1b[2J\n\u202e\ud800é") == r"a\x1b[2J\n\u202e\ud800é"
    assert text_of(Difference("p", "changed", "a \x1b b", "a \x1b c", None)) == r"a \x1b [-b-]{+c+}"


def test_a_long_value_is_cut_in_the_middle() -> None:
    """Both ends may be what differs."""
    assert clipped("a" * 100 + "b" * 100, 11) == "aaaa[…]bbbb"
    assert clipped("a" * 11, 11) == "a" * 11
