import os
from pathlib import Path

import pytest
from tests.records import BEGIN_NS, HOUR_NS, framed, make_run, make_start, spool_line, spool_name

from better_claude.collect.marks import SpoolMark
from better_claude.collect.spool import LONGEST_LINE, SpoolReader, parse
from better_claude.model import Run

NAME = spool_name(BEGIN_NS)
GOOD = spool_line(make_run())
TEXT = GOOD.strip().rpartition(b"\t")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    return folder


def reasons(data: bytes) -> list[str]:
    return [reject.reason for reject in parse(data, NAME, 0, 5000).rejects]


def settle(path: Path) -> int:
    """Make a file look long untouched, and return a time at which it is."""
    os.utime(path, ns=(BEGIN_NS, BEGIN_NS))
    return BEGIN_NS + 3 * HOUR_NS


def test_a_record_is_read_as_it_was_written() -> None:
    run, start = make_run(prompt="p", wall_ns=7), make_start()
    data = spool_line(start) + spool_line(run)
    parsed = parse(data, NAME, 0, 5000)
    assert parsed.records == [start, run]
    assert parsed.rejects == []
    assert parsed.consumed == len(data)


def test_unknown_members_are_ignored() -> None:
    assert parse(framed(TEXT[:-1] + b',"new":[1]}'), NAME, 0, 9).records == [make_run()]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GOOD[:-20] + b"\n", "torn"),
        (GOOD[:-2] + b"\n", "torn"),
        (b"\n" + TEXT + b"\n", "torn"),
        (b"\n" + TEXT + b"\t00000000\n", "checksum"),
        (GOOD.replace(b"PreToolUse", b"PreToolUsf"), "checksum"),
        (b"hello\n", "foreign"),
        (b"\0" * 100 + b"\n", "foreign"),
        (b"{" + b"x" * LONGEST_LINE + b"\n", "too_long"),
        (framed(b"{}"), "undecodable"),
        (framed(b"{" * 4000), "undecodable"),
        (framed(b'{"kind":"other"}'), "undecodable"),
        (framed(b'{"kind":"end","run":"\xff"}'), "undecodable"),
        (framed(TEXT.replace(b'"wall_ns":20000000', b'"wall_ns":"20"')), "undecodable"),
        (framed(TEXT.replace(b'"ok"', b'"fine"')), "undecodable"),
        (framed(TEXT.replace(b'"ok"', b'"lost"')), "wrong_values"),
        (framed(TEXT.replace(b'"ok"', b'"unknown"')), "wrong_values"),
        (framed(TEXT.replace(b'"wall_ns":20000000', b'"wall_ns":-1')), "wrong_values"),
        (framed(TEXT.replace(b'"wall_ns":20000000', b'"wall_ns":9e18')), "undecodable"),
        (
            framed(TEXT.replace(b'"wall_ns":20000000', b'"wall_ns":9223372036854775807')),
            "wrong_values",
        ),
        (spool_line(make_run(run="xyz")), "wrong_values"),
        (spool_line(make_run(run="0_00000000000001")), "wrong_values"),
        (spool_line(make_run(key="ABCDEF0123456789")), "wrong_values"),
        (spool_line(make_run(start_ns=0)), "wrong_values"),
        (spool_line(make_run(start_ns=1 << 62)), "wrong_values"),
        (spool_line(make_run(overhead_ns=-5)), "wrong_values"),
        (spool_line(make_start(launcher_pid=-1)), "wrong_values"),
    ],
)
def test_a_bad_line_is_set_aside_and_the_next_one_read(data: bytes, reason: str) -> None:
    assert reasons(data) == [reason]
    parsed = parse(data + GOOD, NAME, 100, 5000)
    assert parsed.records == [make_run()]
    assert parsed.rejects[0].offset == 100 + (data[0] == 0x0A)
    assert parsed.consumed == len(data) + len(GOOD)


def test_a_last_line_without_its_end_waits() -> None:
    parsed = parse(GOOD + GOOD[:-1], NAME, 0, 5000)
    assert len(parsed.records) == 1
    assert parsed.rejects == []
    assert parsed.consumed == len(GOOD) + 1


def test_no_more_lines_than_asked_for() -> None:
    parsed = parse(GOOD * 5, NAME, 0, 2)
    assert len(parsed.records) == 2
    assert parsed.consumed == 2 * len(GOOD)


def test_reading_goes_on_only_after_accept(folder: Path) -> None:
    (folder / NAME).write_bytes(GOOD)
    reader = SpoolReader([folder])
    first = reader.read(BEGIN_NS)
    assert reader.read(BEGIN_NS) == first
    reader.accept(first)
    assert reader.read(BEGIN_NS).records == ()
    with (folder / NAME).open("ab") as file:
        file.write(spool_line(make_run(2)))
    assert reader.read(BEGIN_NS).records == (make_run(2),)


def test_a_new_reader_goes_on_from_the_marks(folder: Path) -> None:
    (folder / NAME).write_bytes(GOOD + spool_line(make_run(2)))
    batch = SpoolReader([folder]).read(BEGIN_NS, limit=1)
    assert batch.more
    assert SpoolReader([folder], batch.marks).read(BEGIN_NS).records == (make_run(2),)


def test_both_folders_and_all_hours_are_read_oldest_first(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for number, folder in enumerate(folders):
        folder.mkdir(mode=0o700)
        for hour in (1, 0):
            name = spool_name(BEGIN_NS + hour * HOUR_NS)
            (folder / name).write_bytes(spool_line(make_run(10 * number + hour + 1)))
    batch = SpoolReader(folders).read(BEGIN_NS)
    assert [record.run for record in batch.records] == [f"{n:016x}" for n in (1, 2, 11, 12)]


def test_a_file_that_shrank_is_read_anew(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(GOOD * 2)
    inode = path.stat().st_ino
    reader = SpoolReader([folder], [SpoolMark(str(folder), NAME, inode, 10_000)])
    assert len(reader.read(BEGIN_NS).records) == 2


def test_a_line_too_long_is_passed_over_wherever_reading_stopped(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(b"x" * (LONGEST_LINE + 1))
    reader = SpoolReader([folder])
    batch = reader.read(BEGIN_NS)
    assert [reject.reason for reject in batch.rejects] == ["too_long"]
    reader.accept(batch)
    with path.open("ab") as file:
        file.write(TEXT + b"\n" + GOOD)  # the rest of the long line, then a good one
    batch = reader.read(BEGIN_NS)
    assert batch.records == (make_run(),)
    assert batch.rejects == ()
    assert batch.marks[0].offset == path.stat().st_size


def test_half_a_line_is_torn_when_nobody_writes_any_more(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(GOOD + GOOD[:50])
    reader = SpoolReader([folder])
    reader.accept(reader.read(BEGIN_NS))
    assert reader.read(BEGIN_NS + 3 * HOUR_NS).rejects == ()  # changed just now
    batch = reader.read(settle(path))
    assert [reject.reason for reject in batch.rejects] == ["torn"]
    reader.accept(batch)
    with path.open("ab") as file:
        file.write(GOOD)
    assert reader.read(BEGIN_NS).records == (make_run(),)


def test_an_old_file_is_read_bit_by_bit_too(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(GOOD * 3 + b"{")
    now_ns = settle(path)
    reader = SpoolReader([folder])
    found = []
    while (batch := reader.read(now_ns, limit=1)).marks:
        found.append((len(batch.records), len(batch.rejects), batch.more))
        reader.accept(batch)
    assert [sum(column) for column in zip(*found, strict=True)][:2] == [3, 1]
    assert not found[-1][2]


def test_only_files_that_are_done_with_are_deleted(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(GOOD)
    now_ns = settle(path)
    reader = SpoolReader([folder])
    assert reader.sweep(now_ns) == []  # not read
    batch = reader.read(now_ns)
    assert reader.sweep(now_ns) == []  # not stored
    reader.accept(batch)
    assert reader.sweep(BEGIN_NS + HOUR_NS) == []  # too fresh
    assert path.exists()
    assert reader.sweep(now_ns) == list(batch.marks)
    assert not path.exists()
    (aside,) = folder.iterdir()
    # The service died before it forgot the mark: the file still holds the inode.
    assert SpoolReader([folder], batch.marks).sweep(now_ns) == list(batch.marks)
    assert aside.exists()
    assert reader.sweep(now_ns) == []
    assert not aside.exists()


def test_a_namesake_of_a_file_put_aside_is_read_from_its_start(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(GOOD)
    now_ns = settle(path)
    reader = SpoolReader([folder])
    batch = reader.read(now_ns)
    reader.accept(batch)
    reader.sweep(now_ns)
    path.write_bytes(spool_line(make_run(2)))  # the clock was set back
    assert SpoolReader([folder], batch.marks).read(now_ns).records == (make_run(2),)


def test_a_file_with_half_a_line_is_not_deleted(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(GOOD + b"{")
    reader = SpoolReader([folder])
    reader.accept(reader.read(BEGIN_NS))
    assert reader.sweep(settle(path)) == []
    assert path.exists()


def test_marks_of_files_that_are_gone_are_given_up(folder: Path) -> None:
    mark = SpoolMark(str(folder), "20200101T00.spool", 1, 5)
    assert SpoolReader([folder], [mark]).sweep(BEGIN_NS) == [mark]


def test_links_pipes_and_strangers_are_not_read(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(GOOD)
    (folder / spool_name(BEGIN_NS)).symlink_to(secret)
    os.mkfifo(folder / spool_name(BEGIN_NS + HOUR_NS))
    (folder / spool_name(BEGIN_NS + 2 * HOUR_NS)).mkdir()
    (folder / "notes.txt").write_bytes(GOOD)
    reader = SpoolReader([folder])
    assert reader.read(BEGIN_NS).records == ()
    reader.sweep(BEGIN_NS + 99 * HOUR_NS)
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("which", ["folder", "parent"])
@pytest.mark.parametrize("how", ["link", "open"])
def test_a_second_folder_that_others_could_change_is_not_read(
    tmp_path: Path, which: str, how: str
) -> None:
    first = tmp_path / "first"
    first.mkdir(mode=0o700)
    parent = tmp_path / "parent"
    second = parent / "key"
    second.mkdir(parents=True)
    (second / NAME).write_bytes(GOOD)
    parent.chmod(0o700)
    second.chmod(0o700)
    assert len(SpoolReader([first, second]).read(BEGIN_NS).records) == 1
    victim = second if which == "folder" else parent
    if how == "open":
        victim.chmod(0o777)
    else:
        elsewhere = victim.rename(tmp_path / "elsewhere")
        victim.symlink_to(elsewhere)
    reader = SpoolReader([first, second])
    batch = reader.read(BEGIN_NS)
    assert batch.records == ()
    # A link is as good as nothing there; what is open to others is worth a word, once.
    if (which, how) != ("folder", "link"):
        assert [reject.reason for reject in batch.rejects] == ["untrusted"]
        assert reader.read(BEGIN_NS).rejects == ()


def test_missing_folders_are_empty(tmp_path: Path) -> None:
    reader = SpoolReader([tmp_path / "none", tmp_path / "nothing"])
    assert reader.read(BEGIN_NS).records == ()
    assert reader.sweep(BEGIN_NS) == []


def test_records_are_frozen_runs_and_starts(folder: Path) -> None:
    (folder / NAME).write_bytes(GOOD)
    (record,) = SpoolReader([folder]).read(BEGIN_NS).records
    assert isinstance(record, Run)
