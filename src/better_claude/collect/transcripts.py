"""Read transcripts from disk: which there are and what is new in them, in batches to be committed.

A file is read on from where the last commit left it. It is the same file if the bytes before that
place are (their beginning and their end are compared); otherwise it is read from its start.
Records carry an ``ident``, so that reading something twice stores it once.
"""

import gzip
import os
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from better_claude.claude.transcripts import WINDOW_BYTES, Transcript, first_project, session_of
from better_claude.collect.marks import ImportMark
from better_claude.model import Record

# Real lines reach some hundred kB, or some MB with an image. A longer one is passed over, and
# bounds what a file without line breaks can take of memory.
MAXIMUM_LINE_BYTES = 32 << 20
BATCH_RECORDS = 5000

_CHUNK_BYTES = 1 << 20
_HEAD_BYTES = 64 << 10
_TAIL_BYTES = 4 << 10
_GZIP_MAGIC = b"\x1f\x8b"
_BROKEN = (OSError, EOFError, zlib.error)


class FoundTranscript(msgspec.Struct, frozen=True):
    """A transcript on disk, as it was when it was found."""

    path: Path
    inode: int
    size_bytes: int
    mtime_ns: int

    @property
    def name(self) -> str:
        r"""The path as text that can be stored: bytes that are not UTF-8 as ``\xff``."""
        return os.fsencode(self.path).decode("utf-8", "backslashreplace")

    def is_unchanged(self, mark: ImportMark | None) -> bool:
        """Tell whether all of it has been read already."""
        return mark is not None and (
            (mark.inode, mark.size_bytes, mark.mtime_ns)
            == (self.inode, self.size_bytes, self.mtime_ns)
        )


class TranscriptBatch(msgspec.Struct, frozen=True):
    """Records of one file, and the mark that says so if it is committed with them.

    ``text_bytes`` counts JSON Lines, ``disk_bytes`` the file as it lies on the disk, packed or
    not. ``set_aside`` counts lines by reason: what `Transcript.feed` says, ``too_long``, or
    ``broken`` for a file that ended in a read error or in damaged gzip data.
    """

    records: list[Record]
    mark: ImportMark
    lines: int
    text_bytes: int
    disk_bytes: int
    set_aside: dict[str, int]


class _Line(NamedTuple):
    """A line without its break. ``text`` is None if it was too long to keep."""

    start: int
    size_bytes: int
    text: bytes | None
    is_whole: bool


def find_transcripts(paths: Iterable[Path]) -> Iterator[FoundTranscript]:
    """Yield the transcripts at and below ``paths``, in the order of their names, each once.

    Below a folder those are files named ``*.jsonl`` and ``*.jsonl.gz``; a path of a file is taken
    by its word. Links to folders are not followed. What vanishes or is no regular file is left out.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        # A file has nothing below it, so it stands for itself; a folder is no regular file.
        for file in (path, *sorted(_files_below(path))):
            with suppress(OSError):
                status = file.stat()
                identity = status.st_dev, status.st_ino
                if stat.S_ISREG(status.st_mode) and identity not in seen:
                    seen.add(identity)
                    yield FoundTranscript(
                        file.absolute(), status.st_ino, status.st_size, status.st_mtime_ns
                    )


def read_transcript(
    found: FoundTranscript, mark: ImportMark | None = None, batch_records: int = BATCH_RECORDS
) -> Iterator[TranscriptBatch]:
    """Yield what is new since ``mark``, at least one batch, the last with the mark of the whole.

    A last line without its break is read if it is a row, but not marked as read: the client may be
    in the middle of it. Raises OSError if the file cannot be opened.
    """
    with found.path.open("rb") as file:
        packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
        file.seek(0)
        yield from _Reading(found, file, packed).batches(mark, batch_records)


class _Reading:
    """One pass over one file."""

    def __init__(self, found: FoundTranscript, file: BinaryIO, packed: bool) -> None:
        self._found = found
        self._file = file
        self._packed = packed
        self._source: BinaryIO | gzip.GzipFile = gzip.GzipFile(fileobj=file) if packed else file
        self._transcript = Transcript(session_of(found.path), first_project(self._head()))
        self._set_aside: Counter[str] = Counter()
        self._lines = 0
        self._position = 0
        self._reported = 0
        self._reported_disk = 0

    def batches(self, mark: ImportMark | None, batch_records: int) -> Iterator[TranscriptBatch]:
        offset = self._known_offset(mark)
        self._position = self._reported = self._reported_disk = offset
        for line in self._lines_from(max(0, offset - WINDOW_BYTES)):
            if line.start < offset:
                # Read before; again only for what it leaves open.
                self._transcript.feed(line.text or b"", line.start)
                self._transcript.discard()
                continue
            self._read(line)
            if len(self._transcript) >= batch_records:
                yield self._batch(done=False)
        yield self._batch(done=True)

    def _read(self, line: _Line) -> None:
        reason = "too_long" if line.text is None else self._transcript.feed(line.text, line.start)
        if line.is_whole:
            self._position = line.start + line.size_bytes + 1
        elif reason:
            return
        self._lines += bool(line.size_bytes)
        if reason:
            self._set_aside[reason] += 1

    def _batch(self, done: bool) -> TranscriptBatch:
        disk = self._file.tell() if self._packed else self._position
        batch = TranscriptBatch(
            records=self._transcript.take(),
            mark=ImportMark(
                path=self._found.name,
                inode=self._found.inode,
                size_bytes=self._found.size_bytes,
                # Only a file that was read to its end may look unchanged the next time.
                mtime_ns=self._found.mtime_ns if done else 0,
                offset=self._position,
                identity=self._identity(self._position),
            ),
            lines=self._lines,
            text_bytes=self._position - self._reported,
            disk_bytes=disk - self._reported_disk,
            set_aside=dict(self._set_aside),
        )
        self._lines, self._reported, self._reported_disk = 0, self._position, disk
        self._set_aside.clear()
        return batch

    def _known_offset(self, mark: ImportMark | None) -> int:
        # A packed file does not grow: if it changed, it is another one.
        if mark is None or self._packed or not 0 < mark.offset <= self._found.size_bytes:
            return 0
        return mark.offset if self._identity(mark.offset) == mark.identity else 0

    def _identity(self, offset: int) -> str:
        """Return a hash of the first 64 KiB and the last 4 KiB of what stands before ``offset``."""
        if self._packed:
            return "gzip"
        digest = blake2b(digest_size=16)
        here = self._file.tell()
        for start, end in ((0, min(offset, _HEAD_BYTES)), (max(0, offset - _TAIL_BYTES), offset)):
            self._file.seek(start)
            digest.update(self._file.read(end - start))
        self._file.seek(here)
        return digest.hexdigest()

    def _head(self) -> bytes:
        with suppress(*_BROKEN):
            self._source.seek(0)
            return self._source.read(_HEAD_BYTES)
        return b""

    def _lines_from(self, start: int) -> Iterator[_Line]:
        """Yield the lines that begin at ``start`` or later; a read error ends them, and counts."""
        # From one byte earlier: if that is a line break, a line begins right at the start.
        before = max(0, start - 1)
        try:
            self._source.seek(before)
            yield from islice(_lines(self._source, before), 1 if start else 0, None)
        except _BROKEN:
            self._set_aside["broken"] += 1


def _lines(source: BinaryIO | gzip.GzipFile, start: int) -> Iterator[_Line]:
    pieces: list[bytes] = []
    size = 0
    while chunk := source.read(_CHUNK_BYTES):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            size += len(end)
            yield _Line(start, size, _joined(pieces, end, size), True)
            start += size + 1
            size = 0
            pieces.clear()
        size += len(rest)
        pieces.append(rest)
        if size > MAXIMUM_LINE_BYTES:
            pieces.clear()
    if size:
        yield _Line(start, size, _joined(pieces, b"", size), False)


def _joined(pieces: list[bytes], end: bytes, size: int) -> bytes | None:
    if size > MAXIMUM_LINE_BYTES:
        return None
    return b"".join((*pieces, end)) if pieces else end


def _files_below(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.endswith((".jsonl", ".jsonl.gz")):
                yield Path(parent, name)
