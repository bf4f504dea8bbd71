"""Stored prompts: what is accepted as one, which version a request gets, and where prompts are read from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai._params import NAMES
from respan_openai._wire import CONTAINERS
from respan_openai.exceptions import ConfigError
from respan_openai.local.prompts import MOST_BYTES, NOT_CONFIG, Prompts, PromptVersion, StoredPrompt


if TYPE_CHECKING:
    from pathlib import Path


SECRET = "canary-prompt-text"
VERSION: dict[str, Any] = {"messages": [{"role": "system", "content": f"{SECRET} {{{{name}}}}"}]}
TOML = """
deployed = 1

[versions.1]
model = "m"

[[versions.1.messages]]
role = "system"
content = "Greet {{name}}."

[versions.1.params]
temperature = 0.5
"""


def stored(name: str = "greeting", *numbers: int, deployed: int | None = None) -> StoredPrompt:
    """A prompt with a version of each number."""
    return StoredPrompt(name, {number: PromptVersion(**VERSION) for number in numbers or (1,)}, deployed)


def plain(version: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The plain JSON form of a prompt with one version."""
    return {"id": "greeting", "versions": {"1": {**VERSION, **(version or {})}}, **fields}


def refused(make: Any) -> str:
    """What the error says that *make* ends in; the prompt's text is never a part of it."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert SECRET not in str(caught.value)
    return str(caught.value)


# -- the JSON form


_TEXT = st.text(max_size=5)
_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,4}", fullmatch=True)
_PARTS = st.builds(lambda text: {"type": "text", "text": text}, _TEXT) | st.just(
    {"type": "image_url", "image_url": {"url": "u"}}
)
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user"]), "content": _TEXT | st.lists(_PARTS, max_size=2)}
    ),
    min_size=1,
    max_size=3,
)
_VERSIONS = st.builds(
    PromptVersion,
    messages=_MESSAGES,
    model=st.none() | st.just("m"),
    params=st.fixed_dictionaries(
        {}, optional={"temperature": st.floats(0, 2), "stop": st.lists(_TEXT, max_size=2)}
    ),
    variables=st.dictionaries(
        _NAMES, st.just("json") | st.just({"type": "text", "default": "d"}), max_size=2
    ),
)


@given(versions=st.dictionaries(st.integers(1, 99), _VERSIONS, min_size=1, max_size=3), data=st.data())
def test_json_form_brings_back_the_same_prompt(
    versions: dict[int, PromptVersion], data: st.DataObject
) -> None:
    """Whatever a prompt holds, it survives the way through a file or a store."""
    deployed = data.draw(st.none() | st.sampled_from(sorted(versions)))
    prompt = StoredPrompt("p", versions, deployed)

    assert StoredPrompt.from_json(json.loads(json.dumps(prompt.to_json()))) == prompt


def test_prompt_does_not_change_with_what_it_was_made_of() -> None:
    """Whoever goes on writing to a dict does not change a prompt, in either direction."""
    source = json.loads(json.dumps(plain()))
    prompt = StoredPrompt.from_json(source)
    source["versions"]["1"]["messages"][0]["content"] = "changed"
    prompt.to_json()["versions"]["1"]["messages"][0]["content"] = "changed"

    assert prompt == StoredPrompt.from_json(plain())


def test_repr_has_no_prompt_text() -> None:
    """A prompt may be logged: its text, its params and defaults stay out of its repr."""
    version = PromptVersion(**VERSION, params={"stop": SECRET}, variables={"x": {"default": SECRET}})
    prompts = Prompts([StoredPrompt("greeting", {3: version})])

    assert SECRET not in repr(prompts) + repr(prompts["greeting"])
    assert "greeting" in repr(prompts["greeting"])
    assert repr(prompts) == "<Prompts(1)>"


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ({"messages": None}, "`prompt.versions.1` lacks `messages`"),
        ({"messages": []}, "`prompt.versions.1.messages` is empty"),
        ({"messages": SECRET}, "`prompt.versions.1.messages` must be a list; got str"),
        ({"messages": [{"content": "x"}]}, "`prompt.versions.1.messages[0]` lacks `role`"),
        ({"messages": [{"role": "bot"}]}, '`prompt.versions.1.messages[0].role` must be "system"'),
        ({"messages": [{"role": "user", "contents": SECRET}]}, "did you mean `content`?"),
        ({"messages": [{"role": "user", "content": 1}]}, "`prompt.versions.1.messages[0].content` must be"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0]` lacks `type`"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "content[0]` is a text part and lacks",
        ),
        ({"model": ""}, "`prompt.versions.1.model` must not be empty"),
        ({"modle": "m"}, "did you mean `model`?"),
        ({"params": {"messages": []}}, "`prompt.versions.1.params.messages` is not one of the params"),
        ({"params": {"model": "m"}}, "`prompt.versions.1.params.model` is not one of the params"),
        ({"params": {"input": "x"}}, "`prompt.versions.1.params.input` belongs to the request"),
        ({"params": {"instructions": "x"}}, "params.instructions` is what `messages` become"),
        ({"params": {"stream": True}}, "`prompt.versions.1.params.stream` is not a prompt's to set"),
        ({"params": {"temperature": float("nan")}}, "params.temperature` must be finite"),
        ({"params": {"when": object()}}, "`prompt.versions.1.params.when` must be a JSON value"),
        ({"variables": {"first name": "text"}}, "variables.first name` cannot stand in a template"),
        ({"variables": {"x": "image"}}, '`prompt.versions.1.variables.x` must be "text", "image_url"'),
        ({"variables": {"x": {"typ": "text"}}}, "did you mean `type`?"),
        ({"variables": {"x": {"type": "image_url", "default": 1}}}, "x.default` must be a URL"),
        ({"variables": {"x": {"type": "prompt", "default": "p"}}}, "x.default` cannot be a prompt"),
    ],
)
def test_mistake_in_a_version_is_named(version: dict[str, Any], says: str) -> None:
    """The place and what is wrong there are told when the prompt is loaded; its text is not."""
    assert says in refused(lambda: StoredPrompt.from_json(plain(version)))


def test_mistake_in_a_version_made_in_code_is_named() -> None:
    """Same as for the JSON form: what cannot be sent is refused where it is written."""
    assert refused(lambda: PromptVersion(messages=[])).startswith(
        "PromptVersion: `version.messages` is empty"
    )


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ([], "The prompt must be an object (a dict); got list"),
        ({}, "`prompt` lacks `versions`"),
        ({"versions": {"1": VERSION}}, "The prompt lacks `id`"),
        (plain(id=""), "`prompt.id` must not be empty"),
        (plain(id="a\nb"), "`prompt.id` must not hold a line break"),
        (plain(version_=2), "`prompt.version_` is not known; did you mean `versions`?"),
        (plain(versions={}), "`versions` must be a mapping from numbers to versions, with at least one"),
        (plain(versions={"01": VERSION}), "`versions.01` must be a number from 1"),
        (plain(versions={"0": VERSION}), "`versions.0` must be a number from 1"),
        (plain(versions={"latest": VERSION}), "`versions.latest` must be a number from 1"),
        (plain(versions={1: VERSION}), "`prompt.versions` must have strings as keys"),
        (plain(deployed=2), "Prompt 'greeting': `deployed` must be the number of one of its versions"),
        (plain(deployed=True), "`prompt.deployed` must be an integer; got bool"),
    ],
)
def test_mistake_in_a_prompt_is_named(prompt: Any, says: str) -> None:
    """A prompt that no request could use as it is meant is refused when it is loaded."""
    assert says in refused(lambda: StoredPrompt.from_json(prompt))


@pytest.mark.parametrize(
    "versions", [{}, None, {0: PromptVersion(**VERSION)}, {True: PromptVersion(**VERSION)}, {1: VERSION}]
)
def test_versions_made_in_code_have_numbers(versions: Any) -> None:
    """In code, versions are PromptVersion values under integers from 1."""
    assert refused(lambda: StoredPrompt("p", versions)).startswith("Prompt 'p': `versions` must ")


def test_only_names_with_two_meanings_reach_a_provider() -> None:
    """A prompt cannot send Respan's own parameters, credentials among them, to a provider."""
    two_meanings = {"echo", "metadata", "preset", "max_steps", "language_preference", "skills"}

    assert {*NAMES, *CONTAINERS} - NOT_CONFIG == two_meanings


def test_what_is_none_counts_as_left_out() -> None:
    """As everywhere in this package; but a prompt without an id could never be asked for."""
    nothing: Any = None

    assert PromptVersion(**VERSION, params=nothing, variables=nothing) == PromptVersion(**VERSION)
    assert "`prompt.id` must not be empty" in refused(lambda: stored(nothing))


# -- versions


@pytest.mark.parametrize(
    ("numbers", "deployed", "wanted", "number"),
    [
        # "Omit to use the deployed live version", reference 003:3
        ((1, 2, 3), 2, None, 2),
        ((1, 2, 3), None, None, None),
        # "Set to a specific number (e.g., 3) to pin that version", reference 003:3
        ((1, 2, 3), 2, 3, 3),
        ((1, 2, 3), 2, 4, None),
        # "the most recent draft version (not deployed)", reference 003:3
        ((1, 2, 3), 2, "latest", 3),
        ((1, 2, 3), 3, "latest", 3),  # what is older than the deployed version is no draft of the next one
        ((1, 2, 10), None, "latest", 10),
        ((1,), 1, "latest", 1),
    ],
)
def test_version_of_a_request(
    numbers: tuple[int, ...], deployed: int | None, wanted: Any, number: int | None
) -> None:
    """Without a wish the deployed version; a number is that version; "latest" is the newest draft."""
    assert stored("p", *numbers, deployed=deployed).number(wanted) == number


def test_draft_is_what_is_not_deployed() -> None:
    """A prompt whose only version is deployed has no draft."""
    assert stored("p", 1, deployed=1).draft is None
    assert stored("p", 1, 2, deployed=1).draft == 2


def test_variable_is_declared_by_its_type_alone_or_in_full() -> None:
    """Both spellings mean the same, and nothing is known about other variables."""
    version = PromptVersion(**VERSION, variables={"a": "json", "b": {"type": "json"}})

    assert version.declared("a") == version.declared("b") == {"type": "json"}
    assert version.declared("c") == {}


# -- the registry


def test_prompts_come_from_code() -> None:
    """A list of values, a generator of them, and a mapping to values or to JSON forms are the same."""
    form = plain()
    for source in ([stored()], (one for one in [stored()]), {"greeting": stored()}, {"greeting": form}):
        prompts = Prompts(source)
        prompts.reload()
        assert dict(prompts) == {"greeting": stored()}
        assert prompts.get("greeting") == stored()
        assert prompts.get("other") is None


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (None, "Prompts(...) takes a folder's path, a mapping from ids to prompts, or a list"),
        (stored(), "got StoredPrompt"),
        ([plain()], "Prompts([...]) takes StoredPrompt values; got dict"),
        ([stored(), stored()], "Prompts([...]): Prompt 'greeting' is there already"),
        ({"other": stored()}, "Prompt 'greeting' stands under another id, 'other'"),
        ({"other": plain()}, "Prompt 'greeting' stands under another id, 'other'"),
        ({"greeting": 5}, "Prompt 'greeting' must be an object"),
        ({5: {"versions": {"1": VERSION}}}, "`prompt.id` must be a string; got int"),
    ],
)
def test_source_that_is_none_is_refused(source: Any, says: str) -> None:
    """What is no prompt, or has no id of its own, is told at once."""
    assert says in refused(lambda: Prompts(source))


def test_prompts_come_from_a_folder(tmp_path: Path) -> None:
    """One prompt in each file, named by the file unless it says otherwise; the rest is left alone."""
    (tmp_path / "welcome.toml").write_text(TOML)
    (tmp_path / "b.json").write_text(json.dumps(plain()))
    (tmp_path / "README.md").write_text("no prompt")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "c.json").write_text("no prompt")

    prompts = Prompts(str(tmp_path))

    assert sorted(prompts) == ["greeting", "welcome"]
    assert Prompts(tmp_path) == prompts
    assert prompts["welcome"].deployed == 1
    assert prompts["welcome"].versions[1] == PromptVersion(
        model="m",
        messages=[{"role": "system", "content": "Greet {{name}}."}],
        params={"temperature": 0.5},
    )


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("a.json", b"{", "cannot be read as JSON"),
        ("a.json", b'"\xff"', "cannot be read as JSON, in UTF-8"),
        ("a.json", b"[" * 100_000, "cannot be read as JSON"),
        ("a.json", b"[]", "Prompt 'a' must be an object (a dict); got list"),
        (
            "a.json",
            b'{"versions": {"1": {"messages": [{"role": "user", "content": NaN}]}}}',
            "messages[0].content",
        ),
        ("a.toml", b"deployed = ", "cannot be read as TOML"),
        ("a.toml", b"[versions.1.params]\nx = 2026-01-01", "params.x` must be a JSON value; got date"),
        ("a.yaml", b"", "YAML is not read"),
        ("a.yml", b"", "YAML is not read"),
    ],
)
def test_file_that_is_no_prompt_is_named(tmp_path: Path, file: str, content: bytes, says: str) -> None:
    """The message has the file and the place in it."""
    (tmp_path / file).write_bytes(content)

    message = refused(lambda: Prompts(tmp_path))

    assert message.startswith(f"{tmp_path / file}: ")
    assert says in message


def test_syntax_error_does_not_keep_the_text(tmp_path: Path) -> None:
    """Neither the message nor what it was raised from holds the file's content."""
    (tmp_path / "a.json").write_text(f'{{"{SECRET}" 1}}')
    with pytest.raises(ConfigError, match="line 1 column") as caught:
        Prompts(tmp_path)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_folder_must_exist(tmp_path: Path) -> None:
    """A path that is wrong is told, and never an empty registry."""
    (tmp_path / "file").touch()
    for path in (tmp_path / "absent", tmp_path / "file"):
        assert f"{path} is no folder" in refused(lambda path=path: Prompts(path))


def test_file_has_a_limit(tmp_path: Path) -> None:
    """A file of exactly the limit is read, and one byte more is refused."""
    text = json.dumps(plain())
    (tmp_path / "a.json").write_text(text.ljust(MOST_BYTES))
    assert list(Prompts(tmp_path)) == ["greeting"]

    (tmp_path / "a.json").write_text(text.ljust(MOST_BYTES + 1))
    assert f"a.json: has more than {MOST_BYTES} bytes" in refused(lambda: Prompts(tmp_path))


def test_link_inside_the_folder_is_followed(tmp_path: Path) -> None:
    """Kubernetes mounts files as links to a folder beside them."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.json").write_text(json.dumps(plain()))
    (tmp_path / "a.json").symlink_to(tmp_path / "data" / "a.json")

    assert list(Prompts(tmp_path)) == ["greeting"]


def outside(folder: Path) -> None:
    target = folder.parent / "secret.json"
    target.write_text(json.dumps(plain()))
    (folder / "a.json").symlink_to(target)


@pytest.mark.parametrize(
    ("put", "says"),
    [
        (outside, "links are followed only inside it"),
        (lambda folder: (folder / "a.json").mkdir(), "is no file in that folder"),
        (lambda folder: os.mkfifo(folder / "a.json"), "is no file in that folder"),
        (lambda folder: (folder / "a.json").symlink_to(folder / "a.json"), "cannot be read"),
        (
            lambda folder: (folder / "a.json").symlink_to(folder / "absent"),
            "cannot be read (FileNotFoundError)",
        ),
    ],
    ids=["outside", "folder", "pipe", "circle", "broken"],
)
def test_what_is_no_file_of_the_folder_is_refused(tmp_path: Path, put: Any, says: str) -> None:
    """A link does not lead to other files of the machine, and nothing waits for a pipe."""
    folder = tmp_path / "prompts"
    folder.mkdir()
    put(folder)

    assert says in refused(lambda: Prompts(folder))


def test_id_names_one_prompt(tmp_path: Path) -> None:
    """Two files with the same id are refused: which of them a request gets would be chance."""
    for file in ("a.json", "b.json"):
        (tmp_path / file).write_text(json.dumps(plain()))

    assert refused(lambda: Prompts(tmp_path)).startswith(
        f"{tmp_path / 'b.json'}: Prompt 'greeting' is there already"
    )


def test_folder_is_read_again_only_when_asked(tmp_path: Path) -> None:
    """reload() brings what is new, and drops what is gone."""
    (tmp_path / "a.json").write_text(json.dumps(plain(id="a")))
    prompts = Prompts(tmp_path)
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.json").write_text(json.dumps(plain(id="b")))
    assert list(prompts) == ["a"]

    prompts.reload()

    assert list(prompts) == ["b"]


def test_failed_reload_leaves_the_old_prompts(tmp_path: Path) -> None:
    """A mistake in a file does not take the other prompts away from a running gateway."""
    (tmp_path / "b.json").write_text(json.dumps(plain(id="b")))
    prompts = Prompts(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(plain(id="a")))
    (tmp_path / "c.json").write_text("{")

    refused(prompts.reload)

    assert list(prompts) == ["b"]
