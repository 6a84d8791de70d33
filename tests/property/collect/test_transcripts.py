"""Whatever bytes a transcript holds, and wherever a reading of it was cut."""

import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.transcript_rows import (
    Row,
    assistant,
    compact_boundary,
    encode,
    hook_attachment,
    hook_progress,
    prompt,
    row,
    stop_summary,
    text,
    tool_result,
    tool_use,
)

from better_claude.claude import transcripts as rows_module
from better_claude.claude.transcripts import Transcript
from better_claude.collect import transcripts as files_module
from better_claude.collect.marks import ImportMark
from better_claude.collect.transcripts import TranscriptBatch, find_transcripts, read_transcript
from better_claude.model import ClientEvent, Record

Stored = dict[tuple[type, str, str], Record]

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def _sane_row(chooser: random.Random) -> Row:
    """Return a row that fits to others: few calls, requests, turns and hooks, in any order."""
    seconds = chooser.randrange(20_000) / 4
    use, message, stop = (f"{kind}_{chooser.randrange(4)}" for kind in ("toolu", "msg", "stop"))
    command = chooser.choice(["guard.sh", "notify"])
    event, hook = chooser.choice([("PreToolUse", use), ("Stop", stop), ("SubagentStop", stop)])
    end = chooser.choice(["hook_success", "hook_cancelled", "hook_non_blocking_error", "other"])
    makers: list[Callable[[], Row]] = [
        lambda: prompt(seconds),
        lambda: row("api-request", seconds, id=message),
        lambda: assistant(
            seconds, message, text(), tool_use(use), output=round(seconds), requestRef=message
        ),
        lambda: tool_result(seconds, use, is_error=chooser.random() < 0.3),
        lambda: hook_progress(seconds, event, command, hook),
        lambda: hook_attachment(seconds, end, event, command, hook),
        lambda: stop_summary(seconds, {"command": command}, use=stop),
        lambda: compact_boundary(seconds),
        lambda: {"type": "mode", "mode": "default"},
    ]
    return chooser.choice(makers)() | {"version": chooser.choice(["2.1.37", "2.1.38"])}


def _line(chooser: random.Random) -> bytes:
    if chooser.random() < 0.1:
        return b"#" + chooser.randbytes(chooser.randrange(60)).replace(b"\n", b"") + b"\n"
    return encode(_sane_row(chooser))


# From a seed: hypothesis' own lists are nearly always too short for two rows to meet.
CHOOSERS = st.integers(0, 1 << 32).map(random.Random)
TRANSCRIPTS = st.builds(
    lambda chooser, lines: b"".join(_line(chooser) for _ in range(lines)),
    CHOOSERS,
    st.integers(0, 80),
)


@st.composite
def mangled_lines(draw: st.DrawFn) -> bytes:
    """Draw a row of which one member, at any depth, became something else."""
    chooser = draw(CHOOSERS)
    row_ = json.loads(encode(_sane_row(chooser)))
    place: Any = row_
    while True:
        key = chooser.choice(list(place) if isinstance(place, dict) else range(len(place)))
        deeper = place[key]
        if not isinstance(deeper, dict | list) or not deeper or chooser.random() < 0.3:
            place[key] = draw(JSON_VALUES)
            return json.dumps(row_).encode()
        place = deeper


def store(stored: Stored, batches: Iterable[TranscriptBatch]) -> ImportMark:
    """Keep records as the store does: a later telling replaces, but of an event."""
    for batch in batches:
        for record in batch.records:
            assert hasattr(record, "ident")
            key = type(record), record.session, record.ident
            if not isinstance(record, ClientEvent) or key not in stored:
                stored[key] = record
    return batch.mark


def read(path: Path, mark: ImportMark | None, batch_records: int) -> Iterator[TranscriptBatch]:
    (found,) = find_transcripts([path])
    return read_transcript(found, mark, batch_records)


@contextmanager
def folder(window_bytes: int) -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(rows_module, "WINDOW_BYTES", window_bytes),
        patch.object(files_module, "WINDOW_BYTES", window_bytes),
    ):
        yield Path(name)


@given(st.binary(max_size=400) | mangled_lines())
@settings(max_examples=500, deadline=None)
def test_any_line_is_read_or_set_aside(line: bytes) -> None:
    transcript = Transcript("session")
    reason = transcript.feed(line, 0)
    assert reason in {"", "not_json", "not_object", "wrong_values", "undated"}
    for record in transcript.take():
        for value in (getattr(record, name) for name in record.__struct_fields__):
            assert not isinstance(value, int) or -1 <= value < 1 << 63


@given(st.binary(max_size=2000))
@settings(max_examples=50, deadline=None)
def test_any_file_is_read(data: bytes) -> None:
    with folder(100) as root:
        (root / "s.jsonl").write_bytes(data)
        assert list(read(root / "s.jsonl", None, 3))


@given(
    data=TRANSCRIPTS,
    cuts=st.lists(st.integers(1, 1000), min_size=1, max_size=3),
    window_bytes=st.integers(1, 12_000),
    batch_records=st.integers(1, 50),
)
@settings(max_examples=150, deadline=None)
def test_reading_in_steps_is_reading_at_once(
    data: bytes, cuts: list[int], window_bytes: int, batch_records: int
) -> None:
    with folder(window_bytes) as root:
        path = root / "whole.jsonl"
        path.write_bytes(data)
        whole: Stored = {}
        store(whole, read(path, None, 5000))

        path.write_bytes(b"")
        stored: Stored = {}
        mark = None
        for end in (*sorted(cut * len(data) // 1000 for cut in cuts), len(data)):
            path.write_bytes(data[:end])
            mark = store(stored, read(path, mark, batch_records))
        assert stored == whole
        assert mark is not None
        assert mark.offset == len(data)


@given(data=TRANSCRIPTS)
@settings(max_examples=50, deadline=None)
def test_reading_twice_is_reading_once(data: bytes) -> None:
    with folder(2000) as root:
        path = root / "s.jsonl"
        path.write_bytes(data)
        stored: Stored = {}
        mark = store(stored, read(path, None, 10))
        once = dict(stored)
        store(stored, read(path, mark, 10))
        store(stored, read(path, None, 10))
        assert stored == once
