"""Bring a database to the schema that this version of the program knows."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

from better_claude.errors import StoreError

# "BCst": tells our database from any other SQLite file.
APPLICATION_ID = 0x42437374

Migration = Callable[[sqlite3.Connection], None]


def _create(connection: sqlite3.Connection) -> None:
    for statement in statements(schema_text()):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


# The nth one leads from version n-1 to n. Appended to, never changed.
MIGRATIONS: tuple[Migration, ...] = (_create,)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Apply what is missing and return how many were; each commits together with its record.

    The record is ``PRAGMA user_version``, which is part of the transaction. Raises StoreError
    for a database from a newer version or of another program; it is left as it was.
    """
    applied = 0
    while _next_version(connection, len(migrations)) is not None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have migrated while we waited for the lock.
            version = _next_version(connection, len(migrations))
            if version is not None:
                migrations[version - 1](connection)
                connection.execute(f"PRAGMA user_version = {version}")
                applied += 1
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return applied


def check_ours(connection: sqlite3.Connection) -> None:
    """Raise StoreError if the database is another program's or from a newer version."""
    _check_ours(connection, _version(connection), VERSION)


def check_readable(connection: sqlite3.Connection) -> bool:
    """Tell whether the schema is there; raise StoreError if it is not one that we can read."""
    version = _version(connection)
    _check_ours(connection, version, VERSION)
    if 0 < version < VERSION:
        raise StoreError(
            "store-older",
            f"{_file(connection)} has schema {version}, this better-claude reads {VERSION}",
            "Start the service, which brings it up to date: better-claude up",
        )
    return version > 0


def schema_text() -> str:
    """Return the commented SQL of the newest schema."""
    return Path(__file__).with_name("schema.sql").read_text("utf-8")


def statements(script: str) -> list[str]:
    """Split a script into statements, since ``executescript`` would commit in between."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found


def _next_version(connection: sqlite3.Connection, newest: int) -> int | None:
    version = _version(connection)
    _check_ours(connection, version, newest)
    return version + 1 if version < newest else None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_ours(connection: sqlite3.Connection, version: int, newest: int) -> None:
    # Tables first: they and the id appear in one transaction, so tables without id are not ours.
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if tables and application != APPLICATION_ID:
        raise StoreError(
            "store-foreign",
            f"{_file(connection)} was not made by better-claude",
            "Move the file away; a new one is made at the next start of the service.",
        )
    if version > newest:
        raise StoreError(
            "store-newer",
            f"{_file(connection)} has schema {version}, this better-claude knows {newest}",
            "Install the newer version again, or move the file away to begin a new one.",
        )


def _file(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA database_list").fetchone()[2]) or "the database"
