"""docs/formats.md names exactly the members that ``--json`` prints."""

import re
from pathlib import Path

import msgspec
import pytest

from better_claude.model import Run, RunStart
from better_claude.show.status import ServiceFigures
from better_claude.show.top import SessionLoad
from better_claude.store.views import (
    CallSummary,
    HookSummary,
    Percentiles,
    RunningRun,
    SessionSummary,
    StatusSummary,
    StoredRun,
)

FORMATS = (Path(__file__).parents[3] / "docs/formats.md").read_text("utf-8")
# What `status` adds to the store's summary.
ADDED = {"service", "mode", "contract", "contract_error"}


def documented(kind: str) -> dict[str, str]:
    """Return each member in the table of ``kind`` with what stands beside it."""
    _, found, rest = FORMATS.partition(f'\n### `kind: "{kind}"`\n')
    assert found, kind
    table = re.search(r"^\|.*?(?=\n\n)", rest, re.DOTALL | re.MULTILINE)
    assert table is not None
    members = {}
    for line in table[0].splitlines()[2:]:
        _, names, _, meaning, _ = line.split("|")
        members.update(dict.fromkeys(re.findall(r"`(\w+)`", names), meaning))
    return members


def members(record: type[msgspec.Struct]) -> set[str]:
    return set(record.__struct_fields__)


@pytest.mark.parametrize(
    ("kind", "record", "elsewhere"),
    [
        ("run", StoredRun, members(Run)),
        ("running", RunningRun, set()),
        ("hook", HookSummary, set()),
        ("session", SessionSummary, set()),
        ("load", SessionLoad, set()),
    ],
)
def test_members(kind: str, record: type[msgspec.Struct], elsewhere: set[str]) -> None:
    assert set(documented(kind)) | elsewhere == members(record)
    assert record.__struct_config__.tag == kind


def test_status_has_the_summary_and_what_only_the_command_knows() -> None:
    assert set(documented("status")) == members(StatusSummary) | ADDED


def test_a_running_run_is_a_start_with_a_name() -> None:
    assert members(RunningRun) == members(RunStart) | {"name"}


@pytest.mark.parametrize(
    ("kind", "member", "parts"),
    [
        ("hook", "wall_ns", set(Percentiles.__struct_fields__)),
        ("session", "tools", set(CallSummary.__struct_fields__)),
        ("status", "service", set(ServiceFigures.__dataclass_fields__)),
    ],
)
def test_parts_of_members(kind: str, member: str, parts: set[str]) -> None:
    assert parts <= set(re.findall(r"`(\w+)`", documented(kind)[member]))
