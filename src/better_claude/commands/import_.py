"""`better-claude import`: read the client's transcripts as history."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import msgspec

from better_claude.claude.transcripts import transcript_root
from better_claude.collect.transcripts import (
    FoundTranscript,
    TranscriptBatch,
    find_transcripts,
    read_transcript,
)
from better_claude.commands.selection import state_paths
from better_claude.errors import UsageError
from better_claude.model import ApiCall, ClientEvent, Compaction, HistoryRun, ToolCall
from better_claude.show.jsonl import json_line
from better_claude.show.screen import Screen
from better_claude.store.writer import Writer

if TYPE_CHECKING:
    from rich.progress import Progress

_PATIENCE_NS = 1_000_000_000


class ImportReport(msgspec.Struct, frozen=True, tag_field="kind", tag="import"):
    """What an import found. ``text_bytes`` counts JSON Lines that were read, unpacked.

    Of ``files``, ``unchanged`` had been read before and ``unreadable`` could not be opened.
    ``set_aside`` counts lines by reason.
    """

    files: int
    unchanged: int
    unreadable: int
    sessions: int
    runs: int
    tool_calls: int
    api_calls: int
    compactions: int
    lines: int
    set_aside: dict[str, int]
    text_bytes: int
    elapsed_ns: int
    dry_run: bool = False


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add paths, output options and examples."""
    parser.description = (
        "Read the client's transcripts as history: hook runs, tool calls, API calls and"
        " compactions, without their content. What was read before is not read again."
    )
    parser.epilog = """examples:
  better-claude import
  better-claude import ~/backup/projects session.jsonl.gz
  better-claude import --dry-run --json"""
    parser.add_argument(
        "paths",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="a transcript (.jsonl, .jsonl.gz) or a folder; default: where the client keeps them",
    )
    parser.add_argument("--dry-run", action="store_true", help="read everything, store nothing")
    parser.add_argument("--state", metavar="DIR", type=Path, help="another state folder")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no hints")


def run(args: argparse.Namespace) -> int:
    """Import, and print what came of it."""
    roots = args.paths or [transcript_root()]
    for path in args.paths:
        _check(path)
    found = list(find_transcripts(roots))
    with _Bar(sys.stderr, sum(each.size_bytes for each in found), args.quiet) as bar:
        if args.dry_run:
            report = import_transcripts(found, None, bar.advance)
        else:
            paths = state_paths(args.state, sample=False)
            paths.create()
            with Writer.open(paths.store) as writer:
                report = import_transcripts(found, writer, bar.advance)
    lines = [json_line(report)] if args.json else list(_summary(report, roots))
    Screen.of().write_lines(lines)
    if not (args.json or args.quiet or args.dry_run) and report.runs:
        sys.stdout.flush()
        print("See: better-claude hooks --source transcript --since all", file=sys.stderr)
    return 0


def import_transcripts(
    found: Sequence[FoundTranscript],
    writer: Writer | None,
    advance: Callable[[int], None] = lambda _: None,
) -> ImportReport:
    """Store what is new in ``found``, or only read all of it where there is no ``writer``.

    Each batch is one short transaction, so that the service may write in between. ``advance`` is
    told of bytes that are done, as they lie on the disk. Raises StoreError.
    """
    began_ns = time.monotonic_ns()
    tally = _Tally()
    marks = writer.import_marks() if writer else {}
    for each in found:
        mark = marks.get(each.name)
        if each.is_unchanged(mark):
            tally.unchanged += 1
            advance(each.size_bytes)
            continue
        done = 0
        try:
            for batch in tally.counted(read_transcript(each, mark)):
                if writer:
                    writer.commit(batch.records, imports=[batch.mark])
                advance(batch.disk_bytes)
                done += batch.disk_bytes
        except OSError:
            tally.unreadable += 1
        advance(each.size_bytes - done)
    return tally.report(len(found), time.monotonic_ns() - began_ns, dry_run=writer is None)


class _Tally:
    """Adds up batches; a record that is said again later in its file counts once."""

    def __init__(self) -> None:
        self.unchanged = 0
        self.unreadable = 0
        self._lines = 0
        self._text_bytes = 0
        self._records: Counter[type] = Counter()
        self._set_aside: Counter[str] = Counter()
        self._sessions: set[str] = set()

    def counted(self, batches: Iterable[TranscriptBatch]) -> Iterable[TranscriptBatch]:
        seen: set[tuple[type, str, str]] = set()
        for batch in batches:
            for record in batch.records:
                if isinstance(record, HistoryRun | ToolCall | ApiCall | Compaction | ClientEvent):
                    seen.add((type(record), record.session, record.ident))
            self._lines += batch.lines
            self._text_bytes += batch.text_bytes
            self._set_aside.update(batch.set_aside)
            yield batch
        self._records.update(kind for kind, _, _ in seen)
        self._sessions.update(session for _, session, _ in seen)

    def report(self, files: int, elapsed_ns: int, dry_run: bool) -> ImportReport:
        return ImportReport(
            files=files,
            unchanged=self.unchanged,
            unreadable=self.unreadable,
            sessions=len(self._sessions),
            runs=self._records[HistoryRun],
            tool_calls=self._records[ToolCall],
            api_calls=self._records[ApiCall],
            compactions=self._records[Compaction],
            lines=self._lines,
            set_aside=dict(self._set_aside),
            text_bytes=self._text_bytes,
            elapsed_ns=elapsed_ns,
            dry_run=dry_run,
        )


def _check(path: Path) -> None:
    try:
        path.stat()
    except OSError as error:
        raise UsageError(
            "no-such-transcript",
            f"{path}: {error.strerror}",
            "Name a transcript or a folder, or none for the client's own.",
        ) from error


def _summary(report: ImportReport, roots: Sequence[Path]) -> Iterable[str]:
    if not report.files:
        yield f"No transcripts in {', '.join(map(str, roots))}."
        return
    read = report.files - report.unchanged - report.unreadable
    if read:
        what = [
            _counted(report.runs, "hook run"),
            _counted(report.tool_calls, "tool call"),
            _counted(report.api_calls, "API call"),
            _counted(report.compactions, "compaction"),
        ]
        verb = "Would import" if report.dry_run else "Imported"
        yield f"{verb} {', '.join(what)} of {_counted(report.sessions, 'session')}."
        seconds = max(report.elapsed_ns, 1) / 1e9
        megabytes = report.text_bytes / 1e6
        yield (
            f"Read {_counted(read, 'transcript')}, {_counted(report.lines, 'line')}, "
            f"{megabytes:,.1f} MB in {seconds:.2f} s ({megabytes / seconds:,.0f} MB/s)."
        )
    else:
        yield "0 new."
    if report.unchanged:
        yield f"{_counted(report.unchanged, 'transcript')} unchanged since the last import."
    if report.unreadable:
        yield f"{_counted(report.unreadable, 'transcript')} could not be opened."
    if report.set_aside:
        reasons = ", ".join(f"{count:,} {why}" for why, count in sorted(report.set_aside.items()))
        yield f"{_counted(sum(report.set_aside.values()), 'line')} set aside: {reasons}."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


class _Bar:
    """A progress bar on ``stream``, if that is a terminal, from the second second on."""

    def __init__(
        self,
        stream: TextIO,
        total: int,
        quiet: bool,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._stream = stream
        self._total = total
        self._clock = clock
        self._wanted = not quiet and stream.isatty()
        self._due_ns = clock() + _PATIENCE_NS
        self._done = 0
        self._progress: Progress | None = None

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, size: int) -> None:
        """Take note of so many more bytes."""
        self._done += size
        if self._progress is None and self._wanted and self._clock() >= self._due_ns:
            self._progress = _start(self._stream, self._total)
        if self._progress is not None:
            self._progress.update(self._progress.task_ids[0], completed=self._done)


def _start(stream: TextIO, total: int) -> "Progress":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    progress = Progress(
        TextColumn("importing"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(file=stream),
        transient=True,
    )
    progress.add_task("import", total=total)
    progress.start()
    return progress
