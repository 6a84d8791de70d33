"""What the documents promise is what the program has."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.house.sources import REPOSITORY, modules

from better_claude.model import Run, RunStart

ERROR_CLASSES = frozenset(
    node.name for node in modules()["better_claude.errors"].body if isinstance(node, ast.ClassDef)
)


def _document(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


def _raised_slugs() -> Iterator[str]:
    for tree in modules().values():
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if node.func.id in ERROR_CLASSES and node.args:
                slug = node.args[0]
                if isinstance(slug, ast.Constant) and isinstance(slug.value, str):
                    yield slug.value


def _literals() -> set[str]:
    return {
        node.value
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _headings() -> list[str]:
    return re.findall(r"^## (\S+)$", _document("docs/messages.md"), re.MULTILINE)


def test_every_raised_slug_has_its_message() -> None:
    assert set(_raised_slugs()) - set(_headings()) == set()


def test_every_message_can_be_met() -> None:
    assert set(_headings()) - _literals() == set()


def test_each_message_stands_once_and_says_what_to_do() -> None:
    assert len(_headings()) == len(set(_headings()))
    entries = re.split(r"^## \S+$", _document("docs/messages.md"), flags=re.MULTILINE)[1:]
    assert all(len(entry.split()) >= 10 for entry in entries)


def _members(section: str) -> set[str]:
    """Return the names in the first column of the table below a heading of docs/formats.md."""
    _, _, rest = _document("docs/formats.md").partition(f'\n### `kind: "{section}"`\n')
    table = re.search(r"^\|.*?(?=\n\n)", rest, re.DOTALL | re.MULTILINE)
    assert table is not None
    cells = [line.split("|")[1] for line in table[0].splitlines()[2:]]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def _fields(record: type[msgspec.Struct]) -> set[str]:
    return set(record.__struct_fields__)


def test_formats_names_the_members_of_a_start() -> None:
    assert _members("start") == _fields(RunStart)


def test_formats_names_the_members_of_an_end() -> None:
    shared = _fields(RunStart) & _fields(Run)
    assert _members("end") | shared == _fields(Run)
    assert not _members("end") & shared


def test_the_changelog_has_something_unreleased() -> None:
    _, found, rest = _document("CHANGELOG.md").partition("\n## Unreleased\n")
    assert found
    assert "\n- " in rest.partition("\n## ")[0]


@pytest.mark.parametrize("path", sorted((REPOSITORY / "docs").rglob("*.md")), ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    missing = [target for target in targets if not (path.parent / target).exists()]
    assert missing == []
