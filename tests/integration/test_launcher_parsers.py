"""The launcher's parsers: like Python's on valid input, and sound on a million others."""

import json
import os
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.launcher_driver import SOURCES, compile_c, event

SANITIZE = (
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
MEMBERS = (
    "hook_event_name",
    "session_id",
    "tool_name",
    "tool_use_id",
    "prompt_id",
    "agent_id",
    "agent_type",
)
LONGEST = 256
# Inputs of CI's budget, shared out by how much there is to find.
INPUTS = int(os.environ.get("BETTER_CLAUDE_FUZZ_INPUTS", "1000000"))
SHARES = {"event": 0.5, "policy": 0.3, "command": 0.2}


@dataclass(frozen=True, slots=True)
class Reader:
    """The launcher's reader of events in a process of its own."""

    stdin: IO[bytes]
    stdout: IO[bytes]

    def event(self, pieces: list[bytes]) -> tuple[dict[str, str], bool]:
        framed = b"".join(struct.pack("=I", len(piece)) + piece for piece in pieces)
        self.stdin.write(b"e" + struct.pack("=I", len(pieces)) + framed)
        self.stdin.flush()
        texts = {}
        for name in MEMBERS:
            (length,) = struct.unpack("=I", self.stdout.read(4))
            texts[name] = self.stdout.read(length).decode("utf-8", "replace")
        return texts, self.stdout.read(1) == b"\1"

    def answer(self, text: bytes) -> tuple[bool, bool, bool]:
        self.stdin.write(b"a" + struct.pack("=II", 1, len(text)) + text)
        self.stdin.flush()
        is_object, is_async, is_blocking = self.stdout.read(3)
        return bool(is_object), bool(is_async), bool(is_blocking)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    sources = [SOURCES / "fuzz/event_cli.c", SOURCES / "event.c", SOURCES / "text.c"]
    binary = compile_c("event_cli", *sources, flags=SANITIZE)
    process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    yield Reader(process.stdin, process.stdout)
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=10) == 0


def cleaned(value: str) -> str:
    """Return a text as the launcher keeps it: no NUL, no half of a surrogate pair."""
    whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return "".join("\ufffd" if c == "\0" else c for c in whole)


def expected(document: Any) -> dict[str, str]:
    """Return what Python's parser finds of the members that the launcher looks for."""
    texts = {}
    for name in MEMBERS:
        value = document.get(name)
        texts[name] = cleaned(value) if isinstance(value, str) else ""
    return texts


TEXTS = st.one_of(
    st.sampled_from(
        ["", *MEMBERS, "jsonrpc", "PreToolUse", '"', "\\", "\\u0041", "}{", "],[", "\n"]
    ),
    st.text(max_size=20),
    st.text(st.characters(), max_size=60),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(st.one_of(st.sampled_from(MEMBERS), TEXTS), VALUES, max_size=8)


@st.composite
def written(draw: st.DrawFn) -> tuple[dict[str, Any], bytes, list[bytes]]:
    """Return a document, its JSON in one of its spellings, and that in pieces."""
    document = draw(DOCUMENTS)
    text = json.dumps(
        document,
        ensure_ascii=draw(st.booleans()),
        indent=draw(st.sampled_from([None, 1, "\t"])),
        separators=draw(st.sampled_from([None, (",", ":"), (" , ", " : ")])),
    )
    data = draw(st.sampled_from(["", " ", "\n\t"])).encode() + text.encode("utf-8", "surrogatepass")
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))
    bounds = [0, *cuts, len(data)]
    return document, data, [data[a:b] for a, b in pairwise(bounds)]


@settings(
    max_examples=600,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(case=written())
def test_events_read_as_python_reads_them(
    reader: Reader, case: tuple[dict[str, Any], bytes, list[bytes]]
) -> None:
    _, data, pieces = case
    document = json.loads(data.decode("utf-8", "surrogatepass"))
    wanted = expected(document)
    found, is_jsonrpc = reader.event(pieces)
    assert is_jsonrpc == (
        "jsonrpc" in document and not isinstance(document["jsonrpc"], dict | list)
    )
    for name, text in found.items():
        # Longer texts are cut, and the last character may be half.
        whole = wanted[name]
        if len(whole.encode("utf-8", "replace")) <= LONGEST:
            assert text == cleaned(
                whole.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
            )
        else:
            assert len(text.encode()) >= LONGEST - 3 and text[:60] == whole[:60]


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    document=st.fixed_dictionaries(
        {},
        optional={
            "decision": st.sampled_from(["block", "approve", "deny", 1, None]),
            "reason": TEXTS,
            "async": st.sampled_from([True, False, "true", 1]),
            "continue": st.booleans(),
            "hookSpecificOutput": st.one_of(
                VALUES,
                st.fixed_dictionaries(
                    {"permissionDecision": st.sampled_from(["deny", "allow", "ask"])},
                    optional={"x": VALUES},
                ),
            ),
            "other": VALUES,
        },
    ),
    around=st.tuples(
        st.sampled_from(["", " ", "\n"]), st.sampled_from(["", " ", "\n", "x", "{}", "}"])
    ),
)
def test_answers_read_as_python_reads_them(
    reader: Reader, document: dict[str, Any], around: tuple[str, str]
) -> None:
    text = (around[0] + json.dumps(document) + around[1]).encode("utf-8", "surrogatepass")
    is_object, is_async, is_blocking = reader.answer(text)
    try:
        json.loads(text.decode("utf-8", "surrogatepass"))
    except json.JSONDecodeError:
        assert (is_object, is_async, is_blocking) == (False, False, False)
        return
    assert is_object
    assert is_async == (document.get("async") is True)
    specific = document.get("hookSpecificOutput")
    denies = isinstance(specific, dict) and specific.get("permissionDecision") == "deny"
    stops = document.get("continue") is False
    assert is_blocking == (document.get("decision") == "block" or denies or stops)


def test_event_of_every_size_up_to_the_cut(reader: Reader) -> None:
    for length in range(250, 270):
        for letter in ("x", "\u00e9", "\u20ac", "\U0001f40c"):
            texts, _ = reader.event([event(letter * length)])
            assert texts["hook_event_name"][:60] == letter * 60
            assert texts["session_id"] != ""


def run_fuzz(name: str, inputs: int, seed: int, folder: Path, sources: list[Path]) -> None:
    binary = compile_c(f"{name}_fuzz", *sources, flags=SANITIZE)
    trace = folder / f"{name}-{seed}.input"
    done = subprocess.run(
        [binary, str(inputs), str(seed)],
        env={**os.environ, "FUZZ_INPUT": str(trace)},
        capture_output=True,
        check=False,
    )
    kept = trace.read_bytes() if trace.exists() else b""
    assert done.returncode == 0, (done.stderr.decode("utf-8", "replace")[-3000:], kept)
    assert done.stdout == f"{inputs} inputs\n".encode()


@pytest.mark.parametrize("name", SHARES)
def test_fuzz(name: str, tmp_path: Path) -> None:
    """A share of a million inputs, the same ones on every machine, on two cores."""
    modules = {
        "event": ["event", "text"],
        "policy": ["policy", "text"],
        "command": ["command", "text"],
    }
    sources = [SOURCES / f"{module}.c" for module in modules[name]]
    sources += [SOURCES / f"fuzz/{name}_fuzz.c", SOURCES / "fuzz/fuzz.c"]
    compile_c(f"{name}_fuzz", *sources, flags=SANITIZE)
    half = round(INPUTS * SHARES[name]) // 2
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda seed: run_fuzz(name, half, seed, tmp_path, sources), (1, 2)))


def test_fuzz_finds_a_planted_fault(tmp_path: Path) -> None:
    """The driver and the checks see a reader that writes one byte too far."""
    text = (SOURCES / "event.c").read_text()
    planted = text.replace(
        "scan->value_length < SCAN_VALUE_MAX)", "scan->value_length < 4 * SCAN_VALUE_MAX)"
    )
    assert planted != text
    (tmp_path / "event.c").write_text(planted)
    sources = [tmp_path / "event.c", SOURCES / "text.c"]
    sources += [SOURCES / "fuzz/event_fuzz.c", SOURCES / "fuzz/fuzz.c"]
    with pytest.raises(AssertionError):
        run_fuzz("event", 20_000, 1, tmp_path, sources)
