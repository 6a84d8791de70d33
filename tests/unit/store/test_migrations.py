import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from better_claude.errors import StoreError
from better_claude.store.migrations import MIGRATIONS, VERSION, migrate, statements
from better_claude.store.reader import open_reader
from better_claude.store.writer import Writer


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def test_a_new_database_gets_the_schema_once(connection: sqlite3.Connection) -> None:
    assert migrate(connection) == VERSION
    assert migrate(connection) == 0
    assert version(connection) == VERSION
    assert {"runs", "hooks", "run_hours"} <= tables(connection)


def test_a_migration_and_its_record_fail_together(connection: sqlite3.Connection) -> None:
    def half(target: sqlite3.Connection) -> None:
        target.execute("CREATE TABLE extra (id INTEGER)")
        target.execute("CREATE TABLE extra (id INTEGER)")

    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, half))
    assert version(connection) == VERSION
    assert "extra" not in tables(connection)

    def whole(target: sqlite3.Connection) -> None:
        target.execute("CREATE TABLE extra (id INTEGER)")

    assert migrate(connection, (*MIGRATIONS, whole)) == 1
    assert version(connection) == VERSION + 1
    assert "extra" in tables(connection)


def test_a_newer_schema_is_refused_and_left_alone(
    path: Path, connection: sqlite3.Connection
) -> None:
    migrate(connection)
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = path.read_bytes()
    for open_store in (Writer.open, open_reader):
        with pytest.raises(StoreError) as caught:
            open_store(path)
        assert caught.value.slug == "store-newer"
        assert str(path) in caught.value.message
    assert path.read_bytes() == before


def test_another_programs_database_is_refused_and_left_alone(
    path: Path, connection: sqlite3.Connection
) -> None:
    connection.execute("CREATE TABLE theirs (id INTEGER)")
    before = path.read_bytes()
    for open_store in (Writer.open, open_reader):
        with pytest.raises(StoreError) as caught:
            open_store(path)
        assert caught.value.slug == "store-foreign"
    assert path.read_bytes() == before


def test_what_is_no_database_is_refused(path: Path) -> None:
    path.write_bytes(b"no database at all, but longer than a page header " * 100)
    for open_store in (Writer.open, open_reader):
        with pytest.raises(StoreError) as caught:
            open_store(path)
        assert caught.value.slug == "store-damaged"


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        Writer.open(tmp_path / "none" / "store.db")
    assert caught.value.slug == "store-failed"


def test_statements_are_split_where_they_end() -> None:
    script = "-- a; b\nCREATE TABLE a (x TEXT DEFAULT ';');\n\nCREATE TABLE b (\n y -- ;\n);\n"
    assert len(statements(script)) == 2
