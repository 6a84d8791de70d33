"""What the rows of a transcript say, in the shape of each version."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from tests.transcript_rows import (
    PROJECT,
    SECRET,
    SESSION,
    Row,
    assistant,
    at,
    at_ns,
    compact_boundary,
    encode,
    hook_attachment,
    hook_progress,
    prompt,
    row,
    stop_summary,
    text,
    tool_result,
    tool_use,
)

from better_claude.claude.transcripts import (
    WINDOW_BYTES,
    Transcript,
    first_project,
    session_of,
    transcript_root,
)
from better_claude.model import (
    ApiCall,
    ClientEvent,
    Compaction,
    HistoryRun,
    Outcome,
    Record,
    Source,
    ToolCall,
    fnv1a64,
)

Kind = TypeVar("Kind", ApiCall, ToolCall, HistoryRun, Compaction, ClientEvent)


def read(rows: Iterable[Row]) -> list[Record]:
    transcript = Transcript("file", PROJECT)
    position = 0
    for line in encode(*rows).splitlines():
        assert transcript.feed(line, position) == ""
        position += len(line) + 1
    return transcript.take()


def all_of(kind: type[Kind], *rows: Row) -> list[Kind]:
    return [record for record in read(rows) if isinstance(record, kind)]


def one(kind: type[Kind], *rows: Row) -> Kind:
    (record,) = all_of(kind, *rows)
    return record


def key_of(text: str) -> str:
    return f"{fnv1a64(text.encode()):016x}"


class TestApiCalls:
    def test_rows_of_one_message_are_one_call_with_the_last_usage(self) -> None:
        call = one(
            ApiCall,
            assistant(1, "msg_1", text(), output=1),
            assistant(2, "msg_1", tool_use("toolu_1"), output=1),
            tool_result(3, "toolu_1"),
            assistant(4, "msg_1", text(), output=250),
        )
        assert call == ApiCall(
            time_ns=at_ns(4),
            session=SESSION,
            model="claude-sonnet-9",
            source=Source.TRANSCRIPT,
            ident="msg_1:req_msg_1",
            input_tokens=3,
            output_tokens=250,
            cache_read_tokens=900,
            cache_creation_tokens=70,
        )

    def test_the_request_row_tells_the_duration(self) -> None:
        request = {"type": "api-request", "id": "ref", "timestamp": at(1), "sessionId": SESSION}
        call = one(ApiCall, request, assistant(3.5, "msg_1", text(), requestRef="ref"))
        assert call.duration_ms == 2500
        assert call.ident == "msg_1:ref"

    def test_messages_of_a_gateway_that_counts_anew_are_kept_apart(self) -> None:
        other = {"sessionId": "other"}
        rows = [
            assistant(1, "msg_1", requestId=None),
            assistant(2, "msg_1", requestId=None) | other,
        ]
        assert len(all_of(ApiCall, *rows)) == 2

    def test_a_subagents_call_names_it(self) -> None:
        row_ = assistant(1, "msg_1", isSidechain=True, agentId="a1b2")
        assert one(ApiCall, row_).agent == "a1b2"
        assert one(ApiCall, assistant(1, "msg_1", isSidechain=True)).agent == "sidechain"

    def test_the_clients_own_words_are_no_call(self) -> None:
        assert all_of(ApiCall, assistant(1, "uuid", text(), model="<synthetic>")) == []

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            ({"status": 529, "message": SECRET, "formatted": SECRET}, "529"),
            ({"status": 429, "error": {"error": {"type": "rate_limit_error"}}}, "rate_limit_error"),
            ({"cause": {"code": "ECONNRESET", "path": SECRET}}, "ECONNRESET"),
            ({"status": None, "connection": {"code": "ENOTFOUND"}}, "ENOTFOUND"),
            ({"message": SECRET}, "api_error"),
            (SECRET, "api_error"),
            ([SECRET], "api_error"),
        ],
    )
    def test_a_failed_attempt_has_a_code_and_no_words(self, error: Any, code: str) -> None:
        call = one(ApiCall, row("system", 1, subtype="api_error", error=error, retryAttempt=1))
        assert (call.ok, call.error) == (False, code)

    def test_a_failure_that_was_shown_counts(self) -> None:
        shown = assistant(
            1, "uuid", text(), model="<synthetic>", isApiErrorMessage=True, error="rate_limit"
        )
        call = one(ApiCall, shown)
        assert (call.ok, call.error, call.output_tokens) == (False, "rate_limit", 0)


class TestToolCalls:
    def test_both_rows_bound_the_latency(self) -> None:
        call = one(
            ToolCall,
            assistant(1, "msg_1", tool_use("toolu_1")),
            tool_result(3.25, "toolu_1", promptId="p1"),
        )
        assert call == ToolCall(
            time_ns=at_ns(1),
            session=SESSION,
            tool="Bash",
            source=Source.TRANSCRIPT,
            ident="toolu_1",
            duration_ms=2250,
            input_bytes=len(json.dumps({"command": SECRET}, separators=(",", ":"))),
            result_bytes=len(json.dumps(SECRET)),
            prompt="p1",
        )

    @pytest.mark.parametrize(
        ("said", "duration_ms"),
        [
            ({"durationMs": 397, "filenames": [SECRET]}, 397),
            ({"totalDurationMs": 1900, "content": []}, 1900),
            ({"durationSeconds": 1.5, "query": SECRET}, 1500),
            ({"durationMs": "long"}, 2000),
            (SECRET, 2000),
            ([{"type": "text", "text": SECRET}], 2000),
        ],
    )
    def test_what_the_tool_says_of_itself_goes_first(self, said: Any, duration_ms: int) -> None:
        call = one(
            ToolCall,
            assistant(1, "msg_1", tool_use("toolu_1")),
            tool_result(3, "toolu_1", toolUseResult=said),
        )
        assert call.duration_ms == duration_ms

    def test_results_in_one_row_do_not_share_one_duration(self) -> None:
        result = tool_result(3, "toolu_1", toolUseResult={"durationMs": 7})
        result["message"]["content"] += tool_result(3, "toolu_2")["message"]["content"]
        calls = all_of(
            ToolCall,
            assistant(1, "msg_1", tool_use("toolu_1")),
            assistant(2, "msg_1", tool_use("toolu_2", "Read")),
            result,
        )
        assert [(call.tool, call.duration_ms) for call in calls] == [("Bash", 2000), ("Read", 1000)]

    @pytest.mark.parametrize(
        ("content", "members", "error"),
        [
            ("Exit code 127\n" + SECRET, {}, "exit:127"),
            (SECRET, {}, "error"),
            ([{"type": "text", "text": SECRET}], {}, "error"),
            (SECRET, {"toolDenialKind": "permission-rule"}, "denied:permission-rule"),
            (SECRET, {"toolDenialKind": SECRET}, "other"),
        ],
    )
    def test_a_failure_has_a_code(self, content: Any, members: Row, error: str) -> None:
        call = one(
            ToolCall,
            assistant(1, "msg_1", tool_use("toolu_1")),
            tool_result(2, "toolu_1", content, is_error=True, **members),
        )
        assert (call.ok, call.error) == (False, error)

    def test_an_answer_without_a_call_and_a_call_without_an_answer_are_none(self) -> None:
        rows = [tool_result(1, "toolu_0"), assistant(2, "msg_1", tool_use("toolu_1")), prompt(3)]
        assert all_of(ToolCall, *rows) == []

    def test_a_clock_that_went_back_gives_zero(self) -> None:
        rows = [assistant(9, "msg_1", tool_use("toolu_1")), tool_result(1, "toolu_1")]
        assert one(ToolCall, *rows).duration_ms == 0

    def test_nothing_is_remembered_past_the_window(self) -> None:
        transcript = Transcript("file")
        transcript.feed(encode(assistant(1, "msg_1", tool_use("toolu_1"))), 10)
        transcript.feed(encode(tool_result(2, "toolu_1")), 10 + WINDOW_BYTES)
        transcript.feed(encode(assistant(3, "msg_2", tool_use("toolu_2"))), 20 + WINDOW_BYTES)
        transcript.feed(encode(tool_result(4, "toolu_2")), 21 + 2 * WINDOW_BYTES)
        calls = [record.ident for record in transcript.take() if isinstance(record, ToolCall)]
        assert calls == ["toolu_1"]


class TestHookRuns:
    def test_a_success(self) -> None:
        told = hook_attachment(9, "hook_success", exitCode=0, durationMs=154)
        assert one(HistoryRun, told) == HistoryRun(
            time_ns=at_ns(9) - 154_000_000,
            session=SESSION,
            event="PreToolUse",
            name="PreToolUse:Bash",
            command="guard.sh --fast",
            key=key_of("guard.sh --fast"),
            ident=f"toolu_1:PreToolUse:{key_of('guard.sh --fast')}",
            duration_ms=154,
            outcome=Outcome.OK,
            exit=0,
            project=PROJECT,
        )

    @pytest.mark.parametrize(
        ("kind", "attachment", "outcome", "exit_", "timeout_ms"),
        [
            ("hook_non_blocking_error", {"exitCode": 127}, Outcome.ERROR, 127, 0),
            ("hook_blocking_error", {"blockingError": SECRET}, Outcome.BLOCKED, -1, 0),
            ("hook_cancelled", {"durationMs": 3}, Outcome.CANCELLED, -1, 0),
            ("hook_cancelled", {"timedOut": True, "timeoutMs": 1000}, Outcome.TIMEOUT, -1, 1000),
            ("hook_cancelled", {"timedOut": False, "timeoutMs": 1000}, Outcome.CANCELLED, -1, 1000),
            ("hook_error_during_execution", {"content": SECRET}, Outcome.ERROR, -1, 0),
        ],
    )
    def test_other_ends(
        self, kind: str, attachment: Row, outcome: Outcome, exit_: int, timeout_ms: int
    ) -> None:
        run = one(HistoryRun, hook_attachment(9, kind, **attachment))
        assert (run.outcome, run.exit, run.timeout_ms) == (outcome, exit_, timeout_ms)

    def test_a_block_names_its_command_inside(self) -> None:
        error = {"blockingError": SECRET, "command": "guard.sh"}
        told = hook_attachment(9, "hook_blocking_error", command=None, blockingError=error)
        run = one(HistoryRun, told)
        assert (run.command, run.key, run.duration_ms) == ("guard.sh", key_of("guard.sh"), -1)

    def test_without_a_command_the_name_is_the_key(self) -> None:
        run = one(HistoryRun, hook_attachment(9, "hook_cancelled", command=None))
        assert (run.command, run.key) == ("", key_of("PreToolUse:Bash"))

    @pytest.mark.parametrize(
        "kind", ["hook_system_message", "hook_additional_context", "task_reminder", "new_in_3.0"]
    )
    def test_other_attachments_are_no_runs(self, kind: str) -> None:
        assert all_of(HistoryRun, hook_attachment(9, kind)) == []

    def test_a_refused_call_names_the_hook_that_refused(self) -> None:
        refusal = f"PreToolUse:Bash hook error: [guard.sh --strict]: {SECRET}"
        run = one(
            HistoryRun,
            assistant(1, "msg_1", tool_use("toolu_1")),
            tool_result(2, "toolu_1", refusal, is_error=True, toolUseResult=f"Error: {refusal}"),
        )
        assert (run.outcome, run.command, run.event) == (
            Outcome.BLOCKED,
            "guard.sh --strict",
            "PreToolUse",
        )
        assert run.ident == f"toolu_1:PreToolUse:{key_of('guard.sh --strict')}"

    def test_a_tool_that_quotes_a_refusal_is_none(self) -> None:
        quote = f"PreToolUse:Read hook error: [guard.sh]: {SECRET}"
        use = assistant(1, "msg_1", tool_use("toolu_1"))
        assert all_of(HistoryRun, use, tool_result(2, "toolu_1", quote, is_error=True)) == []
        quote = quote.replace("Read", "Bash")
        assert all_of(HistoryRun, use, tool_result(2, "toolu_1", quote, is_error=False)) == []

    def test_a_begin_alone_tells_neither_duration_nor_outcome(self) -> None:
        run = one(HistoryRun, hook_progress(4, "PostToolUse"))
        assert (run.duration_ms, run.outcome, run.time_ns) == (-1, Outcome.UNKNOWN, at_ns(4))

    def test_other_progress_is_no_run(self) -> None:
        data = {"type": "bash_progress", "output": SECRET, "elapsedTimeSeconds": 2}
        assert all_of(HistoryRun, row("progress", 1, data=data)) == []


class TestTurnEnds:
    def test_a_summary_alone_tells_outcomes(self) -> None:
        infos = [{"command": "notify"}, {"command": "lint"}]
        runs = all_of(HistoryRun, stop_summary(5, *infos, errors=[f"[lint]: {SECRET}"]))
        assert [(run.command, run.event, run.duration_ms, run.outcome) for run in runs] == [
            ("notify", "Stop", -1, Outcome.OK),
            ("lint", "Stop", -1, Outcome.BLOCKED),
        ]

    def test_newer_summaries_tell_durations(self) -> None:
        run = one(HistoryRun, stop_summary(5, {"command": "notify", "durationMs": 3172}))
        assert (run.duration_ms, run.time_ns) == (3172, at_ns(5) - 3_172_000_000)

    def test_begin_and_summary_are_one_run_with_a_duration(self) -> None:
        run = one(
            HistoryRun,
            hook_progress(4, "Stop", "notify", "stop-1"),
            stop_summary(4.75, {"command": "notify"}),
        )
        assert (run.duration_ms, run.outcome, run.time_ns) == (750, Outcome.OK, at_ns(4))

    def test_the_begin_tells_the_event(self) -> None:
        run = one(
            HistoryRun,
            hook_progress(4, "SubagentStop", "notify", "stop-1"),
            stop_summary(5, {"command": "notify"}),
        )
        assert run.event == "SubagentStop"

    def test_a_subagents_turn_ends_with_its_own_event(self) -> None:
        assert one(HistoryRun, stop_summary(5, {"command": "n"}, isSidechain=True)).event == (
            "SubagentStop"
        )
        assert one(HistoryRun, stop_summary(5, {"command": "n"}, hookLabel="TaskDone")).event == (
            "TaskDone"
        )

    def test_an_attachment_says_more_than_the_summary(self) -> None:
        failed = "Failed with non-blocking status code: " + SECRET
        runs = all_of(
            HistoryRun,
            hook_attachment(
                4, "hook_non_blocking_error", "Stop", "lint", "stop-1", exitCode=3, durationMs=12
            ),
            hook_attachment(
                5, "hook_cancelled", "Stop", "slow", "stop-1", timedOut=True, timeoutMs=1000
            ),
            stop_summary(
                6,
                {"command": "quiet", "durationMs": 111},
                {"command": "lint", "durationMs": 12},
                {"command": "slow", "durationMs": 1021},
                {"command": "gate"},
                errors=[failed, f"[gate]: {SECRET}"],
            ),
        )
        assert {run.command: (run.outcome, run.exit) for run in runs} == {
            "lint": (Outcome.ERROR, 3),
            "slow": (Outcome.TIMEOUT, -1),
            "quiet": (Outcome.OK, -1),
            "gate": (Outcome.BLOCKED, -1),
        }

    def test_a_failure_without_a_name_is_one_hooks_or_unknown(self) -> None:
        alone = one(HistoryRun, stop_summary(5, {"command": "lint"}, errors=[SECRET]))
        assert alone.outcome is Outcome.ERROR
        infos = [{"command": "lint"}, {"command": "notify"}]
        runs = all_of(HistoryRun, stop_summary(5, *infos, errors=[SECRET]))
        assert {run.outcome for run in runs} == {Outcome.UNKNOWN}


class TestSessions:
    def test_compactions(self) -> None:
        assert one(Compaction, compact_boundary(7)) == Compaction(
            time_ns=at_ns(7),
            session=SESSION,
            source=Source.TRANSCRIPT,
            ident="system-7",
            trigger="auto",
            pre_tokens=155_377,
        )
        newer = one(Compaction, compact_boundary(7, postTokens=9000, durationMs=8100.4))
        assert (newer.post_tokens, newer.duration_ms) == (9000, 8100)

    def test_a_version_and_a_project_are_told_once_a_version(self) -> None:
        rows = [prompt(1), prompt(2), prompt(3) | {"version": "2.1.38"}, prompt(4)]
        told = all_of(ClientEvent, *rows)
        assert [(event.time_ns, event.attributes) for event in told] == [
            (at_ns(1), {"client_version": "2.1.37", "project": PROJECT}),
            (at_ns(3), {"client_version": "2.1.38", "project": PROJECT}),
        ]

    def test_a_row_that_names_no_session_is_the_files(self) -> None:
        assert one(ApiCall, assistant(1, "msg_1") | {"sessionId": None}).session == "file"

    def test_copies_in_a_fork_stay_their_origins(self) -> None:
        fork = {"sessionId": "fork", "forkedFrom": {"sessionId": SESSION, "messageUuid": "u1"}}
        original, copy = compact_boundary(7) | {"uuid": "u1"}, compact_boundary(7) | fork
        assert all_of(Compaction, original, copy) == all_of(Compaction, original)

    def test_the_first_folder_of_a_transcript(self) -> None:
        rows = [{"type": "mode", "mode": "default"}, prompt(1), prompt(2) | {"cwd": "/elsewhere"}]
        assert first_project(b"junk\n" + encode(*rows)) == PROJECT
        assert first_project(encode(*rows[:1])) == ""
        assert first_project(encode(*rows)[:-300].rpartition(b"\n")[0]) == ""

    @pytest.mark.parametrize(
        ("path", "session"),
        [
            ("p/abc.jsonl", "abc"),
            ("p/abc.jsonl.gz", "abc"),
            ("p/abc/subagents/agent-1.jsonl", "abc"),
            ("p/notes", "notes"),
        ],
    )
    def test_the_session_in_a_path(self, path: str, session: str) -> None:
        assert session_of(Path(path)) == session

    def test_where_transcripts_are(self) -> None:
        assert transcript_root({"HOME": "/h"}) == Path("/h/.claude/projects")
        assert transcript_root({"HOME": "/h", "CLAUDE_CONFIG_DIR": "/c"}) == Path("/c/projects")


class TestWhatIsSetAside:
    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            (b"", ""),
            (b"  \r", ""),
            (b"\x00\x00\x00", "not_json"),
            (b'{"type":"user"', "not_json"),
            (b'{"type":"us\xff\xfeer"}', "not_json"),
            (b"[" * 100_000, "not_object"),
            (b'{"type":"assistant","message":' + b"[" * 100_000, "not_json"),
            (b"[1,2]", "not_object"),
            (b"null", "not_object"),
            (b'"type"', "not_object"),
            (b"{}", ""),
            (b'{"type":5}', ""),
            (b'{"type":"tomorrow","timestamp":{"a":1}}', ""),
            (b'{"type":"user","timestamp":5,"message":{}}', "wrong_values"),
            (b'{"type":"user","message":{"content":[]}}', "undated"),
            (b'{"type":"user","timestamp":"yesterday","message":{}}', "undated"),
            (b'{"type":"user","timestamp":"1969-12-31T23:59:59Z","message":{}}', "undated"),
            (b'{"type":"user","timestamp":"9999-12-31T23:59:59Z","message":{}}', "undated"),
            (b'{"type":"assistant","timestamp":"2026-03-01T09:00:00Z"}', "wrong_values"),
            (
                b'{"type":"assistant","timestamp":"2026-03-01T09:00:00Z","message":[]}',
                "wrong_values",
            ),
            (
                b'{"type":"assistant","timestamp":"2026-03-01T09:00:00Z","message":'
                b'{"id":"m","usage":{"output_tokens":-1}}}',
                "wrong_values",
            ),
            (
                b'{"type":"assistant","timestamp":"2026-03-01T09:00:00Z","message":'
                b'{"id":"m","usage":{"output_tokens":99999999999999999999}}}',
                "wrong_values",
            ),
        ],
    )
    def test_each_has_its_reason(self, line: bytes, reason: str) -> None:
        assert Transcript("file").feed(line, 0) == reason

    def test_a_bad_line_does_not_harm_the_next(self) -> None:
        transcript = Transcript("file")
        assert transcript.feed(b"\xff", 0) == "not_json"
        assert transcript.feed(encode(assistant(1, "msg_1")), 2) == ""
        assert any(isinstance(record, ApiCall) for record in transcript.take())

    def test_dates_without_a_zone_are_utc(self) -> None:
        row_ = assistant(1, "msg_1") | {"timestamp": "2026-03-01T09:00:01"}
        assert one(ApiCall, row_).time_ns == at_ns(1)


class TestPrivacy:
    ROWS = (
        prompt(0),
        assistant(1, "msg_1", text(), tool_use("toolu_1"), slug=SECRET, gitBranch=SECRET),
        hook_attachment(2, "hook_success", durationMs=3),
        hook_attachment(2, "hook_blocking_error", blockingError={"blockingError": SECRET}),
        tool_result(3, "toolu_1", f"Exit code 1\n{SECRET}", is_error=True),
        row("system", 4, subtype="api_error", error={"error": {"type": SECRET}, "code": SECRET}),
        assistant(4, "msg_2", tool_use("toolu_2")),
        tool_result(5, "toolu_2", f"PreToolUse:Bash hook error: [gate]: {SECRET}", is_error=True),
        stop_summary(5, {"command": "notify"}, errors=[SECRET]),
        compact_boundary(6, trigger=SECRET) | {"content": SECRET},
        {"type": "queue-operation", "content": SECRET, "timestamp": at(7)},
        {"type": "last-prompt", "lastPrompt": SECRET},
        {"type": "summary", "summary": SECRET},
        prompt(8) | {"version": SECRET},
    )

    def test_no_word_of_content_is_in_any_record(self) -> None:
        records = read(self.ROWS)
        assert {type(record) for record in records} == {
            ApiCall,
            ToolCall,
            HistoryRun,
            Compaction,
            ClientEvent,
        }
        assert SECRET.encode() not in msgspec.json.encode(records)

    def test_texts_are_short_and_on_one_line(self) -> None:
        long = "x" * 5000 + "\n"
        use = {"type": "tool_use", "id": "toolu_1", "name": f"a\x1b[2J\u2028{long}", "input": {}}
        records = read(
            [
                assistant(1, "msg_1", use, model=long) | {"sessionId": long},
                tool_result(2, "toolu_1") | {"sessionId": long},
                hook_attachment(3, "hook_success", command="é" * 2000 + long),
            ]
        )
        for record in records:
            for value in msgspec.to_builtins(record).values():
                if isinstance(value, str):
                    assert len(value.encode()) <= 1024
                    assert not set(value) & set("\n\x1b\u2028")

    def test_the_key_is_that_of_the_whole_command(self) -> None:
        command = "check " + "é" * 2000
        run = one(HistoryRun, hook_attachment(3, "hook_success", command=command))
        assert run.key == key_of(command)
        assert len(run.command.encode()) == 1024
