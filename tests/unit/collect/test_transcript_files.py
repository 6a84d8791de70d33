"""Which transcripts there are, and what is new in them."""

import gzip
import os
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest
from tests.transcript_rows import (
    SESSION,
    assistant,
    encode,
    long_session,
    prompt,
    tool_result,
    tool_use,
    write,
)

from better_claude.claude import transcripts as rows
from better_claude.collect import transcripts
from better_claude.collect.marks import ImportMark
from better_claude.collect.transcripts import (
    FoundTranscript,
    TranscriptBatch,
    find_transcripts,
    read_transcript,
)
from better_claude.model import ApiCall, Record, ToolCall

ROWS = [
    prompt(0),
    assistant(1, "msg_1", tool_use("toolu_1")),
    tool_result(2, "toolu_1"),
    assistant(3, "msg_2", output=9),
]


def found(path: Path) -> FoundTranscript:
    (transcript,) = find_transcripts([path])
    return transcript


def read(path: Path, mark: ImportMark | None = None) -> TranscriptBatch:
    (batch,) = read_transcript(found(path), mark)
    return batch


def api_calls(records: list[Record]) -> list[str]:
    return [record.ident for record in records if isinstance(record, ApiCall)]


class TestFinding:
    def test_below_a_folder_by_name(self, tmp_path: Path) -> None:
        names = ["p/a.jsonl", "p/a/subagents/b.jsonl", "q/c.jsonl.gz", "p/notes.md", "p/d.json"]
        for name in names:
            write(tmp_path / name)
        names_found = [
            str(each.path.relative_to(tmp_path)) for each in find_transcripts([tmp_path])
        ]
        assert names_found == ["p/a/subagents/b.jsonl", "p/a.jsonl", "q/c.jsonl.gz"]

    def test_a_file_is_taken_by_its_word_and_once(self, tmp_path: Path) -> None:
        path = write(tmp_path / "old.bak")
        os.link(path, tmp_path / "same.jsonl")
        assert [each.path for each in find_transcripts([path, path, tmp_path])] == [path]

    def test_nothing_else_is_found(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.jsonl")
        (tmp_path / "folder.jsonl").mkdir()
        (tmp_path / "dangling.jsonl").symlink_to(tmp_path / "nowhere")
        (tmp_path / "loop").symlink_to(tmp_path)
        assert list(find_transcripts([tmp_path, tmp_path / "missing"])) == []


class TestReading:
    def test_everything_at_first(self, tmp_path: Path) -> None:
        path = write(tmp_path / f"{SESSION}.jsonl", *ROWS)
        batch = read(path)
        assert Counter(type(record) for record in batch.records)[ApiCall] == 2
        assert batch.lines == len(ROWS)
        assert batch.text_bytes == batch.disk_bytes == batch.mark.offset == path.stat().st_size
        assert found(path).is_unchanged(batch.mark)

    def test_only_what_is_new_when_it_has_grown(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.jsonl", *ROWS[:2])
        mark = read(path).mark
        with path.open("ab") as file:
            file.write(encode(*ROWS[2:]))
        assert not found(path).is_unchanged(mark)
        batch = read(path, mark)
        (call,) = [record for record in batch.records if isinstance(record, ToolCall)]
        assert call.duration_ms == 1000
        assert api_calls(batch.records) == ["msg_2:req_msg_2"]
        assert batch.text_bytes == len(encode(*ROWS[2:]))

    def test_nothing_when_only_its_time_has_changed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.jsonl", *ROWS)
        mark = read(path).mark
        os.utime(path, ns=(1, 1))
        batch = read(path, mark)
        assert (batch.records, batch.lines, batch.text_bytes) == ([], 0, 0)

    def test_a_copy_in_its_place_goes_on(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.jsonl", *ROWS[:2])
        mark = read(path).mark
        write(tmp_path / "new", *ROWS).replace(path)
        assert api_calls(read(path, mark).records) == ["msg_2:req_msg_2"]

    @pytest.mark.parametrize(
        "others",
        [
            pytest.param([assistant(9, "msg_9")], id="truncated"),
            pytest.param([assistant(9, "msg_9"), *ROWS], id="begins otherwise"),
            pytest.param([*ROWS[:3], assistant(9, "msg_9", tool_use("x" * 900))], id="ends so"),
        ],
    )
    def test_from_the_start_when_it_is_another(
        self, tmp_path: Path, others: list[dict[str, object]]
    ) -> None:
        path = write(tmp_path / "s.jsonl", *ROWS)
        mark = read(path).mark
        write(path, *others)
        batch = read(path, mark)
        assert batch.text_bytes == path.stat().st_size
        assert "msg_9:req_msg_9" in api_calls(batch.records)

    def test_a_last_line_without_a_break_is_read_but_not_done(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl"
        path.write_bytes(encode(*ROWS)[:-1])
        batch = read(path)
        assert len(api_calls(batch.records)) == 2
        assert batch.mark.offset == len(encode(*ROWS[:3]))
        assert found(path).is_unchanged(batch.mark)

    def test_half_a_line_waits_for_its_other_half(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl"
        path.write_bytes(encode(*ROWS)[:-100])
        batch = read(path)
        assert (len(api_calls(batch.records)), batch.set_aside) == (1, {})
        path.write_bytes(encode(*ROWS))
        assert api_calls(read(path, batch.mark).records) == ["msg_2:req_msg_2"]

    def test_bad_lines_are_counted_by_reason(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl"
        path.write_bytes(b"\xff\n\n{}\n[]\n\x00\x00\n" + encode(*ROWS) + b'{"type":"user"}\n')
        batch = read(path)
        assert batch.set_aside == {"not_json": 2, "not_object": 1, "undated": 1}
        assert len(api_calls(batch.records)) == 2

    def test_a_missing_file_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        transcript = found(write(tmp_path / "s.jsonl"))
        transcript.path.unlink()
        with pytest.raises(FileNotFoundError):
            list(read_transcript(transcript))


class TestWindow:
    """A result refers to its call over so many bytes and no more, in one reading or in two."""

    @pytest.mark.parametrize("steps", [1, 2])
    @pytest.mark.parametrize(("spare", "calls"), [(0, 1), (-1, 0)])
    def test_its_edge(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, spare: int, calls: int
    ) -> None:
        start, end = len(encode(*ROWS[:1])), len(encode(*ROWS[:2]))
        monkeypatch.setattr(rows, "WINDOW_BYTES", end - start + spare)
        monkeypatch.setattr(transcripts, "WINDOW_BYTES", end - start + spare)
        path = write(tmp_path / "s.jsonl", *ROWS[:2])
        mark = read(path).mark if steps == 2 else None
        write(path, *ROWS)
        records = read(path, mark).records
        assert sum(isinstance(record, ToolCall) for record in records) == calls

    def test_the_end_of_a_line_is_no_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        call = encode(ROWS[1])
        monkeypatch.setattr(transcripts, "WINDOW_BYTES", len(call))
        path = tmp_path / "s.jsonl"
        path.write_bytes(b"torn" + call)
        mark = read(path).mark
        path.write_bytes(b"torn" + call + encode(ROWS[2]))
        assert not any(isinstance(record, ToolCall) for record in read(path, mark).records)


class TestBatches:
    def test_each_can_be_committed_and_gone_on_from(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.jsonl", *long_session(40, 50))
        whole = read(path)
        batches = list(read_transcript(found(path), batch_records=20))
        assert len(batches) > 5
        assert sum(batch.text_bytes for batch in batches) == path.stat().st_size
        assert sum(batch.lines for batch in batches) == whole.lines
        assert not any(found(path).is_unchanged(batch.mark) for batch in batches[:-1])
        assert batches[-1].mark == whole.mark
        for stop in (1, 3, len(batches) - 1):
            rest = read(path, batches[stop - 1].mark)
            records = [each for batch in batches[:stop] for each in batch.records] + rest.records
            assert set(api_calls(records)) == set(api_calls(whole.records))

    def test_memory_does_not_grow_with_the_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(transcripts, "MAXIMUM_LINE_BYTES", 1 << 20)
        path = tmp_path / "s.jsonl"
        with path.open("wb") as file:
            for _ in range(40):
                file.write(b"x" * (1 << 20))
            file.write(b"\n" + encode(*ROWS))
        tracemalloc.start()
        batch = read(path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert batch.set_aside == {"too_long": 1}
        assert len(api_calls(batch.records)) == 2
        assert batch.mark.offset == path.stat().st_size
        assert peak < 16 << 20


class TestPacked:
    def test_like_the_plain_file(self, tmp_path: Path) -> None:
        plain = write(tmp_path / "a/s.jsonl", *ROWS)
        packed = tmp_path / "b/s.jsonl.gz"
        packed.parent.mkdir()
        packed.write_bytes(gzip.compress(plain.read_bytes()))
        batch = read(packed)
        assert batch.records == read(plain).records
        assert batch.text_bytes == plain.stat().st_size
        assert batch.disk_bytes == packed.stat().st_size
        assert found(packed).is_unchanged(batch.mark)

    def test_one_that_has_changed_is_read_from_its_start(self, tmp_path: Path) -> None:
        path = tmp_path / "s.jsonl.gz"
        path.write_bytes(gzip.compress(encode(*ROWS[:2])))
        mark = read(path).mark
        path.write_bytes(gzip.compress(encode(*ROWS)))
        assert len(api_calls(read(path, mark).records)) == 2

    @pytest.mark.parametrize("harm", ["cut", "flipped", "header"])
    def test_damage_ends_it_and_counts(self, tmp_path: Path, harm: str) -> None:
        data = bytearray(gzip.compress(encode(*long_session(300, 200))))
        if harm == "cut":
            del data[len(data) // 2 :]
        else:
            data[len(data) // 2 if harm == "flipped" else 2] ^= 0xFF
        path = tmp_path / "s.jsonl.gz"
        path.write_bytes(data)
        assert read(path).set_aside["broken"] == 1


def test_a_name_that_is_not_utf8_is_read_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"a\xff.jsonl")
    path.write_bytes(b"{}\n")
    (found,) = find_transcripts([tmp_path])
    (batch,) = read_transcript(found)
    assert batch.mark.path == found.name == f"{tmp_path}/a\\xff.jsonl"
