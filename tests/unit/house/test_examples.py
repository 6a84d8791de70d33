"""What the documents tell people to type can be typed, and what they show is what is shown."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.house.sources import REPOSITORY

from better_claude.commands import parse_arguments
from better_claude.contract import Limits, load_contract
from better_claude.show.hooks import hook_grid

DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
_INLINE = re.compile(r"`better-claude ([^`]+)`")
_BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[str]:
    """Yield what stands behind ``better-claude`` in code, up to a comment or a pipe."""
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("better-claude "):
                yield re.split(r"\s#\s|\s\|\s", line)[0].removeprefix("better-claude ").strip()
    yield from _INLINE.findall(_BLOCK.sub("", text))


EXAMPLES = [
    pytest.param(command, id=f"{path.name}: {command}")
    for path in DOCUMENTS
    for command in sorted(set(commands(path.read_text("utf-8"))))
    # An ellipsis for the reader to fill in is no example, unless it is the client's business.
    if "…" not in command or " -- " in command
]


@pytest.mark.parametrize("command", EXAMPLES)
def test_every_command_parses(command: str) -> None:
    words = shlex.split(command)
    assert parse_arguments(words).verb == words[0]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 30


def readme() -> str:
    return (REPOSITORY / "README.md").read_text("utf-8")


def seconds(event: str) -> str:
    return f"{load_contract().event_limits(event).timeout_ms / 1000:g} s"


@pytest.mark.parametrize(
    "event", [*load_contract().event_names(), pytest.param("any other", id="other")]
)
def test_the_readme_states_the_contracts_limits(event: str) -> None:
    rows = re.findall(r"^\| ([\w, ]+) \| ([\d.]+ s) \|$", readme(), re.MULTILINE)
    stated = {name.strip(): limit for names, limit in rows for name in names.split(",")}
    assert stated[event] == seconds(event)


def test_the_readme_states_the_memory_limit_and_the_grace() -> None:
    contract = load_contract()
    assert f"{contract.number('memory.hook') >> 20} MB of anonymous memory" in readme()
    assert f"{contract.number('stop.grace') // 1_000_000} ms later SIGKILL" in readme()


def picture() -> str:
    return (REPOSITORY / "docs/hooks.svg").read_text("utf-8")


def test_the_picture_shows_the_table_as_it_is_now() -> None:
    shown = re.findall(r"<text [^>]*>([^<]*)</text>", picture())
    headings = [place.heading for place in hook_grid([], _no_limits, 0).places]
    assert shown[0] == "$ better-claude hooks --sample"
    assert shown[1] == "SAMPLE DATA"
    # An empty table has the columns that always stay; the picture has these and more.
    assert [word for word in shown[2:] if word in headings][: len(headings)] == headings


def _no_limits(_: object) -> Limits:
    raise AssertionError("no hook, no limit")


def test_the_picture_loads_nothing() -> None:
    assert set(re.findall(r"https?://[^\"<\s]+", picture())) == {"http://www.w3.org/2000/svg"}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.name))
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text("utf-8"))
    assert [target for target in targets if not (path.parent / target).exists()] == []
