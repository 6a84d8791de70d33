"""A gzip body is unpacked up to a bound, whole or not at all."""

import gzip
import zlib

import pytest

from better_claude.service.receiver import MAXIMUM_BODY_BYTES, RefusedError, unpack


def test_round_trip() -> None:
    assert unpack(gzip.compress(b"x" * 100_000)) == b"x" * 100_000
    assert unpack(gzip.compress(b"")) == b""


def test_exactly_the_bound_is_allowed_and_one_more_is_not() -> None:
    assert len(unpack(gzip.compress(bytes(MAXIMUM_BODY_BYTES)))) == MAXIMUM_BODY_BYTES
    with pytest.raises(RefusedError) as caught:
        unpack(gzip.compress(bytes(MAXIMUM_BODY_BYTES + 1)))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "content",
    [b"", b"not gzip", gzip.compress(b"x" * 1000)[:-9], zlib.compress(b"x"), b"\x1f\x8b"],
)
def test_what_is_no_gzip_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        unpack(content)
    assert caught.value.status == 400
