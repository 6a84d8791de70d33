"""Read what launchers wrote: the two spool folders as batches of records.

``parse`` is pure; ``SpoolReader`` does the reading. Both take the files for what they are: written
by many processes at once, torn by full disks and power cuts, and, in the second
folder, in a place where others can put things.
"""

import calendar
import contextlib
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from zlib import crc32

import msgspec

from better_claude.collect.marks import Reject, SpoolMark
from better_claude.model import Outcome, Run, RunStart

SpoolRecord = RunStart | Run

# docs/formats.md: a record is at most 8192 bytes, with its line breaks.
LONGEST_LINE = 8192
_CRC_LENGTH = 9  # a tab and 8 digits
_CHUNK_BYTES = 4 << 20
_HOUR_S = 3600
_NAME = re.compile(r"[0-9]{8}T[0-9]{2}\.spool")
_DONE_NAME = re.compile(rf"({_NAME.pattern})\.[0-9]+\.done")
_ID = re.compile(r"[0-9a-f]{16}")
# Far beyond any run, and small enough for sums to stay within 64 bits: 104 days, 8 PB.
_LARGEST = 1 << 53
_LATEST_NS = 1 << 62

_decode = msgspec.json.Decoder(SpoolRecord, strict=True).decode


class Parsed(msgspec.Struct, frozen=True):
    """What some bytes held; the first ``consumed`` of them are done with.

    ``half`` is the length of a last line without line break that was left alone; 0 as well
    where reading stopped before the last line.
    """

    records: list[SpoolRecord]
    rejects: list[Reject]
    consumed: int
    half: int = 0


class SpoolBatch(msgspec.Struct, frozen=True):
    """Some records and how far the files have been read with them; ``more`` is waiting."""

    records: tuple[SpoolRecord, ...]
    marks: tuple[SpoolMark, ...]
    rejects: tuple[Reject, ...]
    more: bool


def parse(data: bytes, file: str, offset: int, limit: int) -> Parsed:
    """Read at most ``limit`` lines' worth of records from ``data``, which begins at ``offset``.

    A last line without line break is left alone, unless it is too long to become a record: then
    all of it is done with. Never raises, whatever the bytes.
    """
    records: list[SpoolRecord] = []
    rejects: list[Reject] = []
    position = 0
    while len(records) + len(rejects) < limit:
        end = data.find(b"\n", position)
        if end < 0:
            break
        if end > position:
            record = _read_line(data[position:end])
            if isinstance(record, str):
                rejects.append(Reject(record, file, offset + position, end - position))
            else:
                records.append(record)
        position = end + 1
    else:
        return Parsed(records, rejects, position)
    if len(data) - position > LONGEST_LINE:
        rejects.append(Reject("too_long", file, offset + position, len(data) - position))
        position = len(data)
    return Parsed(records, rejects, position, half=len(data) - position)


def _read_line(line: bytes) -> SpoolRecord | str:
    """Return the record in ``line``, or the reason why there is none."""
    if len(line) > LONGEST_LINE:
        return "too_long"
    if not line.startswith(b"{"):
        return "foreign"
    if line[-_CRC_LENGTH : -_CRC_LENGTH + 1] != b"\t":
        return "torn"
    text = line[:-_CRC_LENGTH]
    if b"%08x" % crc32(text) != line[1 - _CRC_LENGTH :]:
        return "checksum"
    try:
        record = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "undecodable"
    return record if _is_sound(record) else "wrong_values"


def _is_sound(record: SpoolRecord) -> bool:
    if not (
        _ID.fullmatch(record.run) and _ID.fullmatch(record.key) and 0 < record.start_ns < _LATEST_NS
    ):
        return False
    if isinstance(record, RunStart):
        numbers = record.launcher_pid | record.launcher_ticks | record.claude_pid
    elif record.outcome in (Outcome.LOST, Outcome.UNKNOWN):  # not for a launcher to say
        return False
    else:
        numbers = _all_bits(record)
    return 0 <= numbers < _LARGEST


def _all_bits(run: Run) -> int:
    """Join a run's numbers with "or": negative if any is, and as large as the largest."""
    return (
        run.wall_ns
        | run.claude_pid
        | (run.exit + 1)
        | run.signal
        | run.timeout_ms
        | run.memory_limit_bytes
        | run.user_ns
        | run.sys_ns
        | run.anon_peak_bytes
        | run.rss_peak_bytes
        | run.disk_read_bytes
        | run.disk_write_bytes
        | run.stdin_bytes
        | run.stdout_bytes
        | run.stderr_bytes
        | run.ctx_voluntary
        | run.ctx_involuntary
        | run.processes
        | run.leftovers
        | run.stop_ns
        | run.overhead_ns
    )


class SpoolReader:
    """Tail the spool folders from where ``marks`` say.

    ``read`` gives the same again until ``accept`` says that it is safely stored: then a crash or a
    full disk between the two loses nothing. The first folder is ours by configuration; any
    other may stand in a shared place, so its parent must be ours too.
    """

    def __init__(self, folders: Sequence[Path], marks: Iterable[SpoolMark] = ()) -> None:
        self._folders = tuple(folders)
        self._offsets = {_key(mark): mark.offset for mark in marks}
        self._untrusted: set[Path] = set()

    def read(self, now_ns: int, limit: int = 5000) -> SpoolBatch:
        """Return what is there beyond the accepted marks, at most ``limit`` lines, oldest first.

        ``now_ns`` is wall time: a half line in a file of a past hour that nobody writes any more
        counts as torn. Folders that are missing are empty; one that is a link, or of another
        user, or writable for others, is not read.
        """
        records: list[SpoolRecord] = []
        rejects: list[Reject] = []
        marks: list[SpoolMark] = []
        more = False
        for folder in self._folders:
            with self._opened(folder, rejects) as descriptor:
                for name in _spool_names(descriptor):
                    room = limit - len(records) - len(rejects)
                    if room <= 0:
                        more = True
                        break
                    piece = self._read_file(folder, descriptor, name, now_ns, room)
                    if piece is not None:
                        records += piece.records
                        rejects += piece.rejects
                        marks += piece.marks
                        more = more or piece.more
        return SpoolBatch(tuple(records), tuple(marks), tuple(rejects), more)

    def accept(self, batch: SpoolBatch) -> None:
        """Go on after ``batch``, which has been stored."""
        for mark in batch.marks:
            self._offsets[_key(mark)] = mark.offset

    def sweep(self, now_ns: int) -> list[SpoolMark]:
        """Put aside files that are read to the end and that no launcher writes to any more.

        That is an hour after both their own hour and their last change. Returns the marks that
        are now without a file, to be forgotten. What was put aside is deleted by a later call, when
        its mark is forgotten: as long as the file is there nobody else gets its inode, so that a
        new file of the same name, as after a clock was set back, is never taken for it.
        """
        present: set[_Key] = set()
        for folder in self._folders:
            with self._opened(folder, []) as descriptor:
                self._delete_done(folder, descriptor)
                for name in _spool_names(descriptor):
                    present |= self._put_aside_or_keep(folder, descriptor, name, now_ns)
        gone = [key for key in self._offsets if key not in present]
        return [SpoolMark(*key, self._offsets.pop(key)) for key in gone]

    @contextlib.contextmanager
    def _opened(self, folder: Path, rejects: list[Reject]) -> Iterator[int]:
        """Yield a descriptor of ``folder``, -1 if there is none that we trust."""
        descriptor = _open_folder(folder)
        try:
            if descriptor < 0 or self._is_trusted(folder, descriptor):
                yield descriptor
            else:
                if folder not in self._untrusted:  # once is enough
                    self._untrusted.add(folder)
                    rejects.append(Reject("untrusted", str(folder), 0, 0))
                yield -1
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def _is_trusted(self, folder: Path, descriptor: int) -> bool:
        if not _is_private(os.fstat(descriptor)):
            return False
        return folder == self._folders[0] or _is_private(folder.parent.lstat())

    def _read_file(
        self, folder: Path, descriptor: int, name: str, now_ns: int, limit: int
    ) -> SpoolBatch | None:
        """Return one file's next records, None if there is nothing new."""
        file = _open_file(descriptor, name)
        if file < 0:
            return None
        try:
            status = os.fstat(file)
            key = (str(folder), name, status.st_ino)
            offset = self._offsets.get(key, 0)
            if offset > status.st_size:
                offset = 0  # shorter than what was read: not the file that we knew
            data = os.pread(file, _CHUNK_BYTES, max(0, offset - 1))
        finally:
            os.close(file)
        start = _line_start(data) if offset else 0
        begin = max(0, offset - 1) + start
        parsed = parse(data[start:], name, begin, limit)
        end = begin + parsed.consumed
        if (
            parsed.half
            and end + parsed.half == status.st_size
            and _is_settled(name, status, now_ns)
        ):
            parsed.rejects.append(Reject("torn", name, end, parsed.half))
            end += parsed.half
        if end <= offset:
            return None
        return SpoolBatch(
            records=tuple(parsed.records),
            marks=(SpoolMark(*key, end),),
            rejects=tuple(parsed.rejects),
            more=end < status.st_size,
        )

    def _delete_done(self, folder: Path, descriptor: int) -> None:
        for name in _names(descriptor, _DONE_NAME):
            with contextlib.suppress(OSError):  # it stays for the next time
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                known_as = (str(folder), _DONE_NAME.sub(r"\1", name), status.st_ino)
                if known_as not in self._offsets:
                    os.unlink(name, dir_fd=descriptor)

    def _put_aside_or_keep(
        self, folder: Path, descriptor: int, name: str, now_ns: int
    ) -> "set[_Key]":
        """Rename one file if it is done with; return its key if it is still there."""
        try:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            key = (str(folder), name, status.st_ino)
            if self._offsets.get(key) != status.st_size or not _is_settled(name, status, now_ns):
                return {key}
            # The inode in its name keeps a namesake from taking its place.
            aside = f"{name}.{status.st_ino}.done"
            os.rename(name, aside, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except FileNotFoundError:
            return set()
        except OSError:  # a read-only folder: the file stays, and stays read
            return {key}
        return set()


_Key = tuple[str, str, int]


def _key(mark: SpoolMark) -> _Key:
    return mark.folder, mark.file, mark.inode


def _line_start(data: bytes) -> int:
    """Return where the first line begins after the byte before it.

    Reading ended at a line break, unless it was in a line too long to be kept: the rest of that
    one is passed over.
    """
    end = data.find(b"\n")
    return end + 1 if end >= 0 else len(data)


def _open_folder(folder: Path) -> int:
    try:
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return -1


def _is_private(status: os.stat_result) -> bool:
    """Tell whether a folder, not a link to one, is ours and only we write to it."""
    ours = status.st_uid == os.geteuid() and not status.st_mode & 0o022
    return ours and stat.S_ISDIR(status.st_mode)


def _spool_names(descriptor: int) -> list[str]:
    """Return the spool files of a folder, oldest hour first; -1 is an empty one."""
    return _names(descriptor, _NAME)


def _names(descriptor: int, pattern: re.Pattern[str]) -> list[str]:
    if descriptor < 0:
        return []
    with os.scandir(descriptor) as entries:
        return sorted(entry.name for entry in entries if pattern.fullmatch(entry.name))


def _open_file(folder: int, name: str) -> int:
    """Open a regular file of ours; -1 for links, pipes, other people's files."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        file = os.open(name, flags, dir_fd=folder)
    except OSError:
        return -1
    status = os.fstat(file)
    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
        return file
    os.close(file)
    return -1


def _is_settled(name: str, status: os.stat_result, now_ns: int) -> bool:
    """Tell whether nobody writes to a file any more: its hour and its last change are long past.

    A launcher opens the file of the current hour for each record, and closes it at once.
    """
    now_s = now_ns / 1e9
    return now_s - _hour_start_s(name) > 2 * _HOUR_S and now_s - status.st_mtime > _HOUR_S


def _hour_start_s(name: str) -> int:
    try:
        return calendar.timegm(time.strptime(name[:11], "%Y%m%dT%H"))
    except ValueError:  # 20269999T99: shaped like a name of ours, and old
        return 0
