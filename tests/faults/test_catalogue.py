"""The catalogue of faults: every row is a test somewhere, or says here why it is none.

A test names its rows at its beginning: ``test_c1_...``, ``test_t1_t2_t3_...``. The letters are C for connecting,
T for TLS, H for the head of an answer, S for its status, B for its body, E for events, D for time, O for overload,
X for concurrency and cancellation, K for credentials, P for parameters and R for stores that a process leaves behind.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest


if TYPE_CHECKING:
    from collections.abc import Iterator


TESTS = Path(__file__).parents[1]

#: How many rows each group has; they are counted from 1.
GROUPS = {
    "C": 11,
    "T": 8,
    "H": 14,
    "S": 21,
    "B": 16,
    "E": 24,
    "D": 9,
    "O": 12,
    "X": 11,
    "K": 12,
    "P": 12,
    "R": 13,
}

ROWS = [f"{group}{number}" for group, last in GROUPS.items() for number in range(1, last + 1)]

#: Rows whose promise is kept by tests that have other names, as ``file::test``.
ELSEWHERE: dict[str, tuple[str, ...]] = {
    "E24": (
        "local/test_contract.py::test_cache_hit",
        "local/test_entries.py::test_a_stream_is_kept_as_its_events",
    ),
    "K7": ("testing/test_gate.py::test_a_secret_anywhere_is_found_before_and_not_after",),
    "K8": (
        "local/test_cache.py::test_a_key_is_short_and_tells_nothing",
        "stores/test_store.py::test_secret_is_made_once",
    ),
    "O11": ("local/test_contract.py::test_single_flight",),
    "P1": (
        "test_carriers.py::test_a_container_of_the_wrong_type",
        "test_client.py::test_a_broken_header_carrier_fails_before_anything_is_sent",
        "test_params.py::test_header_unreadable",
    ),
    "P2": (
        "test_carriers.py::test_whatever_the_carriers_hold",
        "test_carriers.py::test_through_the_real_sdk",
    ),
    "P3": ("test_carriers.py::test_the_header_is_never_larger_than_4_kib",),
    "P5": ("test_params.py::test_refused", "test_params.py::test_junk"),
    "P7": ("test_policy.py::test_what_is_no_number_for_a_field", "test_params.py::test_refused"),
    "P8": ("test_params.py::test_refused", "test_params.py::test_explicit_near_miss"),
    "P9": (
        "local/test_prompts.py::test_file_that_is_no_prompt_is_named",
        "local/test_prompts.py::test_file_has_a_limit",
        "local/test_config.py::test_mistakes",
    ),
    "P11": ("test_targets.py::test_addresses_that_are_refused", "core/test_origin.py::test_origins"),
}

#: Rows that are no promise of a client, with the reason in a sentence.
OUT_OF_SCOPE: dict[str, str] = {
    "X11": "The same tests under a free-threaded interpreter: a matter of where they run.",
}

_NAMED = re.compile(r"test_((?:[a-z]\d+_)+)")


def names_in(path: Path) -> Iterator[str]:
    """The names of all test functions in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
            yield node.name


def rows_of(name: str) -> set[str]:
    """The rows at the beginning of a test's name."""
    found = _NAMED.match(name)
    return set(found[1].upper().split("_")) - {""} if found else set()


@pytest.fixture(scope="module")
def tested() -> set[str]:
    """Every row that the name of a test begins with."""
    return {row for path in TESTS.rglob("test_*.py") for name in names_in(path) for row in rows_of(name)}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_is_tested_or_has_a_reason(tested, row) -> None:
    """In one of three places, and in no more than one of them."""
    places = [row in tested, row in ELSEWHERE, row in OUT_OF_SCOPE]

    assert places.count(True) == 1


def test_no_test_has_a_row_that_does_not_exist(tested) -> None:
    """A slip of the pen would leave another row without a test."""
    assert {*tested, *ELSEWHERE, *OUT_OF_SCOPE} <= {*ROWS}


def test_what_is_tested_elsewhere_is_there() -> None:
    """Under the name that this file gives."""
    named = [where.split("::") for places in ELSEWHERE.values() for where in places]

    assert [pair for pair in named if pair[1] not in names_in(TESTS / pair[0])] == []


def test_reasons_are_sentences() -> None:
    """Short ones, for the reader of this file."""
    assert [
        row for row, reason in OUT_OF_SCOPE.items() if not reason.endswith(".") or len(reason) > 110
    ] == []


def test_names_and_their_rows() -> None:
    """Only at the beginning: a server that is called p2 is no row."""
    assert rows_of("test_t1_t2_t3_a_certificate") == {"T1", "T2", "T3"}
    assert rows_of("test_a_fallback_to_p2_is_asked") == set()
    assert rows_of("test_c11") == set()
