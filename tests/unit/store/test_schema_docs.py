"""docs/formats.md tells the schema as it is.

After a change of the schema: ``python -m tests.unit.store.test_schema_docs`` writes it anew.
"""

import re
import sqlite3
from pathlib import Path

from better_claude.store import codes
from better_claude.store.migrations import VERSION, migrate, schema_text

FORMATS = Path(__file__).parents[3] / "docs/formats.md"
BEGIN, END = "<!-- schema: begin -->\n", "<!-- schema: end -->\n"
CODES = {
    "mode": codes.MODES,
    "outcome": codes.OUTCOMES,
    "enforcement": codes.ENFORCEMENTS,
    "source": codes.SOURCES,
    "breach": codes.BREACHES,
    "anon_source": codes.ANON_SOURCES,
    "exec": codes.EXECS,
}


def descriptions() -> dict[str, str]:
    """Return the comment that stands before each table."""
    found = re.findall(r"((?:^--.*\n)+)CREATE TABLE (\w+)", schema_text(), re.MULTILINE)
    return {
        table: " ".join(line.removeprefix("--").strip() for line in comment.splitlines())
        for comment, table in found
    }


def tables() -> dict[str, list[str]]:
    """Return each table's columns, those of its key in bold."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY rowid")
    found = {}
    for (table,) in names.fetchall():
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        found[table] = [f"**`{row[1]}`**" if row[5] else f"`{row[1]}`" for row in columns]
    connection.close()
    return found


def section() -> str:
    told = descriptions()
    lines = [f"Schema version {VERSION} (`PRAGMA user_version`).", ""]
    lines += ["| table | what | columns (key in bold) |", "|---|---|---|"]
    lines += [
        f"| `{table}` | {told[table]} | {', '.join(columns)} |"
        for table, columns in tables().items()
    ]
    lines += ["", "| code | 0, 1, 2, … |", "|---|---|"]
    lines += [
        f"| `{name}` | {', '.join(f'`{word}`' if word else 'none' for word in words)} |"
        for name, words in CODES.items()
    ]
    return "\n".join(lines) + "\n"


def test_every_table_is_described() -> None:
    assert set(descriptions()) == set(tables())


def test_the_documented_schema_is_the_real_one() -> None:
    text = FORMATS.read_text("utf-8")
    assert text.partition(BEGIN)[2].partition(END)[0] == section()


if __name__ == "__main__":
    before, _, rest = FORMATS.read_text("utf-8").partition(BEGIN)
    FORMATS.write_text(before + BEGIN + section() + END + rest.partition(END)[2], "utf-8")
