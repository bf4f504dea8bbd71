"""Rendering: templates that evaluate nothing, composition, and how prompt and request merge."""

from __future__ import annotations

import json
import re
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from respan_openai.local.contract import ContractError
from respan_openai.local.prompts import Prompts, PromptVersion, StoredPrompt
from respan_openai.local.rendering import _RENAMED, Rendered, ids_in, render, scan


CHAT, RESPONSES = "/chat/completions", "/responses"
SYSTEM = {"role": "system", "content": "S"}
ASKED = {"role": "user", "content": "asked"}
PROMPT_1 = {"prompt_id": "p"}
PROMPT_2 = {"prompt_id": "p", "schema_version": 2}


def user(content: Any) -> dict[str, Any]:
    """A user's message."""
    return {"role": "user", "content": content}


def prompts(**versions: Any) -> Prompts:
    """Prompts with one deployed version each: a template, or what a PromptVersion takes."""
    forms = {
        name: {"messages": [user(form)]} if isinstance(form, str) else form for name, form in versions.items()
    }
    return Prompts([StoredPrompt(name, {1: PromptVersion(**form)}, 1) for name, form in forms.items()])


def filled(template: Any, declared: dict[str, Any] | None = None, **variables: Any) -> Any:
    """The content of a message with the content *template*."""
    known = prompts(p={"messages": [user(template)], "variables": declared or {}})
    return render(CHAT, {}, {"prompt_id": "p", "variables": variables}, None, known).messages[0]["content"]


def refused(*args: Any) -> tuple[int, dict[str, Any]]:
    """Status and error of what *args* are answered with."""
    with pytest.raises(ContractError) as caught:
        render(*args)
    reply = caught.value.reply
    body = json.loads(reply.chunks[0])
    return reply.status, body.get("error", body)


# -- templates


#: The grammar of a placeholder, to compare with; possessive, so it cannot go back either.
PLACEHOLDER = re.compile(r"\{\{\s*+([A-Za-z_][A-Za-z0-9_.-]*+)\s*+\}\}")
_HOSTILE = st.text(st.sampled_from(["{", "}", " ", "\n", "a", "_", "7", ".", "é"]), max_size=30)


@given(template=_HOSTILE | st.lists(st.sampled_from(["{{a}}", "{{ b.c-1 }}", "{", "}", "x"])).map("".join))
def test_scan_finds_what_the_grammar_says(template: str) -> None:
    """Names are those between {{ and }}, with white space or without; all other text stays in its place."""
    pieces = PLACEHOLDER.split(template)

    assert list(scan(template)) == [*zip(pieces[0:-1:2], pieces[1::2], strict=True), (pieces[-1], None)]


class Counted(str):  # noqa: SLOT000 -- it has a counter
    """A template that counts the characters which are looked at."""

    looked_at = 0

    def find(self, sub: str, start: int = 0, *_: Any) -> int:  # type: ignore[override]
        found = super().find(sub, start)
        self.looked_at += (len(self) if found < 0 else found + len(sub)) - start
        return found

    def rfind(self, sub: str, start: int = 0, end: int | None = None) -> int:  # type: ignore[override]
        found = super().rfind(sub, start, end)
        self.looked_at += (len(self) if end is None else end) - max(found, start)
        return found

    def __getitem__(self, at: Any) -> str:
        piece = super().__getitem__(at)
        self.looked_at += len(piece)
        return piece


@pytest.mark.parametrize(
    "unit", ["{", "{{", "}}", "{{a", "{{ ", "a}}", "{{a}}", "{{{{a}}", "{{a}}}}", "{{}}", "{} "]
)
@pytest.mark.parametrize("end", ["", "}}"])
def test_scan_is_linear(unit: str, end: str) -> None:
    """A hostile template costs what its length says: no character is looked at over and over."""
    template = Counted(unit * (100_000 // len(unit)) + end)
    pieces = sum(1 for _ in scan(template))

    assert pieces >= 1
    assert template.looked_at <= 5 * len(template) + 5


@given(value=st.text(), before=st.text("ab{ ", max_size=3), after=st.text("ab} ", max_size=3))
def test_value_comes_out_verbatim(value: str, before: str, after: str) -> None:
    """Whatever a value holds, it stands in the text as it is, braces included."""
    assert filled(f"{before} {{{{x}}}} {after}", x=value) == f"{before} {value} {after}"


@pytest.mark.parametrize(
    "value",
    ["{{y}}", "{{x}}", "{{ 7*7 }}", "{0.__class__}", "%s", "${y}", "{% raw %}", "{{", "}}", "\\1", "\\g<0>"],
)
def test_value_is_never_a_template(value: str) -> None:
    """What a value holds is not scanned again, not even if it names another variable."""
    assert filled("{{x}} and {{y}}", x=value, y="why") == f"{value} and why"
    assert filled("{{{{x}}}}", x=value) == f"{{{{{value}}}}}"


@pytest.mark.parametrize(
    "template",
    ["{{ 7*7 }}", "{{a b}}", "{{}}", "{{ }}", "{a}", "{{7a}}", "{{a|upper}}", "{{é}}", "{{a()}}", "{{.a}}"],
)
def test_what_is_no_name_stays(template: str) -> None:
    """Expressions, filters and calls mean nothing: the text goes out as it was written."""
    assert filled(template, a="value") == template


@given(template=_HOSTILE.filter(lambda text: not PLACEHOLDER.search(text)))
def test_template_without_variables_is_untouched(template: str) -> None:
    """Text, text parts, other parts and other fields of messages come out as they went in."""
    part, image = {"type": "text", "text": template}, {"type": "image_url", "image_url": {"url": template}}
    call = {"role": "assistant", "tool_calls": [{"id": "{{x}}"}]}
    messages = [user(template), user([part, image]), {**user(template), "name": "{{x}}"}, call]

    assert render(CHAT, {}, PROMPT_1, None, prompts(p={"messages": messages})).messages == messages


def test_names_have_letters_digits_and_marks() -> None:
    """White space around a name does not count; case does."""
    assert filled("{{a}}{{ A_1 }}{{\n_b.c-d\t}}", a="1", A_1="2", **{"_b.c-d": "3"}) == "123"


# -- variables


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("text", "text"),
        (7, "7"),
        (0.5, "0.5"),
        (True, "true"),
        (["é", 1], '["é",1]'),
        ({"_type": "text", "value": "text"}, "text"),
        ({"_type": "json", "value": {"a": [1, None]}}, '{"a":[1,null]}'),
        ({"_type": "image_url", "value": "https://i"}, "https://i"),
    ],
)
def test_value_as_text(value: Any, text: str) -> None:
    """Text goes in as it is, an image as its URL, and everything else as compact JSON."""
    assert filled("<{{x}}>", x=value) == f"<{text}>"
    assert filled([{"type": "text", "text": "<{{x}}>"}], x=value) == [{"type": "text", "text": f"<{text}>"}]


def test_text_part_that_is_an_image() -> None:
    """A text part with nothing but an image in it becomes an image; with anything else it stays text."""
    parts = [{"type": "text", "text": text} for text in ("{{x}}", "{{x}} ", "{{x}}{{x}}", "{{y}}")]
    image = {"_type": "image_url", "value": "u"}

    assert filled(parts, x=image, y="text") == [
        {"type": "image_url", "image_url": {"url": "u"}},
        {"type": "text", "text": "u "},
        {"type": "text", "text": "uu"},
        {"type": "text", "text": "text"},
    ]


@pytest.mark.parametrize(
    ("declared", "value", "content"),
    [
        ("image_url", "u", {"type": "image_url", "image_url": {"url": "u"}}),
        ({"type": "image_url", "default": "u"}, None, {"type": "image_url", "image_url": {"url": "u"}}),
        ("json", {"_type": "json", "value": {}}, {"type": "text", "text": "{}"}),
        ("json", "{}", {"type": "text", "text": "{}"}),
        ({"type": "json", "default": {"a": 1}}, None, {"type": "text", "text": '{"a":1}'}),
        ({"default": "d"}, None, {"type": "text", "text": "d"}),
        ({"default": ""}, None, {"type": "text", "text": ""}),
        ({"default": "d"}, "given", {"type": "text", "text": "given"}),
        ({"default": "d"}, {"_type": "json", "value": {}}, {"type": "text", "text": "{}"}),
        ({"default": "{{x}}"}, None, {"type": "text", "text": "{{x}}"}),
    ],
)
def test_declaration_says_how_a_value_is_read(declared: Any, value: Any, content: Any) -> None:
    """A plain value has the declared type; the default stands in for a value that is missing or null."""
    assert filled([{"type": "text", "text": "{{x}}"}], {"x": declared}, x=value) == [content]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("text", {"_type": "image_url", "value": "u"}),
        ("image_url", {"_type": "text", "value": "u"}),
        ("image_url", 7),
        ("prompt", "p"),
        ("json", {"_type": "prompt", "prompt_id": "q"}),
    ],
)
def test_value_of_another_type_is_refused(declared: str, value: Any) -> None:
    """A value that contradicts the declaration would not be what the prompt's author counts on."""
    known = prompts(p={"messages": [user("{{x}}")], "variables": {"x": declared}}, q="text")
    status, error = refused(CHAT, {}, {"prompt_id": "p", "variables": {"x": value}}, None, known)

    assert (status, error["param"]) == (400, "prompt.variables.x")
    assert error["message"].endswith(f": {declared}.")


@pytest.mark.parametrize("variables", [{}, {"x": None}, {"X": "1"}])
def test_missing_variable_is_named(variables: dict[str, Any]) -> None:
    """A call that lacks a value is refused before a model is paid for nonsense."""
    status, error = refused(CHAT, {}, {"prompt_id": "p", "variables": variables}, None, prompts(p="{{x}}"))

    assert (status, error["param"], error["code"]) == (400, "prompt.variables.x", "missing_variable")
    assert "`prompt.variables.x`" in error["message"]


def test_unused_variables_are_fine() -> None:
    """A caller may pass what only another version uses."""
    assert filled("text", y="unused") == "text"


def test_variables_come_from_two_places() -> None:
    """The prompt's own variables win over the request's, name by name."""
    prompt = {"prompt_id": "p", "variables": {"x": "own"}}
    found = render(CHAT, {}, prompt, {"x": "outer", "y": "outer"}, prompts(p="{{x}} {{y}}"))

    assert found.messages == [user("own outer")]
    assert found.variables == {"x": "own", "y": "outer"}


def test_log_has_values_as_they_were_given() -> None:
    """Types are kept, and a default that was filled in is there too."""
    given = {"x": {"_type": "json", "value": {"a": 1}}, "y": 7}
    known = prompts(p={"messages": [SYSTEM], "variables": {"z": {"default": "d"}}})

    found = render(CHAT, {}, {"prompt_id": "p", "variables": given}, None, known)

    assert found.variables == {**given, "z": "d"}


# -- composition


def composed(prompt_id: str, **fields: Any) -> dict[str, Any]:
    """A variable that is a prompt."""
    return {"_type": "prompt", "prompt_id": prompt_id, **fields}


def test_child_is_rendered_first_and_flattened() -> None:
    """reference 003:3, "rendered first, flattened to plain text, and injected into the parent"."""
    child = {
        "messages": [
            {"role": "system", "content": "You serve {{who}}."},
            user([{"type": "text", "text": "{{z}}"}]),
        ]
    }
    value = composed("child", variables={"who": "Sarah", "z": "{{who}} {{outer}}"})
    prompt = {"prompt_id": "p", "variables": {"inner": value, "outer": "o"}}

    found = render(CHAT, {}, prompt, None, prompts(p="<{{inner}}> {{outer}}", child=child))

    text = "You serve Sarah.\n\n{{who}} {{outer}}"
    assert found.messages == [user(f"<{text}> o")]
    # "Resolved values appear in logs as `_rendered_result`", reference 003:3
    assert found.variables == {"inner": {**value, "_rendered_result": text}, "outer": "o"}


def test_image_of_a_child_is_its_url() -> None:
    """Nothing that a child says is lost in flattening: an image stays, as text."""
    child = {"messages": [user([{"type": "text", "text": "{{i}}"}])], "variables": {"i": "image_url"}}
    value = composed("child", variables={"i": "https://i"})

    found = render(
        CHAT, {}, {"prompt_id": "p", "variables": {"x": value}}, None, prompts(p="{{x}}", child=child)
    )

    assert found.messages == [user("https://i")]


@pytest.mark.parametrize(
    ("version", "text"), [({}, "deployed"), ({"version": 3}, "third"), ({"version": "latest"}, "newest")]
)
def test_child_has_a_version(version: dict[str, Any], text: str) -> None:
    """reference 003:3, "`version` - integer or "latest" (optional, defaults to deployed version)"."""
    texts = {1: "first", 2: "deployed", 3: "third", 4: "newest"}
    child = StoredPrompt("child", {key: PromptVersion(messages=[user(one)]) for key, one in texts.items()}, 2)
    known = {**prompts(p="{{x}}"), "child": child}
    prompt = {"prompt_id": "p", "variables": {"x": composed("child", **version)}}

    assert render(CHAT, {}, prompt, None, known).messages == [user(text)]


def test_child_does_not_see_its_parents_variables() -> None:
    """A child gets its own variables only (reference 003:3, "nested variables for the child prompt")."""
    prompt = {"prompt_id": "p", "variables": {"x": composed("child"), "who": "outer"}}
    status, error = refused(CHAT, {}, prompt, {"who": "outer"}, prompts(p="{{x}}", child="{{who}}"))

    assert (status, error["param"]) == (400, "prompt.variables.x.variables.who")


@pytest.mark.parametrize(
    ("variables", "code", "way"),
    [
        # "circular references return HTTP 400", reference 003:3
        ({"x": composed("p")}, "prompt_cycle", "p -> p"),
        ({"x": composed("a", variables={"y": composed("p")})}, "prompt_cycle", "p -> a -> p"),
        ({"x": composed("a", variables={"y": composed("a")})}, "prompt_cycle", "p -> a -> a"),
        # "Max depth is **2**", reference 003:3
        ({"x": composed("a", variables={"y": composed("b")})}, "prompt_depth", "p -> a -> b"),
    ],
)
def test_prompts_inside_each_other_end(variables: dict[str, Any], code: str, way: str) -> None:
    """A child of a child, and a prompt that contains itself, are refused with the way that leads there."""
    known = prompts(p="{{x}}", a="{{y}}", b="text")
    status, error = refused(CHAT, {}, {"prompt_id": "p", "variables": variables}, None, known)

    assert (status, error["code"]) == (400, code)
    assert f" {way} " in error["message"]
    assert error["param"] == ("prompt.variables.x" if way == "p -> p" else "prompt.variables.x.variables.y")


def test_cycle_across_both_variables() -> None:
    """The request's own `variables` are looked at like the prompt's."""
    assert refused(CHAT, {}, PROMPT_1, {"x": composed("p")}, prompts(p="{{x}}"))[1]["code"] == "prompt_cycle"


def test_ids_of_all_prompts() -> None:
    """Whoever loads these can render: the prompt, and its children in both kinds of variables."""
    prompt = {
        "prompt_id": "p",
        "variables": {"a": composed("child"), "b": "text", "c": {"_type": "json", "value": {}}},
    }

    assert ids_in(prompt, {"d": composed("other"), "a": composed("hidden")}) == {"p", "child", "other"}
    assert ids_in({"prompt_id": "p"}) == {"p"}


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({"prompt_id": "absent"}, "There is no prompt 'absent'."),
        ({"prompt_id": "p", "version": 9}, "The prompt 'p' has no version 9."),
        ({"prompt_id": "draft"}, "The prompt 'draft' has no deployed version."),
        ({"prompt_id": "p", "variables": {"x": composed("absent")}}, "There is no prompt 'absent'."),
        (
            {"prompt_id": "p", "variables": {"x": composed("p2", version=7)}},
            "The prompt 'p2' has no version 7.",
        ),
    ],
)
def test_prompt_that_does_not_exist(prompt: dict[str, Any], says: str) -> None:
    """404 with a detail, for a prompt and for a child; nothing is asked of a model in its stead."""
    draft = StoredPrompt("draft", {1: PromptVersion(messages=[SYSTEM])})
    status, error = refused(CHAT, {}, prompt, None, {**prompts(p="{{x}}", p2="text"), "draft": draft})

    assert status == 404
    assert error["detail"].startswith(says)


def test_rendered_says_what_it_took_and_keeps_texts_to_itself() -> None:
    """The version is known to the log; the repr holds no text."""
    found = render(
        CHAT, {"user": "canary"}, {"prompt_id": "p", "variables": {"x": "canary"}}, None, prompts(p="{{x}}")
    )

    assert isinstance(found, Rendered)
    assert found.version == 1
    assert "canary" not in repr(found)


# -- merging, on chat completions


CONFIG = {"messages": [SYSTEM], "model": "prompts", "params": {"temperature": 0.1, "max_tokens": 5}}
REQUEST = {"messages": [ASKED], "model": "requests", "temperature": 0.9, "stream": True}
LATER = {"role": "user", "content": "later"}


def merged(
    path: str, prompt: dict[str, Any], fields: dict[str, Any], config: dict[str, Any] = CONFIG
) -> dict[str, Any]:
    """The body for the provider."""
    return render(path, fields, {"prompt_id": "p", **prompt}, None, prompts(p=config)).fields


_OVERRIDE = {"temperature": 0.5, "max_tokens": 100}  # reference 003:3, the example of `override_params`


@pytest.mark.parametrize(
    ("prompt", "fields", "expected"),
    [
        # "when `override=true`, prompt config wins", reference 003:3
        ({"override": True}, REQUEST, {"messages": [SYSTEM], "model": "prompts", "temperature": 0.1}),
        # "when `override=false`, request body wins for conflicts", reference 003:3; the prompt fills the gaps
        ({"override": False}, REQUEST, {"messages": [ASKED], "model": "requests", "temperature": 0.9}),
        # `1` is the default of `schema_version`, reference 003:3; `override` is turned on, so it is off
        ({}, REQUEST, {"messages": [ASKED], "model": "requests", "temperature": 0.9}),
        ({"schema_version": 1}, REQUEST, {"messages": [ASKED], "model": "requests", "temperature": 0.9}),
        # what says nothing has no conflict with anything
        (
            {},
            {"messages": [], "model": "", "stream": True},
            {"messages": [SYSTEM], "model": "prompts", "temperature": 0.1},
        ),
        (
            {},
            {**REQUEST, "temperature": None},
            {"messages": [ASKED], "model": "requests", "temperature": 0.1},
        ),
        # "to use params in `override_params` instead of the params in the prompt", reference 003:3
        (
            {"override": True, "override_params": _OVERRIDE},
            REQUEST,
            {"messages": [SYSTEM], "model": "prompts", "temperature": 0.5, "max_tokens": 100},
        ),
        # "only work if `override` is set to `true`", reference 003:3; a later example has no override
        (
            {"override_params": _OVERRIDE},
            REQUEST,
            {"messages": [ASKED], "model": "requests", "temperature": 0.5, "max_tokens": 100},
        ),
        (
            {"override": False, "override_params": _OVERRIDE},
            REQUEST,
            {"messages": [ASKED], "model": "requests", "temperature": 0.9},
        ),
        # null in override_params is a value: it takes a parameter away from a model that does not know it
        (
            {"override": True, "override_params": {"temperature": None, "model": "o"}},
            REQUEST,
            {"messages": [SYSTEM], "model": "o", "temperature": None},
        ),
        # "`append`: append the new messages to the existing messages", with the example of reference 003:3
        (
            {
                "override_config": {"messages_override_mode": "append"},
                "override_params": {"messages": [LATER]},
            },
            REQUEST,
            {"messages": [SYSTEM, LATER], "model": "requests", "temperature": 0.9},
        ),
        # "`override`: override the existing messages", reference 003:3; it is the default
        (
            {
                "override_config": {"messages_override_mode": "override"},
                "override_params": {"messages": [LATER]},
            },
            REQUEST,
            {"messages": [LATER], "model": "requests", "temperature": 0.9},
        ),
        (
            {"override": True, "override_params": {"messages": [LATER]}},
            REQUEST,
            {"messages": [LATER], "model": "prompts", "temperature": 0.1},
        ),
        (
            {"override": True, "override_params": {"messages": []}},
            REQUEST,
            {"messages": [SYSTEM], "model": "prompts", "temperature": 0.1},
        ),
        # the mode is about override_params, not about the request's own messages
        (
            {"override": True, "override_config": {"messages_override_mode": "append"}},
            REQUEST,
            {"messages": [SYSTEM], "model": "prompts", "temperature": 0.1},
        ),
    ],
)
def test_schema_1(prompt: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Schema 1: `override` says who wins a conflict, and `override_params` are laid over the result."""
    assert merged(CHAT, prompt, fields) == {"stream": True, "max_tokens": 5, **expected}


@pytest.mark.parametrize(
    ("prompt", "fields", "expected"),
    [
        # "the prompt config always wins for conflicting fields", "prepend", reference 003:3
        ({}, REQUEST, {"messages": [SYSTEM, ASKED]}),
        ({}, {"messages": [], "stream": True}, {"messages": [SYSTEM]}),
        ({}, {"stream": True}, {"messages": [SYSTEM]}),
        # "Additional parameter overrides", reference 003:3, with the patch of its example
        (
            {"patch": {"temperature": 0.9, "max_tokens": 500}},
            REQUEST,
            {"messages": [SYSTEM, ASKED], "temperature": 0.9, "max_tokens": 500},
        ),
        # `override` and its kin belong to schema 1, reference 003:3
        ({"override": False}, REQUEST, {"messages": [SYSTEM, ASKED]}),
        (
            {"override_params": {"temperature": 0.5, "messages": [LATER]}},
            REQUEST,
            {"messages": [SYSTEM, ASKED]},
        ),
        ({"override_config": {"messages_override_mode": "override"}}, REQUEST, {"messages": [SYSTEM, ASKED]}),
    ],
)
def test_schema_2(prompt: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]) -> None:
    """Schema 2: the prompt wins and comes first; `patch` is laid over the result."""
    base = {"stream": True, "model": "prompts", "temperature": 0.1, "max_tokens": 5}

    assert merged(CHAT, {**PROMPT_2, **prompt}, fields) == {**base, **expected}


def test_model_stays_open_if_nobody_names_one() -> None:
    """A prompt without a model leaves it to the request, and that may leave it to the router."""
    for prompt in (PROMPT_1, {**PROMPT_1, "override": True}, PROMPT_2):
        assert merged(CHAT, prompt, {}, {"messages": [SYSTEM]}) == {"messages": [SYSTEM]}
        assert merged(CHAT, prompt, {"model": "m"}, {"messages": [SYSTEM]})["model"] == "m"


@pytest.mark.parametrize(
    ("prompt", "winner"), [(PROMPT_1, "max_completion_tokens"), (PROMPT_2, "max_tokens")]
)
def test_two_names_of_one_parameter_conflict(prompt: dict[str, Any], winner: str) -> None:
    """OpenAI answers 400 to a body with both names of the limit, so the winner's is the only one."""
    body = merged(CHAT, prompt, {"max_completion_tokens": 7})

    assert {"max_tokens", "max_completion_tokens"} & body.keys() == {winner}


@pytest.mark.parametrize("name", ["customer_credentials", "fallback_models", "respan_params", "stream"])
@pytest.mark.parametrize(("place", "prompt"), [("override_params", PROMPT_1), ("patch", PROMPT_2)])
def test_overrides_do_not_carry_what_providers_must_not_see(
    place: str, prompt: dict[str, Any], name: str
) -> None:
    """Respan's parameters and the way of delivery stay with the request, instead of reaching a provider."""
    status, error = refused(CHAT, {}, {**prompt, place: {name: {}}}, None, prompts(p="text"))

    assert (status, error["param"]) == (400, f"prompt.{place}.{name}")


@pytest.mark.parametrize("name", ["messages", "input"])
def test_patch_has_no_messages(name: str) -> None:
    """reference 003:3, "The `patch` must **not** contain `messages` or `input`"."""
    assert (
        refused(CHAT, {}, {**PROMPT_2, "patch": {name: []}}, None, prompts(p="t"))[1]["param"]
        == f"prompt.patch.{name}"
    )


@pytest.mark.parametrize(
    ("path", "fields", "prompt", "param"),
    [
        (CHAT, {"messages": "text"}, PROMPT_2, "messages"),
        (CHAT, {"messages": ["text"]}, PROMPT_2, "messages"),
        (RESPONSES, {"instructions": ["text"]}, PROMPT_2, "instructions"),
        (CHAT, {}, {**PROMPT_1, "override_params": {"messages": "text"}}, "prompt.override_params.messages"),
    ],
)
def test_what_cannot_be_joined_is_refused(path: str, fields: Any, prompt: Any, param: str) -> None:
    """Messages that are none cannot follow the prompt's, and are not dropped either."""
    status, error = refused(path, fields, prompt, None, prompts(p="text"))

    assert (status, error["param"]) == (400, param)


_MESSAGES = st.lists(st.builds(user, st.text(max_size=3)), max_size=3)


@given(own=_MESSAGES.filter(bool), asked=_MESSAGES, new=_MESSAGES.filter(bool))
def test_laws_of_messages(own: list[Any], asked: list[Any], new: list[Any]) -> None:
    """Appending keeps both in order, overriding keeps the new ones, and schema 2 puts the prompt's first."""
    config, fields = {"messages": own}, {"messages": asked}
    append = {"override_params": {"messages": new}, "override_config": {"messages_override_mode": "append"}}

    assert merged(CHAT, append, fields, config)["messages"] == own + new
    assert merged(CHAT, {"override_params": {"messages": new}}, fields, config)["messages"] == new
    assert merged(CHAT, PROMPT_2, fields, config)["messages"] == own + asked
    assert merged(CHAT, {"override": True}, fields, config)["messages"] == own
    assert merged(CHAT, {"override": False}, fields, config)["messages"] == (asked or own)


_FIELDS = st.dictionaries(st.sampled_from(["temperature", "seed", "stop", "n"]), st.integers(0, 3))


@given(params=_FIELDS, asked=_FIELDS, patch=_FIELDS)
def test_laws_of_fields(params: dict[str, Any], asked: dict[str, Any], patch: dict[str, Any]) -> None:
    """No field is lost, and each conflict has the winner that the schema names."""
    config = {"messages": [SYSTEM], "params": params}
    rest = {"messages": [SYSTEM]}

    assert merged(CHAT, {}, asked, config) == {**params, **asked, **rest}
    assert merged(CHAT, {"override": True, "override_params": patch}, asked, config) == {
        **asked,
        **params,
        **patch,
        **rest,
    }
    assert merged(CHAT, {**PROMPT_2, "patch": patch}, asked, config) == {**asked, **params, **patch, **rest}


def test_inputs_are_left_as_they_were() -> None:
    """A stored prompt and a request can be used again."""
    known, fields = prompts(p=CONFIG), {**REQUEST, "messages": [ASKED]}
    prompt = {**PROMPT_1, "override": True, "override_params": {"messages": [LATER], "seed": 1}}
    before = json.dumps([known["p"].to_json(), fields, prompt])

    render(CHAT, fields, prompt, None, known)

    assert json.dumps([known["p"].to_json(), fields, prompt]) == before


# -- merging, on Responses


TWO = {
    "messages": [SYSTEM, user(""), user([{"type": "text", "text": "U"}])],
    "model": "prompts",
    "params": {"max_tokens": 5},
}
ASK = {"model": "requests", "input": [ASKED], "max_output_tokens": 9}


@pytest.mark.parametrize(
    ("prompt", "fields", "expected"),
    [
        # "prepend/instructions-style merging", reference 003:3: messages become instructions, and input stays
        (PROMPT_2, ASK, {"model": "prompts", "instructions": "S\n\nU", "max_output_tokens": 5}),
        (
            PROMPT_2,
            {**ASK, "instructions": "own"},
            {"model": "prompts", "instructions": "S\n\nU\n\nown", "max_output_tokens": 5},
        ),
        # "the `patch` object", reference 003:3, whose example has max_tokens
        (
            {**PROMPT_2, "patch": {"max_tokens": 500}},
            ASK,
            {"model": "prompts", "instructions": "S\n\nU", "max_output_tokens": 500},
        ),
        # schema 1: instructions are the field that conflicts; empty ones say nothing
        (
            PROMPT_1,
            {**ASK, "instructions": ""},
            {"model": "requests", "instructions": "S\n\nU", "max_output_tokens": 9},
        ),
        (PROMPT_1, ASK, {"model": "requests", "instructions": "S\n\nU", "max_output_tokens": 9}),
        (
            PROMPT_1,
            {**ASK, "instructions": "own"},
            {"model": "requests", "instructions": "own", "max_output_tokens": 9},
        ),
        (
            {**PROMPT_1, "override": True},
            {**ASK, "instructions": "own"},
            {"model": "prompts", "instructions": "S\n\nU", "max_output_tokens": 5},
        ),
        (
            {
                "override_params": {"messages": [LATER]},
                "override_config": {"messages_override_mode": "append"},
            },
            ASK,
            {"model": "requests", "instructions": "S\n\nU\n\nlater", "max_output_tokens": 9},
        ),
    ],
)
def test_messages_become_instructions(
    prompt: dict[str, Any], fields: dict[str, Any], expected: dict[str, Any]
) -> None:
    """On Responses the prompt's messages are the instructions, and the request's input is kept."""
    assert merged(RESPONSES, prompt, fields, TWO) == {"input": [ASKED], **expected}


_FUNCTION = {"name": "f", "parameters": {"type": "object"}}


@pytest.mark.parametrize(
    ("chat", "responses"),
    [
        ({"max_tokens": 5}, {"max_output_tokens": 5}),
        ({"max_completion_tokens": 5}, {"max_output_tokens": 5}),
        ({"response_format": {"type": "json_object"}}, {"text": {"format": {"type": "json_object"}}}),
        (
            {
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
                "verbosity": "low",
            },
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"}},
        ),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        (
            {"tools": [{"type": "function", "function": _FUNCTION}]},
            {"tools": [{"type": "function", **_FUNCTION}]},
        ),
        ({"tools": [{"type": "web_search"}]}, {"tools": [{"type": "web_search"}]}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"tool_choice": {"type": "function", "name": "f"}},
        ),
        ({"tool_choice": "auto", "temperature": 0.1}, {"tool_choice": "auto", "temperature": 0.1}),
    ],
)
def test_params_are_spelled_as_responses_does(chat: dict[str, Any], responses: dict[str, Any]) -> None:
    """A prompt's params are those of chat completions, and so are override_params and patch."""
    rest = {"instructions": "S"}
    bare = {"messages": [SYSTEM]}

    assert merged(RESPONSES, {}, {}, {"messages": [SYSTEM], "params": chat}) == {**responses, **rest}
    assert merged(RESPONSES, {"override_params": chat}, {}, bare) == {**responses, **rest}
    assert merged(RESPONSES, {**PROMPT_2, "patch": chat}, {}, bare) == {**responses, **rest}
    assert merged(CHAT, {}, {}, {"messages": [SYSTEM], "params": chat}) == {**chat, "messages": [SYSTEM]}


def test_renamed_params_exist_on_responses() -> None:
    """The SDK knows every name that is translated to."""
    known = get_type_hints(ResponseCreateParamsBase)

    assert {field for field, _ in _RENAMED.values()} <= known.keys()


def test_fields_of_several_params_merge_inside() -> None:
    """A prompt's answer format does not take the request's verbosity away, and the winner still wins."""
    config = {
        "messages": [SYSTEM],
        "params": {"response_format": {"type": "text"}, "reasoning_effort": "low"},
    }
    fields = {"text": {"verbosity": "high"}, "reasoning": {"effort": "high"}}

    body = merged(RESPONSES, {"override": True}, fields, config)

    assert body["text"] == {"verbosity": "high", "format": {"type": "text"}}
    assert body["reasoning"] == {"effort": "low"}
    assert merged(RESPONSES, {}, {"text": "odd"}, config)["text"] == "odd"


@pytest.mark.parametrize(
    "message",
    [
        user([{"type": "input_audio", "input_audio": {}}]),
        user([{"type": "image_url", "image_url": {}}]),
        {"role": "assistant", "content": "text", "tool_calls": []},
        {"role": "assistant"},
    ],
)
def test_what_is_no_text_does_not_vanish(message: dict[str, Any]) -> None:
    """A prompt that cannot become plain text is refused where it would have to, and served elsewhere."""
    config = {"messages": [message]}
    child = {"prompt_id": "parent", "variables": {"x": composed("p")}}
    known = prompts(p=config, parent="{{x}}")

    assert refused(RESPONSES, {}, PROMPT_1, None, known)[1]["param"] == "prompt"
    assert refused(CHAT, {}, child, None, known)[1]["param"] == "prompt.variables.x"
    assert merged(CHAT, {}, {}, config) == {"messages": [message]}
