"""What a request asks of a model."""

from __future__ import annotations

from typing import Any

import pytest

from respan_openai.local.needs import Needs, lacking, needs_of
from respan_openai.local.settings import Model


IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example/" + "x" * 400}}
TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s"}}


def said(content: Any) -> dict[str, Any]:
    """A chat request with one message."""
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("fields", "abilities"),
    [
        ({}, []),
        (said("hello"), []),
        ({"tools": [TOOL]}, ["tools"]),
        ({"tools": []}, []),
        ({"tools": None}, []),
        ({"functions": [{"name": "f"}]}, ["tools"]),
        (said([{"type": "text", "text": "What?"}, IMAGE]), ["images"]),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, ["images"]),
        (
            {
                "input": [
                    {"type": "function_call_output", "output": [{"type": "input_image", "file_id": "f"}]}
                ]
            },
            ["images"],
        ),
        (said("image_url"), []),
        ({"tools": [{"type": "image_url"}]}, ["tools"]),
        (said([{"type": ["image_url"]}, {"type": {"image_url": 1}}]), []),
        ({"response_format": SCHEMA}, ["JSON schema"]),
        ({"response_format": {"type": "json_object"}}, []),
        ({"response_format": "json"}, []),
        ({"text": {"format": SCHEMA}}, ["JSON schema"]),
        ({"text": {"format": {"type": "text"}}}, []),
        ({"text": {"verbosity": "low"}}, []),
        ({"text": "json_schema"}, []),
        ({"tools": [TOOL], "response_format": SCHEMA, **said([IMAGE])}, ["tools", "images", "JSON schema"]),
    ],
)
def test_abilities(fields: dict[str, Any], abilities: list[str]) -> None:
    """Tools, images in messages or input, and a JSON schema, as both endpoints write them (003:3)."""
    assert needs_of(fields).abilities == abilities


@pytest.mark.parametrize(
    ("fields", "context", "output"),
    [
        ({}, 0, 0),
        ({"model": "a" * 3}, 1, 0),
        ({"input": "a" * 395}, 99, 0),
        ({"input": "\u00e9" * 395}, 198, 0),
        ({"input": "\ud800" * 9}, 7, 0),
        ({"max_tokens": 50}, 50, 50),
        ({"max_completion_tokens": 50, "max_tokens": 70}, 50, 50),
        ({"max_output_tokens": 50}, 50, 50),
        ({"max_tokens": 0}, 0, 0),
        ({"max_tokens": -5}, 0, 0),
        ({"max_tokens": "50"}, 1, 0),
        ({"max_tokens": True}, 0, 0),
        ({"max_tokens": None, "max_output_tokens": 50}, 50, 50),
        (said([IMAGE]), 4, 0),
        (said([{"type": "input_audio", "input_audio": {"data": "x" * 4000}}]), 4, 0),
        (said([{"type": "file", "file": {"file_data": "x" * 4000}}]), 4, 0),
        ({"input": [{"type": "input_file", "file_data": "x" * 4000}]}, 0, 0),
    ],
)
def test_tokens(fields: dict[str, Any], context: int, output: int) -> None:
    """Four bytes of text to a token, rounded up, and the longest answer; attachments count nothing."""
    needs = needs_of(fields)

    assert (needs.context, needs.output) == (context, output)


def test_depth_does_not_matter() -> None:
    """A request may be nested as deep as JSON can be read, and deeper."""
    nested: Any = "leaf"
    for _ in range(100_000):
        nested = [nested]

    assert needs_of({"messages": nested}).context == 1


NEEDS = Needs(tools=True, images=True, json_schema=True, context=1000, output=100)
ABLE: dict[str, Any] = {
    "tools": True,
    "vision": True,
    "json_schema": True,
    "context": 1000,
    "max_output": 100,
}


@pytest.mark.parametrize(
    ("changed", "lacks"),
    [
        ({}, []),
        ({"tools": False}, ["tools"]),
        ({"vision": False}, ["images"]),
        ({"json_schema": False}, ["JSON schema"]),
        ({"context": 999}, ["context"]),
        ({"context": None}, []),
        ({"max_output": 99}, ["output"]),
        ({"max_output": None}, []),
        ({"tools": False, "context": 1}, ["tools", "context"]),
    ],
)
def test_what_a_model_lacks(changed: dict[str, Any], lacks: list[str]) -> None:
    """Each thing by name; a limit that is not declared is none."""
    model = Model(name="m", **{**ABLE, **changed})

    assert lacking(model, NEEDS) == lacks


def test_nothing_needed() -> None:
    """A model without any ability can answer a plain request."""
    model = Model(name="m", tools=False, json_schema=False)

    assert lacking(model, needs_of(said("hello"))) == []
