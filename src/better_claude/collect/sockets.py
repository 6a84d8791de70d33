"""Ask the kernel how many bytes each TCP connection has carried (sock_diag(7), netlink)."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NLM_F_REQUEST_DUMP = 0x301
_INET_DIAG_INFO = 2
_IPPROTO_TCP = 6
# Every state but LISTEN, TIME_WAIT and those before a connection stands: they carry nothing.
_STATES = sum(1 << state for state in (1, 4, 5, 8, 9, 11))

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48x")
_MESSAGE_BYTES, _INODE_AT = 72, 68
_ATTRIBUTE = struct.Struct("=HH")
# tcpi_bytes_acked and tcpi_bytes_received of struct tcp_info (linux/tcp.h, since 4.1).
_TCP_BYTES = struct.Struct("=120xQQ")
_REPLY_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one side has received, and sent and seen acknowledged."""

    received_bytes: int
    sent_bytes: int


def tcp_traffic() -> dict[int, Traffic] | None:
    """Return the traffic of every TCP connection by its socket's inode; None if it is not told.

    Only connections of our own network namespace. Not counted: UDP (QUIC too) and what a
    connection carried that came and went between two looks.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as netlink:
            netlink.settimeout(1.0)
            found: dict[int, Traffic] = {}
            for family in (socket.AF_INET, socket.AF_INET6):
                found.update(_dump(netlink, family))
            return found
    except OSError:
        return None


def _dump(netlink: socket.socket, family: int) -> Iterator[tuple[int, Traffic]]:
    extensions = 1 << (_INET_DIAG_INFO - 1)
    request = _REQUEST.pack(family, _IPPROTO_TCP, extensions, 0, _STATES)
    length = _HEADER.size + len(request)
    netlink.send(
        _HEADER.pack(length, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, family, 0) + request
    )
    while True:
        reply = netlink.recv(_REPLY_BYTES)
        for kind, message in _messages(reply):
            if kind == _NLMSG_DONE:
                return
            if kind == _NLMSG_ERROR:
                raise OSError("the kernel refused the question")
            yield from _connection(message)


def _messages(reply: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(reply):
        length, kind, *_ = _HEADER.unpack_from(reply, at)
        if length < _HEADER.size:
            return
        yield kind, reply[at + _HEADER.size : at + length]
        at += _aligned(length)


def _connection(message: bytes) -> Iterator[tuple[int, Traffic]]:
    if len(message) < _MESSAGE_BYTES:
        return
    (inode,) = struct.unpack_from("=I", message, _INODE_AT)
    at = _MESSAGE_BYTES
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        if length < _ATTRIBUTE.size:
            return
        content = at + _ATTRIBUTE.size
        if kind == _INET_DIAG_INFO and length - _ATTRIBUTE.size >= _TCP_BYTES.size:
            sent, received = _TCP_BYTES.unpack_from(message, content)
            yield inode, Traffic(received_bytes=received, sent_bytes=sent)
        at += _aligned(length)


def _aligned(length: int) -> int:
    return length + 3 & ~3
