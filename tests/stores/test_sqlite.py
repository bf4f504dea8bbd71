"""The SQLite store: what it survives, whom it lets in, and what it shares with other processes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from respan_openai.exceptions import ConfigError, RespanWarning, StoreError
from respan_openai.stores import _files, _opening, _schema
from respan_openai.stores.protocol import FIELDS, Charge
from respan_openai.stores.sqlite import SQLiteStore


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


NOW, LATER = 1000.0, 1600.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def open_store(path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """Opens the file, as often as it is called."""
    opened: list[SQLiteStore] = []

    def opening(**options: Any) -> SQLiteStore:
        opened.append(SQLiteStore(path, **options))
        return opened[-1]

    yield opening
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., SQLiteStore]) -> SQLiteStore:
    return open_store()


def foreign(path: Path) -> Any:
    """Somebody else's connection to the file."""
    return closing(sqlite3.connect(path, isolation_level=None))


def value(path: Path, statement: str) -> Any:
    with foreign(path) as connection:
        return connection.execute(statement).fetchone()[0]


def use(store: SQLiteStore, account: str = "a") -> None:
    """Write a little of everything."""
    store.put("k", b"v", NOW, LATER)
    store.reserve(f"h-{account}", [Charge(account, "w", 5)], NOW, LATER)
    store.save_customer("c", {"a": 1})
    store.save_prompt("p", {"a": 1})
    store.log({"id": "r", "at": 1.0})


def methods(store: SQLiteStore) -> list[Callable[[], object]]:
    """Every method, ready to be called."""
    charge = Charge("a", "w", 1)
    return [
        lambda: store.cached("k", NOW),
        lambda: store.put("k", b"v", NOW, LATER),
        lambda: store.reserve("h", [charge], NOW, LATER),
        lambda: store.settle("h", [1], NOW),
        lambda: store.taken("a", "w"),
        lambda: store.customer("c"),
        lambda: store.save_customer("c", {"a": 1}),
        lambda: store.prompt("p"),
        lambda: store.save_prompt("p", {"a": 1}),
        lambda: store.log({"id": "r", "at": 1.0}),
        lambda: store.entry("r"),
        store.entries,
    ]


def all_fail(store: SQLiteStore, match: str) -> None:
    for method in methods(store):
        with pytest.raises(StoreError, match=match):
            method()


# -- R1, R2, R3: killed, and without power


WRITER = """
import sys
from respan_openai.stores.protocol import Charge
from respan_openai.stores.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
number = 0
while True:
    store.reserve(f"{sys.argv[2]}-{number}", [Charge("a", "w", 1)], 1000.0, 1600.0)
    store.log({"id": f"{sys.argv[2]}-{number}", "at": float(number)})
    store.put("k", b"v" * 5000, 1000.0, 1600.0)
    number += 1
    print(number, flush=True)
"""


def test_r1_killed_in_a_loop_of_writes(path: Path, python: Callable[..., Any]) -> None:
    """R1: SIGKILL at any moment: what was acknowledged is there, and the file is whole."""
    acknowledged = 0
    for run in range(3):
        process = python(WRITER, path, run)
        told = [next(process.stdout) for _ in range(20 + 17 * run)]
        process.kill()
        told += process.stdout
        acknowledged += int([line for line in told if line.endswith("\n")][-1])

        assert value(path, "PRAGMA integrity_check") == "ok"
        with closing(SQLiteStore(path)) as store:
            assert acknowledged <= store.taken("a", "w") <= acknowledged + run + 1
            assert acknowledged <= len(store.entries(limit=100_000)) <= acknowledged + run + 1


def test_r2_killed_between_reserve_and_settle(path: Path, python: Callable[..., Any]) -> None:
    """R2: the reservation of a process that is gone stays taken, and no later settling can give it back."""
    code = (
        "import os, signal, sys; from respan_openai.stores.protocol import Charge;"
        "from respan_openai.stores.sqlite import SQLiteStore; store = SQLiteStore(sys.argv[1]);"
        "store.reserve('h', [Charge('a', 'w', 5, 10)], 1000.0, 1600.0); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert python(code, path).wait(60) == -9

    with closing(SQLiteStore(path)) as store:
        assert store.taken("a", "w") == 5
        assert store.reserve("h2", [Charge("a", "w", 6, 10)], NOW, LATER) is not None
        store.settle("h", [0], LATER)
        assert store.taken("a", "w") == 5
        assert value(path, "SELECT count(*) FROM holds") == 1
        store.reserve("h3", [Charge("a", "w", 1, 10)], LATER, LATER + 1)
        assert value(path, "SELECT group_concat(hold) FROM holds") == "h3"


def test_r3_ledger_waits_for_the_disk(store: SQLiteStore) -> None:
    """R3: commits to budgets and records are synchronous (FULL is 2), those to cache and log are not."""
    for connection, level in ((store._ledger, 2), (store._quick, 1)):
        with connection.reading(1) as db:
            assert db.execute("PRAGMA synchronous").fetchone() == (level,)


def test_r3_ledger_methods_use_the_synchronous_connection(store: SQLiteStore) -> None:
    """R3: whoever reserves, settles, or saves a customer or prompt commits on the synchronous connection."""
    seen: dict[str, list[str]] = {"ledger": [], "quick": []}
    for name, connection in (("ledger", store._ledger), ("quick", store._quick)):
        with connection.reading(1) as db:
            db.set_trace_callback(seen[name].append)
    use(store)
    store.settle("h-a", [1], NOW)

    assert [len([text for text in seen[name] if text == "COMMIT"]) for name in seen] == [4, 2]


def test_r3_committed_frames_are_enough(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    """R3: file and write-ahead log as they lie on the disk, with no orderly end, have every reservation."""
    use(store)
    copy = tmp_path / "after" / "store.db"
    copy.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{copy}{suffix}")

    with closing(SQLiteStore(copy)) as after:
        assert (after.taken("a", "w"), after.customer("c")) == (5, {"a": 1})


def test_r3_cut_write_ahead_log(store: SQLiteStore, path: Path, tmp_path: Path) -> None:
    """R3: a write-ahead log that ends within a commit costs that commit, and nothing else."""
    use(store)
    copy = tmp_path / "after" / "store.db"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    wal = path.with_name("store.db-wal").read_bytes()
    store.reserve("h2", [Charge("a", "w", 2)], NOW, LATER)
    longer = path.with_name("store.db-wal").read_bytes()
    copy.with_name("store.db-wal").write_bytes(longer[: len(wal) + 100])

    with closing(SQLiteStore(copy)) as after:
        assert after.taken("a", "w") == 5


# -- R4, R5: several processes


SPENDER = """
import sys
from respan_openai.exceptions import StoreError
from respan_openai.stores.protocol import Charge
from respan_openai.stores.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1])
taken = number = 0
while True:
    number += 1
    try:
        if store.reserve(f"{sys.argv[2]}-{number}", [Charge("a", "w", 1, 400)], 1000.0, 1600.0):
            break
    except StoreError:
        continue
    taken += 1
print(taken)
"""


def test_r4_four_processes_one_budget(path: Path, python: Callable[..., Any]) -> None:
    """R4: four processes that make the file and spend at the same time take exactly what there is."""
    processes = [python(SPENDER, path, number) for number in range(4)]

    assert sum(int(process.communicate(timeout=120)[0]) for process in processes) == 400
    with closing(SQLiteStore(path)) as store:
        assert store.taken("a", "w") == 400


def test_r5_foreign_writer(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """R5: while another process holds the file, writing fails, reading does not; afterwards all is well."""
    store = open_store(wait=0.05)
    use(store)
    with foreign(path) as other:
        other.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: store.put("k", b"new", NOW, LATER),
            lambda: store.reserve("h", [Charge("a", "w", 1)], NOW, LATER),
            lambda: store.log({"id": "r2", "at": 2.0}),
        ):
            with pytest.raises(StoreError, match="locked by another process"):
                write()
        assert (store.cached("k", NOW), store.taken("a", "w"), len(store.entries())) == (b"v", 5, 1)
        other.execute("ROLLBACK")

    assert store.reserve("h", [Charge("a", "w", 1)], NOW, LATER) is None


@pytest.mark.parametrize(("method", "most"), [("reserve", 250), ("log", 250), ("put", 25)])
def test_r5_how_long_it_waits(store: SQLiteStore, method: str, most: int) -> None:
    """R5: SQLite is told to wait 250 ms for a budget at most, and for the cache a tenth of that."""
    told: list[str] = []
    for connection in store._connections:
        with connection.reading(60) as db:
            db.set_trace_callback(told.append)
    {
        "reserve": lambda: store.reserve("h", [], NOW, LATER),
        "log": lambda: store.log({"id": "r", "at": 1.0}),
        "put": lambda: store.put("k", b"", NOW, LATER),
    }[method]()

    patience = [int(text.rpartition(" ")[2]) for text in told if "busy_timeout" in text]
    assert len(patience) == 1
    assert 0 <= patience[0] <= most


def test_r5_thread_that_does_not_end(open_store: Callable[..., SQLiteStore]) -> None:
    """R5: another thread of this process that is stuck in a write does not hold up the others for ever."""
    store = open_store(wait=0.02)
    with store._ledger.writing(1):
        for write in (
            lambda: store.reserve("h", [], NOW, LATER),
            lambda: store.put("k", b"v", NOW, LATER),
            lambda: store.taken("a", "w"),
        ):
            with pytest.raises(StoreError, match="other threads"):
                write()


def test_r5_no_transaction_begins_by_reading(store: SQLiteStore) -> None:
    """R5: whatever writes says so when it begins; one that only reads takes no lock at all."""
    told: list[str] = []
    for connection in store._connections:
        with connection.reading(1) as db:
            db.set_trace_callback(told.append)
    for method in methods(store):
        method()

    assert {text for text in told if text.startswith("BEGIN")} == {"BEGIN IMMEDIATE"}
    assert told.count("BEGIN IMMEDIATE") == told.count("COMMIT") == 6


# -- R6: the disk


def test_r6_disk_full(store: SQLiteStore) -> None:
    """R6: what does not fit is an error that says so; nothing of it is kept, the rest can be read."""
    use(store)
    for connection in (store._ledger, store._quick):
        with connection.reading(1) as db:
            db.execute("PRAGMA max_page_count = 1")
    for write in (
        lambda: store.put("big", b"x" * 10**6, NOW, LATER),
        lambda: store.save_prompt("big", {"text": "x" * 10**6}),
        lambda: store.log({"id": "big", "at": 2.0, "text": "x" * 10**6}),
    ):
        with pytest.raises(StoreError, match="disk is full"):
            write()

    assert (store.cached("big", NOW), store.prompt("big"), store.entry("big")) == (None, None, None)
    assert (store.cached("k", NOW), store.taken("a", "w")) == (b"v", 5)


def test_r6_file_that_may_not_grow(path: Path, python: Callable[..., Any]) -> None:
    """R6: a limit of the operating system is an error as well, and costs nothing that was there before."""
    code = (
        "import resource, sys; from respan_openai.exceptions import StoreError;"
        "from respan_openai.stores.protocol import Charge\n"
        "from respan_openai.stores.sqlite import SQLiteStore\n"
        "store = SQLiteStore(sys.argv[1]); store.reserve('h', [Charge('a', 'w', 5)], 1000.0, 1600.0)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))\n"
        "for n in range(100):\n"
        "    try: store.put(str(n), b'x' * 50_000, 1000.0, 1600.0)\n"
        "    except StoreError as exc: print('StoreError', store.taken('a', 'w')); break\n"
    )

    assert python(code, path).communicate(timeout=60)[0] == "StoreError 5\n"
    assert value(path, "PRAGMA integrity_check") == "ok"


def test_r6_read_only(store: SQLiteStore) -> None:
    """R6: a file that cannot be written says so; what is in it can be read."""
    use(store)
    for connection in (store._ledger, store._quick):
        with connection.reading(1) as db:
            db.execute("PRAGMA query_only = 1")

    with pytest.raises(StoreError, match="read-only"):
        store.put("k", b"new", NOW, LATER)
    with pytest.raises(StoreError, match="read-only"):
        store.reserve("h", [Charge("a", "w", 1)], NOW, LATER)
    assert (store.cached("k", NOW), store.taken("a", "w")) == (b"v", 5)


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_r6_deleted_under_us(open_store: Callable[..., SQLiteStore], path: Path, how: str) -> None:
    """R6: nothing is written to a file that nobody will find; who opens the store again has a new one."""
    store = open_store()
    use(store)
    path.rename(path.with_name("elsewhere"))
    if how == "replaced":
        path.write_bytes(b"")

    all_fail(store, "Open the store again")
    for suffix in ("-wal", "-shm"):
        path.with_name(f"store.db{suffix}").unlink()
    assert open_store().taken("a", "w") == 0


# -- R7: what the file holds


@pytest.mark.parametrize("content", [b"garbage" * 1000, b"garbage", b"SQLite format 3\x00" + b"\xff" * 5000])
def test_r7_garbage_is_set_aside(open_store: Callable[..., SQLiteStore], path: Path, content: bytes) -> None:
    """R7: the file is renamed, with a warning at the caller's line, and a new one begun."""
    path.write_bytes(content)

    with pytest.warns(RespanWarning, match="damaged-1") as warned:
        store = open_store()

    assert warned[0].filename == __file__
    assert path.with_name("store.db.damaged-1").read_bytes() == content
    use(store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_r7_files_beside_it_go_along(path: Path) -> None:
    """R7: a write-ahead log that another process keeps open must not be read into the new file."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(f"store.db{suffix}").write_text(suffix)

    assert _files.set_aside(path) == path.with_name("store.db.damaged-1")
    assert {
        each.name.removeprefix("store.db.damaged-1"): each.read_text() for each in path.parent.iterdir()
    } == {suffix: suffix for suffix in ("", "-wal", "-shm")}


def test_r7_garbage_a_second_time(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """R7: what happens again has a cause: an error, and both files stay as they are."""
    path.write_bytes(b"second" * 1000)
    path.with_name("store.db.damaged-1").write_bytes(b"first")

    with pytest.raises(StoreError, match="move both away"):
        open_store()

    assert path.read_bytes() == b"second" * 1000
    assert path.with_name("store.db.damaged-1").read_bytes() == b"first"


@pytest.mark.parametrize("moved", [0, 2], ids=["linked", "linked and moved in part"])
def test_r7_killed_while_setting_aside(
    open_store: Callable[..., SQLiteStore], path: Path, moved: int
) -> None:
    """R7: a move that was cut short is brought to its end by whoever comes next."""
    aside = path.with_name("store.db.damaged-1")
    path.write_text("garbage")
    os.link(path, aside)
    for place, suffix in zip([aside, path][2 - moved :] or [path, path], ("-wal", "-shm"), strict=True):
        place.with_name(place.name + suffix).write_text("garbage")

    with pytest.warns(RespanWarning, match="damaged-1"):
        store = open_store()

    use(store)
    assert {each.read_text() for each in path.parent.glob("*.damaged-1*")} == {"garbage"}


OPENERS = """
import os, sys, warnings
from pathlib import Path
from respan_openai.stores.sqlite import SQLiteStore
warnings.simplefilter("ignore")
folder = Path(sys.argv[1])
failed = 0
for number in range(60):
    path = folder / f"{number}.db"
    path.write_bytes(b"garbage" * 1000)
    ready, go = os.pipe()
    children = []
    for _ in range(4):
        children.append(os.fork())
        if children[-1] == 0:
            os.close(go)
            os.read(ready, 1)
            try:
                SQLiteStore(path, wait=30).log({"id": str(os.getpid()), "at": 1.0})
            except BaseException:
                os._exit(1)
            os._exit(0)
    os.close(go)
    os.close(ready)
    failed += any([os.waitpid(child, 0)[1] for child in children])
    failed += len(SQLiteStore(path).entries()) != 4
print(failed)
"""


def test_r7_four_processes_set_aside(tmp_path: Path, python: Callable[..., Any]) -> None:
    """R7: those who find the damage at the same moment all start, on one and the same new file."""
    assert python(OPENERS, tmp_path).communicate(timeout=120)[0] == "0\n"


def test_r7_damage_that_shows_later(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """R7: a page that is overwritten is an error where it is read, and never an answer."""
    store = open_store()
    for number in range(50):
        store.save_prompt(str(number), {"text": "x" * 3000})
    store.close()
    with path.open("r+b") as file:
        file.seek(4096 * 20)
        file.write(b"\xff" * 4096 * 20)

    store = open_store()
    with pytest.raises(StoreError, match="damaged"):
        [store.prompt(str(number)) for number in range(50)]


def test_r7_newer_file_is_refused(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """R7: a file of a release to come is not touched."""
    open_store().close()
    with foreign(path) as connection:
        connection.execute(f"PRAGMA user_version = {_schema.VERSION + 1}")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="Upgrade"):
        open_store()

    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["store.db"]


@pytest.mark.parametrize("version", range(_schema.VERSION))
def test_r7_older_file_is_migrated(open_store: Callable[..., SQLiteStore], path: Path, version: int) -> None:
    """R7: a file with the first tables only gets the others, and keeps what it had."""
    with foreign(path) as connection:
        for step in _schema.STEPS[:version]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {_schema.APPLICATION}")
        if version > 1:
            connection.execute("INSERT INTO budgets (account, period, taken) VALUES ('old', 'w', 3)")

    store = open_store()
    use(store)
    assert store.taken("old", "w") == (3 if version > 1 else 0)
    assert value(path, "PRAGMA user_version") == _schema.VERSION


def older(path: Path, version: int) -> None:
    """Make the file of an older release."""
    with foreign(path) as connection:
        for statement in (each for step in _schema.STEPS[:version] for each in step):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {_schema.APPLICATION}")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: path.write_bytes(b"garbage" * 1000), "not a store, or is damaged"),
        (lambda path: path.touch(), "older release"),
        (lambda path: older(path, 2), "older release"),
    ],
    ids=["garbage", "empty", "older"],
)
def test_r7_file_as_it_is(path: Path, make: Callable[[Path], object], match: str) -> None:
    """R7: whoever only looks changes neither the file nor its name nor its mode."""
    make(path)
    path.chmod(0o644)
    before = path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns

    with pytest.raises(StoreError, match=match):
        SQLiteStore(path, as_is=True)

    assert (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns) == before
    assert [each.name for each in path.parent.iterdir()] == ["store.db"]


def test_r7_missing_file_as_it_is(path: Path) -> None:
    """R7: nothing is made by looking for it."""
    with pytest.raises(ConfigError, match="There is no file"):
        SQLiteStore(path, as_is=True)

    assert list(path.parent.iterdir()) == []


def test_r7_sound_file_as_it_is(store: SQLiteStore, path: Path) -> None:
    """R7: it can be read while others write, and keeps its mode."""
    use(store)
    path.chmod(0o644)
    with closing(SQLiteStore(path, as_is=True)) as looking:
        assert [row["id"] for row in looking.entries()] == ["r"]

    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("version", [0, _schema.VERSION, 99])
def test_r7_database_of_another_application(
    open_store: Callable[..., SQLiteStore], path: Path, version: int
) -> None:
    """R7: a database that is not ours is refused and left alone, whatever version it says it has."""
    with foreign(path) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.execute(f"PRAGMA user_version = {version}")
    before = path.read_bytes()

    with pytest.raises(StoreError, match="another application"):
        open_store()

    assert path.read_bytes() == before


def test_file_that_cannot_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQLite says about opening a file becomes an error that names it."""

    def connect(*args: Any, **kwargs: Any) -> None:
        error = sqlite3.OperationalError("unable to open")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", connect)

    with pytest.raises(StoreError, match=r"store\.db cannot be opened"):
        SQLiteStore(path)


def test_file_that_others_are_using(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is locked when it is opened is waited for, some seconds at most."""
    with foreign(path) as other:
        other.execute("CREATE TABLE theirs (x)")
        other.execute(f"PRAGMA application_id = {_schema.APPLICATION}")
        other.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(_opening, "_WAIT", 0.02)
        with pytest.raises(StoreError, match="locked by another process"):
            SQLiteStore(path)

        monkeypatch.setattr(_opening, "_WAIT", 30)
        monkeypatch.setattr(_opening.time, "sleep", lambda _: other.execute("ROLLBACK"))
        SQLiteStore(path).close()


def test_every_field_has_a_column(store: SQLiteStore, path: Path) -> None:
    """What rows can be asked for is a column of the log, in front of the long text of the row."""
    with foreign(path) as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(log)")]

    assert columns == ["id", "at", *FIELDS, "row"]


def test_search_holds_up_nobody(open_store: Callable[..., SQLiteStore]) -> None:
    """While the log is read through, other threads write to it, and find and put what is cached."""
    store = open_store(wait=0.02)
    use(store)
    others: list[Callable[[], object]] = [
        lambda: store.log({"id": "meanwhile", "at": 2.0}),
        lambda: store.put("meanwhile", b"v", NOW, LATER),
        lambda: store.cached("k", NOW),
    ]
    done: list[object] = []

    def meanwhile(_statement: str) -> None:
        with ThreadPoolExecutor(1) as pool:
            done.extend(pool.submit(other).exception() for other in others)

    with store._reader.reading(1) as db:
        db.set_trace_callback(lambda text: meanwhile(text) if text.startswith("SELECT row") else None)
    store.entries(where={"model": "none"})

    assert done == [None, None, None]


# -- R8: who may touch the file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_r8_files_are_private(open_store: Callable[..., SQLiteStore], path: Path, umask: int) -> None:
    """R8: whatever the umask, the file and those beside it are made for their owner alone."""
    before = os.umask(umask)
    try:
        use(open_store())
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(before)

    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_r8_mode_is_tightened(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """R8: a file of ours that others can read is closed to them, and so are those beside it."""
    use(open_store())
    for each in path.parent.iterdir():
        each.chmod(0o644)
    open_store()

    assert {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["store.db", "store.db-wal", "store.db-journal"])
def test_r8_links_are_refused(open_store: Callable[..., SQLiteStore], path: Path, name: str) -> None:
    """R8: a link is not followed, to a file or to nothing, also not beside the file."""
    target = path.with_name("target")
    path.with_name(name).symlink_to(target)

    with pytest.raises(ConfigError, match="link"):
        open_store()

    assert not target.exists()


def test_r8_folder_in_the_place_of_the_file(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """R8: only a plain file will do."""
    path.mkdir()

    with pytest.raises(ConfigError, match="plain file"):
        open_store()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702])
def test_r8_open_folder_is_refused(open_store: Callable[..., SQLiteStore], path: Path, mode: int) -> None:
    """R8: in a folder that all users write to, nobody knows whose file it will be."""
    path.parent.chmod(mode)

    with pytest.raises(ConfigError, match="folder of your own"):
        open_store()

    assert not path.exists()


def test_r8_foreign_owner_is_refused(
    open_store: Callable[..., SQLiteStore], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R8: a file of another user, who can change it, is not used."""
    path.touch()
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)

    with pytest.raises(ConfigError, match=f"user with id {uid}"):
        open_store()

    assert path.read_bytes() == b""


def test_missing_folder(tmp_path: Path) -> None:
    """No folder is made on the way: the error says how."""
    with pytest.raises(ConfigError, match="mkdir"):
        SQLiteStore(tmp_path / "missing" / "store.db")


def test_file_that_cannot_be_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that nothing can be made in is named in the error."""

    def refused(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refused)

    with pytest.raises(StoreError, match="Permission denied"):
        SQLiteStore(path)


def test_damaged_file_that_cannot_be_set_aside(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left where it is, and the error says to move it."""
    path.write_bytes(b"garbage" * 1000)

    def refused(*args: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)

    with pytest.raises(StoreError, match="Move it by hand"):
        SQLiteStore(path)
    assert path.read_bytes() == b"garbage" * 1000


@pytest.mark.parametrize("name", ["", ":memory:", "file:x?mode=memory"])
def test_path_must_be_a_file(name: str) -> None:
    """What SQLite would take for something else is refused."""
    with pytest.raises(ConfigError, match="MemoryStore"):
        SQLiteStore(name)


def test_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who changes the working directory afterwards still writes to the same file."""
    monkeypatch.chdir(tmp_path)
    with closing(SQLiteStore("store.db")) as store:
        monkeypatch.chdir("/")
        use(store)

        assert repr(store) == f"SQLiteStore({str(tmp_path / 'store.db')!r})"


@pytest.mark.parametrize(
    "options",
    [
        {"max_bytes": 0},
        {"max_bytes": None},
        {"max_rows": 0},
        {"wait": 0},
        {"wait": float("inf")},
        {"wait": "1"},
    ],
)
def test_options_are_checked(path: Path, options: dict[str, Any]) -> None:
    """A bound or a wait of nothing is an error that names the argument, before a file is made."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        SQLiteStore(path, **options)

    assert not path.exists()


# -- R9: network file systems


MOUNTS = r"""22 27 0:20 / /sys rw,nosuid - sysfs sysfs rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 27 0:40 / /mnt/a\040b rw,relatime shared:1 master:2 - nfs4 host:/x rw
32 27 0:41 / /mnt/c rw - fuse.sshfs me@host: rw
"""


@pytest.mark.parametrize(
    ("device", "kind"),
    [((254, 0), "ext4"), ((0, 40), "nfs4"), ((0, 41), "fuse.sshfs"), ((0, 4), None), ((1, 1), None)],
)
def test_r9_kind_of_file_system(device: tuple[int, int], kind: str | None) -> None:
    """R9: it is read from the list of mounts, by the number of the device (proc_pid_mountinfo(5))."""
    assert _files.mounted_as(os.makedev(*device), MOUNTS) == kind


def test_r9_network_file_system(
    open_store: Callable[..., SQLiteStore], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R9: there is a warning at the caller's line, and no write-ahead log; all else works."""
    path.touch()
    kind = _files.mounted_as(path.stat().st_dev, _files.Path("/proc/self/mountinfo").read_text())
    monkeypatch.setattr(_files, "NETWORK", {kind})

    with pytest.warns(RespanWarning, match="one machine") as warned:
        store = open_store()

    use(store)
    assert warned[0].filename == __file__
    assert value(path, "PRAGMA journal_mode") == "delete"
    assert store.taken("a", "w") == 5


def test_r9_unknown_file_system(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R9: where the list of mounts cannot be read, nothing is said about networks."""
    path.touch()

    def missing(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(_files.Path, "read_text", missing)

    assert _files.network_of(path) is None


def test_local_file_has_a_write_ahead_log(store: SQLiteStore, path: Path) -> None:
    """Where processes share memory, readers do not wait for writers."""
    assert value(path, "PRAGMA journal_mode") == "wal"


# -- R10, R12, R13: processes and releases


FORKING = """
import os, sys, threading
from respan_openai.stores.protocol import Charge
from respan_openai.stores.sqlite import SQLiteStore
store = SQLiteStore(sys.argv[1], wait=30)
closed = SQLiteStore(sys.argv[1])
closed.close()
writing = True
def write():
    number = 0
    while writing:
        number += 1
        store.put("k", b"v" * 1000, 1000.0, 1600.0)
        store.reserve(f"thread-{number}", [Charge("thread", "w", 1)], 1000.0, 1600.0)
thread = threading.Thread(target=write)
thread.start()
handles = {id(line._connection) for line in store._connections}
for child in range(5):
    pid = os.fork()
    if pid == 0:
        store.reserve(f"child-{child}", [Charge("a", "w", 1)], 1000.0, 1600.0)
        own = {id(line._connection) for line in store._connections}
        os._exit(0 if store.cached("k", 1000.0) is not None and not own & handles else 1)
    assert os.waitpid(pid, 0)[1] == 0
writing = False
thread.join()
store.reserve("parent", [Charge("a", "w", 1)], 1000.0, 1600.0)
print(store.taken("a", "w"))
"""


def test_r10_fork_after_open(path: Path, python: Callable[..., Any]) -> None:
    """R10: though threads write, a child has connections of its own, no held lock, and the same budgets."""
    assert python(FORKING, path).communicate(timeout=120)[0] == "6\n"
    assert value(path, "PRAGMA integrity_check") == "ok"


def test_r10_file_that_is_gone_after_a_fork(store: SQLiteStore, path: Path) -> None:
    """R10: a child that cannot open the file is told so when it asks."""
    path.parent.rename(path.parent.with_name("moved"))
    store.pause()
    store.resume(child=True)

    all_fail(store, "closed|Open the store again")
    path.parent.with_name("moved").rename(path.parent)


def test_r12_newer_release_writes_meanwhile(store: SQLiteStore, path: Path) -> None:
    """R12: once a newer release has changed the tables, this one neither reads nor writes a row."""
    use(store)
    with foreign(path) as connection:
        connection.execute(f"PRAGMA user_version = {_schema.VERSION + 1}")

    all_fail(store, "Upgrade")
    with foreign(path) as connection:
        connection.execute(f"PRAGMA user_version = {_schema.VERSION}")
    assert store.taken("a", "w") == 5


def test_r12_newer_release_migrates_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """R12: a file that becomes newer between looking and migrating is refused as well."""
    with foreign(path) as connection:
        monkeypatch.setattr(_schema, "STEPS", _schema.STEPS[:1])
        _schema.migrate(connection)
        connection.execute(f"PRAGMA user_version = {_schema.VERSION + 1}")

        with pytest.raises(StoreError, match="Upgrade"):
            _schema.migrate(connection)


def test_r13_exit_with_writes_under_way(path: Path, python: Callable[..., Any]) -> None:
    """R13: the interpreter ends while threads write and the store is open, and the file is whole."""
    code = (
        "import sys, threading; from respan_openai.stores.sqlite import SQLiteStore\n"
        "store = SQLiteStore(sys.argv[1]); begun = threading.Semaphore(0)\n"
        "def write(name):\n"
        "    number = 0\n"
        "    while True:\n"
        "        number += 1; store.log({'id': f'{name}-{number}', 'at': 1.0}); begun.release()\n"
        "for name in range(4): threading.Thread(target=write, args=(name,), daemon=True).start()\n"
        "for _ in range(40): begun.acquire()\n"
    )

    assert python(code, path).wait(60) == 0
    assert value(path, "PRAGMA integrity_check") == "ok"


# -- bounds


def size_of(path: Path) -> tuple[int, int]:
    """The cache's size as it is counted, and as it is."""
    return (
        value(path, "SELECT amount FROM totals WHERE name = 'cache'"),
        value(path, "SELECT coalesce(sum(length(key) + length(value)), 0) FROM cache"),
    )


def test_cache_is_bounded(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """What was put first makes room; the size is counted through replacing, expiring and making room."""
    store = open_store(max_bytes=100)
    for key, length in (("a", 39), ("b", 39), ("a", 9), ("c", 49), ("d", 9)):
        store.put(key, b"x" * length, NOW, LATER)

    assert [store.cached(key, NOW) is not None for key in "abcd"] == [True, False, True, True]
    assert size_of(path) == (70, 70)


def test_value_larger_than_the_cache(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """It is not kept, what it replaces is gone, and others need not make room for it."""
    store = open_store(max_bytes=100)
    store.put("a", b"old", NOW, LATER)
    store.put("b", b"other", NOW, LATER)
    store.put("a", b"x" * 100, NOW, LATER)

    assert (store.cached("a", NOW), store.cached("b", NOW)) == (None, b"other")
    store.put("c", b"x" * 99, NOW, LATER)
    assert size_of(path) == (100, 100)


def test_expired_values_are_removed(store: SQLiteStore, path: Path) -> None:
    """Whoever puts a value takes the expired ones away."""
    store.put("old", b"x", NOW, NOW + 1)
    store.put("new", b"x", NOW + 1, LATER)

    assert value(path, "SELECT group_concat(key) FROM cache") == "new"


def test_windows_do_not_pile_up(store: SQLiteStore, path: Path) -> None:
    """Of a budget by the minute two rows are left at most, however long its customer calls."""
    for number in range(10):
        charge = Charge("a", f"minute {number}", 1, 9, 60.0 * (number + 1))
        store.reserve(f"h{number}", [charge], 60.0 * number, 60.0 * number + 600)
        store.settle(f"h{number}", [1], 60.0 * number)

    assert value(path, "SELECT count(*) FROM budgets") == 1


def test_log_is_counted(open_store: Callable[..., SQLiteStore], path: Path) -> None:
    """The number of rows is right after replacing and trimming, and a lower bound is kept at the next row."""
    for bound in (5, 2):
        store = open_store(max_rows=bound)
        for number in (1, 2, 2, 3, 4, 5, 6):
            store.log({"id": str(number), "at": float(number)})

        assert value(path, "SELECT amount FROM totals WHERE name = 'log'") == len(store.entries()) == bound


@pytest.mark.parametrize(
    "attempt",
    [
        lambda store: store.put("secret-canary\ud800", b"", NOW, LATER),
        lambda store: store.save_customer("secret-canary\ud800", {}),
        lambda store: store.log({"id": "r", "at": None, "text": "secret-canary"}),
        lambda store: store.log({"id": "r", "at": 1.0, "status": 2**64, "text": "secret-canary"}),
        lambda store: store.log({"id": "r", "at": 1.0, "model": ["secret-canary"]}),
    ],
    ids=["key", "identifier", "no time", "large number", "list"],
)
def test_what_sqlite_does_not_take(store: SQLiteStore, attempt: Callable[[SQLiteStore], object]) -> None:
    """Half a character, a missing time or a number beyond 64 bits: an error that shows nothing of it."""
    with pytest.raises(StoreError) as caught:
        attempt(store)

    assert "canary" not in f"{caught.value}{caught.value.__cause__}"
    use(store)


def test_budget_beyond_64_bits(store: SQLiteStore) -> None:
    """More than can be counted is an error, and the hold can still be settled."""
    store.reserve("h1", [Charge("a", "w", 2**63 - 2)], NOW, LATER)
    store.reserve("h2", [Charge("a", "w", 1)], NOW, LATER)

    with pytest.raises(StoreError, match="64 bits"):
        store.settle("h2", [5], NOW)

    store.settle("h2", [0], NOW)
    assert store.taken("a", "w") == 2**63 - 2


def test_interrupted_write_is_taken_back(store: SQLiteStore) -> None:
    """Ctrl-C within a transaction leaves nothing of it, and no lock."""

    def interrupted() -> None:
        with store._ledger.writing(1) as db:
            db.execute("INSERT INTO prompts VALUES ('p', '{}')")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert store.prompt("p") is None
    worker = threading.Thread(target=use, args=(store,))
    worker.start()
    worker.join()
    assert store.taken("a", "w") == 5


def test_row_that_somebody_else_wrote(store: SQLiteStore, path: Path) -> None:
    """What is no JSON is an error that does not show it."""
    with foreign(path) as connection:
        connection.execute("INSERT INTO prompts VALUES ('p', 'secret-canary')")

    with pytest.raises(StoreError, match="something else has written") as caught:
        store.prompt("p")

    assert "canary" not in str(caught.value)


@pytest.mark.skipif(os.name == "nt", reason="folders are not locked there")
def test_a_folder_that_another_program_has_locked(
    open_store: Callable[..., SQLiteStore], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for a while, and not for ever: the lock may be that of whoever started this process."""
    import fcntl

    monkeypatch.setattr(_files, "_LOCK_SECONDS", 0.02)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert open_store().cached("key", NOW) is None
    finally:
        os.close(descriptor)


def test_two_who_look_into_the_log(open_store: Callable[..., SQLiteStore]) -> None:
    """The second waits for the first, longer than a call would: nobody waits for either."""
    store = open_store(wait=0.01)
    with ThreadPoolExecutor(1) as pool:
        with store._reader.reading(1):
            looking = pool.submit(store.entries)
            with pytest.raises(TimeoutError):
                looking.result(0.2)

        assert looking.result(10) == []
