"""Whatever stands in the spool: reading it never raises, and good records are never lost."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.records import BEGIN_NS, make_run, make_start, spool_line, spool_name

from better_claude.collect.spool import LONGEST_LINE, SpoolReader, parse
from better_claude.model import Run, RunStart

NAME = spool_name(BEGIN_NS)
EPOCH_NS = 1

texts = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=30)
sizes = st.integers(0, (1 << 53) - 1)
runs = st.builds(
    lambda number, wall_ns, command, event: make_run(
        number, start_ns=BEGIN_NS + number, wall_ns=wall_ns, command=command, event=event
    ),
    st.integers(1, 1 << 40),
    sizes,
    texts,
    texts,
)
starts = st.builds(
    lambda number, pid: make_start(number, start_ns=BEGIN_NS + number, launcher_pid=pid),
    st.integers(1, 1 << 40),
    sizes,
)
records = st.one_of(runs, starts)
# What a good record must survive as a neighbour: halves of records, rubbish, NULs, long lines.
rubbish = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda record, cut: spool_line(record)[: cut % len(spool_line(record))],
        records,
        st.integers(0, 10_000),
    ),
    st.sampled_from([b"\0" * 4096, b"x" * (LONGEST_LINE + 100), b"\n\n\n", b"{\t00000000\n"]),
)
pieces = st.lists(st.one_of(records, rubbish), max_size=12)


def joined(parts: Sequence[Run | RunStart | bytes]) -> bytes:
    return b"".join(part if isinstance(part, bytes) else spool_line(part) for part in parts)


def good(parts: Sequence[Run | RunStart | bytes]) -> list[Run | RunStart]:
    return [part for part in parts if not isinstance(part, bytes)]


@given(st.binary(max_size=3000), st.integers(0, 1 << 40), st.integers(1, 20))
def test_any_bytes_are_read_without_an_error(data: bytes, offset: int, limit: int) -> None:
    parsed = parse(data, NAME, offset, limit)
    assert 0 <= parsed.consumed <= len(data)
    assert len(parsed.records) + len(parsed.rejects) <= limit + 1


@given(pieces)
def test_good_records_survive_bad_neighbours(parts: list[Run | RunStart | bytes]) -> None:
    # The launcher begins a record on a line of its own, so a torn one takes none with it.
    found = parse(joined(parts), NAME, 0, 5000).records
    expected = good(parts)
    # Rubbish may, by chance, be a whole record: then there are more, but in order.
    remaining = iter(found)
    assert all(record in remaining for record in expected)


@settings(max_examples=60, deadline=None)
@given(pieces, st.lists(st.integers(1, 700), min_size=1, max_size=40), st.integers(1, 7))
def test_however_it_grows_and_is_read_the_records_are_the_same(
    parts: list[Run | RunStart | bytes], steps: list[int], limit: int
) -> None:
    data = joined(parts)
    whole = parse(data, NAME, 0, 1 << 30)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader = SpoolReader([folder])
        found: list[Run | RunStart] = []
        written = 0
        with (folder / NAME).open("ab", buffering=0) as file:
            for step in [*steps, len(data)]:
                file.write(data[written : written + step])
                written += step
                batch = reader.read(EPOCH_NS, limit)
                found += batch.records
                reader.accept(batch)
                if step % 3 == 0:  # the service was started anew
                    marks = list(batch.marks)
                    reader = SpoolReader([folder], marks) if marks else reader
        while (batch := reader.read(EPOCH_NS, limit)).marks:
            found += batch.records
            reader.accept(batch)
    assert found == whole.records


@given(records, st.integers(0, 5000), st.integers(1, 255))
def test_a_flipped_byte_never_makes_another_record(
    record: Run | RunStart, position: int, flip: int
) -> None:
    line = bytearray(spool_line(record))
    line[position % len(line)] ^= flip
    for found in parse(bytes(line), NAME, 0, 5000).records:
        assert found == record
