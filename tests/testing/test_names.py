"""Where cassettes lie: names that people recognise, no two tests share, and every system accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from respan_openai.testing.format import dumps
from respan_openai.testing.names import MAX_NAME, Moved, file_of, moved_from
from respan_openai.testing.recording import Tape


FOLDER = Path("cassettes")

#: Whatever pytest or a plugin may make of a test, often nearly the same.
PARTS = st.text(st.characters(exclude_categories=()), max_size=8) | st.sampled_from(
    [
        "a",
        "A",
        "a.b",
        "a::b",
        "a_b",
        "con",
        "CON",
        "nul.x",
        "..",
        ".",
        "~",
        "a]",
        "a-b",
        "é",
        "x" * 130,
        "/",
        "\\",
        "",
        " ",
    ]
)
IDS = st.builds(
    lambda path, names, params: f"{path}::{'::'.join(names)}{params}",
    st.sampled_from(
        ["test_a.py", "test_A.py", "t/test_a.py", "../test_a.py", "aux.py", "a..py", "a", "A.md"]
    ),
    st.lists(PARTS, min_size=1, max_size=2),
    st.just("") | PARTS.map("[{}]".format) | PARTS.map("[{}".format),
)


@pytest.mark.parametrize(
    ("node_id", "path"),
    [
        ("tests/test_agent.py::test_refund", "test_agent/test_refund.json"),
        ("tests/test_agent.py::TestRefund::test_late", "test_agent/TestRefund.test_late.json"),
        (
            "test_agent.py::TestA::TestB::test_late[eur-1.5_x]",
            "test_agent/TestA.TestB.test_late[eur-1.5_x].json",
        ),
        ("tests\\test_agent.py::test_a", "test_agent/test_a.json"),
    ],
)
def test_most_names_are_plain(node_id, path) -> None:
    """What is safe everywhere stays as it is."""
    assert file_of(node_id, FOLDER) == FOLDER / path


@pytest.mark.parametrize(
    ("node_id", "name"),
    [
        ("a.py::test[EUR]", r"test\[EUR\]~[0-9a-f]{8}\.json"),
        ("a.py::testLate", r"testLate~[0-9a-f]{8}\.json"),
        ("a.py::test[a/../b c]", r"test\[a_\.\._b_c\]~[0-9a-f]{8}\.json"),
        ("a.py::test[é]", r"test\[_\]~[0-9a-f]{8}\.json"),
        ("a.py::con", r"_con~[0-9a-f]{8}\.json"),
        ("a.py::Aux::test", r"_Aux\.test~[0-9a-f]{8}\.json"),
        ("a.py::" + "x" * 200, r"x{106}~[0-9a-f]{8}\.json"),
        ("a.py::.hidden", r"_\.hidden~[0-9a-f]{8}\.json"),
        ("a.py", r"_~[0-9a-f]{8}\.json"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_safe_gets_a_hash(node_id, name) -> None:
    """As much as possible is still to be read."""
    assert re.fullmatch(name, file_of(node_id, FOLDER).name)


def test_the_hash_is_known() -> None:
    """It is the same in every release, on every system, and from wherever pytest is started."""
    assert file_of("a.py::test[A]", FOLDER) == FOLDER / "a" / "test[A]~3d6ad889.json"
    assert file_of("deep/er/a.py::test[A]", FOLDER) == FOLDER / "a" / "test[A]~3d6ad889.json"


@given(node_id=IDS, nested=st.booleans())
def test_names_are_safe(node_id, nested) -> None:
    """No way out of the folder; nothing that Windows refuses or changes; not too long."""
    parts = file_of(node_id, FOLDER, nested=nested).relative_to(FOLDER).parts

    assert len(parts) >= 2
    assert parts[-1].endswith(".json")
    for part in parts:
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._\[\]~-]*[A-Za-z0-9_\]-]", part) or re.fullmatch(
            r"[a-z0-9_]", part
        )
        assert part.partition(".")[0].lower() not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
        assert len(part) <= MAX_NAME


@given(one=IDS, other=IDS)
def test_no_two_tests_share_a_file(one, other) -> None:
    """Also where upper and lower case are one."""
    assume(one.replace("\\", "/").split("::", 1) != other.replace("\\", "/").split("::", 1))

    def path(node_id: str) -> str:
        return str(file_of(node_id, FOLDER, nested=True)).lower()

    assert path(one) != path(other)


def test_folders_may_be_repeated() -> None:
    """Two files of the same name, in different folders, whose cassettes are in one place."""
    paths = {file_of(f"{folder}/test_a.py::test", FOLDER, nested=True) for folder in ("x", "y/z", "Y/z")}

    assert len(paths) == 3
    assert FOLDER / "y" / "z" / "test_a" / "test.json" in paths


# -- tests that were renamed


def record(folder: Path, node_id: str, text: str | None = None) -> Path:
    """A cassette of that test in *folder*."""
    path = file_of(node_id, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumps(Tape((), node_id), {}, name="a") if text is None else text, encoding="utf-8")
    return path


def test_parameters_in_another_order(tmp_path) -> None:
    """The file of the same function with the same parts in its id is found, also under a name with a hash."""
    path = record(tmp_path, "a.py::TestX::test[EUR-one-2]")
    record(tmp_path, "a.py::TestX::test[EUR-two-2]")
    record(tmp_path, "a.py::TestY::test[2-EUR-one]")

    assert moved_from("a.py::TestX::test[2-EUR-one]", tmp_path) == Moved(path, "a.py::TestX::test[EUR-one-2]")


@pytest.mark.parametrize(
    ("node_id", "why"),
    [
        ("a.py::test[a-a-b]", "a part comes twice"),
        ("a.py::test[a]", "a part is missing"),
        ("a.py::test", "it has no parameters"),
        ("a.py::other[b-a]", "it is another function"),
        ("b.py::test[b-a]", "it is in another file"),
        ("a.py::test[a-b]", "it is the test itself"),
    ],
)
def test_other_tests_were_not_renamed(tmp_path, node_id, why) -> None:
    """Nothing is guessed: only the order may differ."""
    record(tmp_path, "a.py::test[a-b]")

    assert moved_from(node_id, tmp_path) is None


def test_a_file_that_is_in_use_is_left_alone(tmp_path) -> None:
    """A test that there still is keeps its own."""
    record(tmp_path, "a.py::test[a-b]")

    assert moved_from("a.py::test[b-a]", tmp_path, taken={"a.py::test[a-b]"}) is None


@pytest.mark.parametrize(
    "text", ["", "no JSON", '{"test": "\\q"}', '{"respan_cassette": 1, "calls": []}', '{"test": 1}']
)
def test_other_files_are_passed_over(tmp_path, text) -> None:
    """What is no cassette, or tells no test, is none that was renamed; the search goes on."""
    record(tmp_path, "a.py::test[a-a-b]", text)
    (file_of("a.py::test", tmp_path).with_name("folder.json")).mkdir()
    found = record(tmp_path, "a.py::test[b-a]")

    assert moved_from("a.py::test[a-b]", tmp_path) == Moved(found, "a.py::test[b-a]")


def test_no_folder_no_file(tmp_path) -> None:
    """A folder that was never made holds nothing."""
    assert moved_from("a.py::test[a-b]", tmp_path / "none") is None
