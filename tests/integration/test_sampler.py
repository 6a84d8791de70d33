"""Samples of a real process tree against what it really did."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from better_claude.collect import proc
from better_claude.collect.sampler import MAXIMUM_CLIENTS, SessionSampler
from better_claude.collect.sockets import tcp_traffic
from better_claude.model import ClientEvent, SessionSample, Source

MB = 1 << 20
# A client stand-in that does what it is told, one line at a time.
CLIENT = """
import json, os, signal, socket, subprocess, sys, time

def burn(seconds):
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass

def child(code):
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)

for line in sys.stdin:
    exec(json.loads(line))
    print("done", flush=True)
"""


class Client:
    """A stand-in for the client that does what it is told."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None and process.stdout is not None
        self.pid = process.pid
        self.process = process
        self._stdin: IO[str] = process.stdin
        self._stdout: IO[str] = process.stdout

    def does(self, code: str) -> None:
        self._stdin.write(json.dumps(code) + "\n")
        self._stdin.flush()
        assert self._stdout.readline() == "done\n"

    def end(self) -> None:
        self._stdin.close()
        self.process.wait()
        self._stdout.close()


@contextmanager
def a_client() -> Iterator[Client]:
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    client = Client(process)
    try:
        yield client
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            client.end()


@pytest.fixture
def client() -> Iterator[Client]:
    with a_client() as one:
        yield one


def sampled(sampler: SessionSampler) -> SessionSample:
    (sample,) = sampler.look(1)
    assert isinstance(sample, SessionSample)
    return sample


def watching(client: Client) -> SessionSampler:
    sampler = SessionSampler()
    sampler.note("s1", client.pid, 0)
    return sampler


def test_cpu_of_the_tree_and_of_children_that_have_ended(client: Client) -> None:
    sampler = watching(client)
    before = sampled(sampler).cpu_ns
    client.does("c = child('exec(input())')")
    client.does("burn(0.2)")
    assert sampled(sampler).processes == 2
    client.does("c.stdin.write(b't=__import__(\"time\")\\nwhile t.process_time() < 0.3: pass\\n')")
    client.does("c.communicate(b'')")
    client.does("c = child('while __import__(\"time\").process_time() < 0.2: pass'); c.wait()")
    used = sampled(sampler).cpu_ns - before
    assert 350_000_000 <= used <= 900_000_000


def test_cpu_does_not_fall_when_a_child_leaves_the_tree(client: Client) -> None:
    sampler = watching(client)
    client.does("c = child('while __import__(\"time\").process_time() < 0.3: pass\\ninput()')")
    client.does("time.sleep(0.6)")
    before = sampled(sampler)
    client.does("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")
    client.does("c.stdin.close(); time.sleep(0.1)")
    after = sampled(sampler)
    assert (before.processes, after.processes) == (2, 1)
    assert after.cpu_ns >= before.cpu_ns >= 250_000_000


def test_anonymous_memory_counts_what_is_written_and_not_what_is_mapped(
    client: Client, tmp_path: Path
) -> None:
    sampler = watching(client)
    before = sampled(sampler)
    client.does("held = bytearray(os.urandom(1) * (64 << 20))")
    grown = sampled(sampler)
    assert 60 * MB <= grown.anon_bytes - before.anon_bytes <= 70 * MB
    (tmp_path / "file").write_bytes(b"x" * (64 * MB))
    client.does(
        f"import mmap; f = open({str(tmp_path / 'file')!r}, 'r+b'); m = mmap.mmap(f.fileno(), 0)"
    )
    client.does("n = sum(m[i] for i in range(0, len(m), 4096))")
    mapped = sampled(sampler)
    assert mapped.rss_bytes - grown.rss_bytes >= 60 * MB
    assert mapped.anon_bytes - grown.anon_bytes <= 4 * MB


def test_disk_writes_of_children_count(client: Client, tmp_path: Path) -> None:
    sampler = watching(client)
    before = sampled(sampler)
    target = str(tmp_path / "written")
    code = f"import os; f = os.open({target!r}, 65); os.write(f, bytes({8 * MB})); os.fsync(f)"
    client.does(f"c = child({code!r}); c.wait()")
    assert before.disk_write_bytes >= 0
    assert sampled(sampler).disk_write_bytes - before.disk_write_bytes >= 8 * MB


def test_network_bytes_of_the_tree(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sampler = watching(client)
        before = sampled(sampler)
        port = server.getsockname()[1]
        client.does(f"s = socket.create_connection(('127.0.0.1', {port}))")
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"r" * 300_000)
            client.does("s.recv(300000, socket.MSG_WAITALL)")
            client.does("s.sendall(b's' * 50000)")
            got = 0
            while got < 50_000:
                got += len(peer.recv(65536))
            first = sampled(sampler)
            peer.sendall(b"r" * 1000)
            client.does("s.recv(1000, socket.MSG_WAITALL)")
            second = sampled(sampler)
            client.does("s.close()")
            third = sampled(sampler)
    assert first.net_received_bytes - before.net_received_bytes == 300_000
    assert 50_000 <= first.net_sent_bytes - before.net_sent_bytes <= 50_001
    assert second.net_received_bytes - first.net_received_bytes == 1000
    assert third.net_received_bytes == second.net_received_bytes


def test_other_peoples_connections_do_not_count(client: Client) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sampler = watching(client)
        with socket.create_connection(server.getsockname()) as ours:
            peer, _ = server.accept()
            with peer:
                ours.sendall(b"x" * 1000)
                peer.recv(1000, socket.MSG_WAITALL)
                assert any(one.received_bytes >= 1000 for one in (tcp_traffic() or {}).values())
                assert sampled(sampler).net_received_bytes == 0


def test_a_client_that_was_sampled_before_counts_from_the_first_look(client: Client) -> None:
    client.does("burn(0.3)")
    again = SessionSampler()
    again.note("s1", client.pid, 0, sampled=True)
    assert sampled(again).cpu_ns <= 20_000_000
    client.does("burn(0.2)")
    assert 180_000_000 <= sampled(again).cpu_ns <= 300_000_000
    assert sampled(watching(client)).cpu_ns >= 450_000_000


def test_the_end_of_a_client_is_told_once(client: Client) -> None:
    sampler = watching(client)
    sampled(sampler)
    client.end()
    (gone,) = sampler.look(5)
    assert isinstance(gone, ClientEvent)
    assert (gone.name, gone.session, gone.time_ns) == ("client_gone", "s1", 5)
    assert gone.source is Source.SAMPLER
    assert sampler.look(6) == []
    assert len(sampler) == 0


def test_a_client_that_only_waits_to_be_reaped_has_ended() -> None:
    process = subprocess.Popen(["sleep", "30"])
    sampler = SessionSampler()
    sampler.note("s1", process.pid, 0)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    (gone,) = sampler.look(5)
    assert isinstance(gone, ClientEvent)
    process.wait()


def test_a_younger_process_with_the_clients_id_is_not_it(client: Client) -> None:
    sampler = SessionSampler()
    sampler.note("s1", client.pid, 3600 * 10**9)
    assert sampler.look(1) == []


def test_invented_and_foreign_clients_are_not_looked_at() -> None:
    sampler = SessionSampler()
    sampler.note("s1", 2**22 + 5, 0)
    sampler.note("", os.getpid(), 0)
    assert len(sampler) == 0


def test_a_clients_next_session_takes_over_its_name(client: Client) -> None:
    sampler = watching(client)
    sampler.note("s2", client.pid, 0)
    assert sampled(sampler).session == "s2"


def test_only_so_many_clients_are_looked_at() -> None:
    processes = [subprocess.Popen(["sleep", "30"]) for _ in range(MAXIMUM_CLIENTS + 3)]
    try:
        sampler = SessionSampler()
        for process in processes:
            sampler.note(f"s{process.pid}", process.pid, 0)
        assert len(sampler.look(1)) == MAXIMUM_CLIENTS
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_process_whose_name_looks_like_fields(tmp_path: Path) -> None:
    program = tmp_path / "a) S 1 (b"
    program.symlink_to("/bin/sleep")
    process = subprocess.Popen([program, "30"])
    try:
        stat = proc.read_stat(process.pid)
        assert stat is not None
        assert (stat.parent, stat.pid) == (os.getpid(), process.pid)
        assert 0 <= proc.age_ns(stat.ticks) < 5_000_000_000
    finally:
        process.kill()
        process.wait()


def test_what_is_gone_reads_as_nothing() -> None:
    assert proc.read_stat(2**22 + 5) is None
    assert not proc.is_running(2**22 + 5, 0)
    assert proc.memory(2**22 + 5) == (0, 0)
    assert proc.disk(2**22 + 5) is None
    assert proc.socket_inodes(2**22 + 5) is None
    assert proc.environment(2**22 + 5) == [b""]
    assert proc.tree(2**22 + 5) == [2**22 + 5]
