"""Transcripts into the store: against merely decoding the same bytes, in the same run."""

import json
import random
import string
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.transcript_rows import encode, long_session

from better_claude.claude.transcripts import Transcript
from better_claude.collect.transcripts import find_transcripts
from better_claude.commands.import_ import ImportReport, import_transcripts
from better_claude.store.writer import Writer

pytestmark = pytest.mark.bench

# What issue and docs promise, on any machine that runs this.
FLOOR_MB_S = 50.0
SESSIONS, TURNS = 8, 330


@pytest.fixture(scope="module")
def transcripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 50 MB, 3 kB and half a record to a line, most of it content: as in real sessions."""
    folder = tmp_path_factory.mktemp("projects")
    chooser = random.Random(7)
    for number in range(SESSIONS):
        session = f"5f0f3c1e-0000-4000-8000-{number:012d}"
        rows = list(long_session(TURNS, chooser.randrange(1200, 3200), session))
        # Text that is not all alike, with quotes and line breaks to unescape.
        letters = string.ascii_letters * 3 + ' "\n\\é'
        words = ["".join(chooser.choices(letters, k=6)) for _ in range(2000)]
        for row in rows:
            if "toolUseResult" in row:
                row["toolUseResult"]["stdout"] = " ".join(chooser.choices(words, k=500))
        (folder / f"{session}.jsonl").write_bytes(encode(*rows))
    return folder


def best(action: Callable[[], object], rounds: int = 3) -> float:
    """Return the seconds of the quickest of some rounds."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return min(taken)


def test_import_keeps_up_with_decoding(transcripts: Path, tmp_path: Path) -> None:
    found = list(find_transcripts([transcripts]))
    lines = [line for each in found for line in each.path.read_bytes().splitlines()]
    megabytes = sum(each.size_bytes for each in found) / 1e6
    attempts = iter(range(100))

    def whole_import() -> ImportReport:
        with Writer.open(tmp_path / f"store{next(attempts)}.db") as writer:
            report = import_transcripts(found, writer)
        assert report.tool_calls == report.api_calls == SESSIONS * TURNS
        return report

    def parse() -> None:
        transcript = Transcript("bench")
        for position, line in enumerate(lines):
            transcript.feed(line, position)
        transcript.discard()

    decoder = msgspec.json.Decoder()
    whole = megabytes / best(whole_import)
    parsed = megabytes / best(parse)
    decoded = megabytes / best(lambda: [decoder.decode(line) for line in lines])
    standard = megabytes / best(lambda: [json.loads(line) for line in lines])
    print(
        f"\nimport, {megabytes:.0f} MB of transcripts: {whole:.0f} MB/s into the store,"
        f" {parsed:.0f} MB/s to records; decoding alone: msgspec {decoded:.0f}, json {standard:.0f}"
    )
    assert whole >= FLOOR_MB_S
    # Records in a database for no more than three times what decoding every line costs.
    assert whole >= decoded / 3
    assert whole >= standard / 2


def test_again_costs_nothing(transcripts: Path, tmp_path: Path) -> None:
    found = list(find_transcripts([transcripts]))
    with Writer.open(tmp_path / "store.db") as writer:
        first = import_transcripts(found, writer)
        again = import_transcripts(found, writer)
    print(
        f"\nimport again: {again.elapsed_ns / 1e6:.1f} ms, at first {first.elapsed_ns / 1e6:.0f} ms"
    )
    assert again.unchanged == again.files
    assert again.elapsed_ns * 20 < first.elapsed_ns
