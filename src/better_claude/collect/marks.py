"""How far a source has been read: what commits together with the records read from it."""

import msgspec


class SpoolMark(msgspec.Struct, frozen=True):
    """A spool file has been read up to ``offset``; ``inode`` tells it from a later namesake."""

    folder: str
    file: str
    inode: int
    offset: int


class Reject(msgspec.Struct, frozen=True):
    """Bytes that were set aside: why and where they stand, never what they say.

    Reasons: torn, checksum, foreign, too_long, undecodable, wrong_values, untrusted.
    """

    reason: str
    file: str
    offset: int
    length: int


class ImportMark(msgspec.Struct, frozen=True):
    """A transcript has been read up to ``offset`` bytes.

    ``identity`` is whatever tells the content apart from another file at the same path.
    """

    path: str
    inode: int
    size_bytes: int
    mtime_ns: int
    offset: int
    identity: str = ""
