"""Whatever a settings file looks like: install and uninstall give the same bytes back."""

import json
from pathlib import Path
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from better_claude.claude.settings.installation import (
    StoredInstallation,
    merge,
    take_out,
    without_ours,
)
from better_claude.claude.settings.jsontext import drop, parse_object, put, put_text, value_text
from better_claude.claude.settings.overlay import ContextTerms, Terms, overlay
from better_claude.claude.settings.telemetry import Receiver

TERMS = Terms(
    Path("/home/me/.local/state/better-claude/bin/launcher"),
    ContextTerms(150_000, 100_000),
    Receiver(20_001, "t0ken-" + "x" * 30),
)
BLANKS = st.text(" \t\n\r", max_size=3)
KEYS = st.one_of(
    st.sampled_from(["env", "hooks", "model", "autoCompactWindow", "statusLine", "ä ö", "日本"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
NAMES = st.one_of(
    st.sampled_from(
        [
            "EDITOR",
            "CLAUDE_CODE_SHELL_PREFIX",
            "BETTER_CLAUDE_PREFIX",
            "OTEL_METRICS_EXPORTER",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "CLAUDE_CODE_ENABLE_TELEMETRY",
            "CLAUDE_AUTOCOMPACT_PCT_OVERRIDE",
        ]
    ),
    st.text("ABC_", min_size=1, max_size=4),
)
ENVIRONMENTS = st.dictionaries(
    NAMES, st.sampled_from(["", "1", "otlp", "vi", "http://127.0.0.1:4318", "/usr/bin/nice", "55"])
)
SETTINGS = st.builds(
    lambda members, env: members | env,
    st.dictionaries(KEYS.filter(lambda key: key != "env"), VALUES, max_size=4),
    st.just({}) | st.builds(lambda env: {"env": env}, ENVIRONMENTS),
)


@st.composite
def written(draw: st.DrawFn, value: Any) -> str:
    """Write a JSON value in a way that nobody would choose, and that is JSON all the same."""

    def gap() -> str:
        return draw(BLANKS)

    def one(item: Any) -> str:
        if isinstance(item, dict):
            members = (
                f"{gap()}{text(key)}{gap()}:{gap()}{one(member)}{gap()}"
                for key, member in item.items()
            )
            return "{" + (",".join(members) or gap()) + "}"
        if isinstance(item, list):
            return "[" + (",".join(f"{gap()}{one(part)}{gap()}" for part in item) or gap()) + "]"
        return text(item) if isinstance(item, str) else json.dumps(item)

    def text(item: str) -> str:
        return json.dumps(item, ensure_ascii=draw(st.booleans()))

    return gap() + one(value) + gap()


@st.composite
def styled(draw: st.DrawFn) -> str:
    """Draw a settings text: as people and programs write them, or wilder."""
    settings = draw(SETTINGS)
    indent = draw(st.sampled_from([None, 0, 1, 2, 4, "\t", "wild"]))
    if indent == "wild":
        return draw(written(settings))
    text = json.dumps(settings, indent=indent, ensure_ascii=draw(st.booleans()))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return draw(st.sampled_from(["", "\ufeff"])) + text + draw(st.sampled_from(["", "\n", "\n\n"]))


def installed(text: str) -> tuple[str, Any]:
    return merge(text, overlay(parse_object(text), TERMS, {}).members)


def stored(before: str, after: str) -> StoredInstallation:
    from better_claude.claude.places import Scope
    from better_claude.claude.settings.installation import Installation

    record = Installation("/x/settings.json", Scope.USER, "0", 0, ())
    return StoredInstallation(record, before.encode(), after.encode())


@given(styled())
def test_uninstall_gives_the_same_text_back(text: str) -> None:
    after, _ = installed(text)
    assert without_ours(after, after.encode(), stored(text, after)) == text


@given(styled())
def test_taken_out_by_key_nothing_of_ours_is_left(text: str) -> None:
    after, changes = installed(text)
    restored, edited = take_out(after, changes)
    assert parse_object(restored) == parse_object(text)
    assert edited == ()


@given(styled())
def test_install_is_idempotent(text: str) -> None:
    after, _ = installed(text)
    base = without_ours(after, after.encode(), stored(text, after))
    assert installed(base)[0] == after


@given(styled())
def test_install_over_itself_changes_nothing(text: str) -> None:
    """Also where nothing is recorded: our own values are no wish of the user's."""
    after, _ = installed(text)
    again, changes = installed(after)
    assert (again, changes) == (after, ())


@given(styled())
def test_all_that_the_user_had_is_still_there(text: str) -> None:
    before = parse_object(text)
    after = parse_object(installed(text)[0])
    ours = set(overlay(before, TERMS, {}).members)
    for key, value in before.items():
        if key == "env":
            for name, variable in value.items():
                moved = name == "CLAUDE_CODE_SHELL_PREFIX" and variable.strip()
                place = "BETTER_CLAUDE_PREFIX" if moved else name
                assert after["env"][place] == variable or ("env", place) in ours
        else:
            assert after[key] == value or (key,) in ours
    assert after["env"]["CLAUDE_CODE_SHELL_PREFIX"] == str(TERMS.launcher)


@given(styled(), KEYS, VALUES)
def test_a_later_edit_survives_uninstall(text: str, key: str, value: Any) -> None:
    after, changes = installed(text)
    edited = put(after, (key,), value)
    assume(key != "env" and (key,) not in {change.path for change in changes})
    restored, _ = take_out(edited, changes)
    assert parse_object(restored) == {**parse_object(text), key: value}


@given(styled(), st.data())
def test_an_edit_of_what_we_wrote_belongs_to_its_author(text: str, data: st.DataObject) -> None:
    after, changes = installed(text)
    ours = [change for change in changes if change.path != ("env",)]
    change = data.draw(st.sampled_from(ours))
    edited = put(after, change.path, "somebody's own")
    restored, kept = take_out(edited, changes)
    assert kept == (change,)
    assert json.loads(value_text(restored, change.path) or "") == "somebody's own"


@given(styled(), KEYS, VALUES)
def test_put_sets_one_member_and_drop_takes_it_out(text: str, key: str, value: Any) -> None:
    before = parse_object(text)
    after = put(text, (key,), value)
    assert parse_object(after) == {**before, key: value}
    without = {name: member for name, member in before.items() if name != key}
    assert parse_object(drop(after, (key,))) == without
    if key not in before and before:
        assert drop(after, (key,)) == text


@given(styled(), KEYS, KEYS, VALUES)
def test_put_text_writes_exactly_so(text: str, key: str, name: str, value: Any) -> None:
    assume(isinstance(parse_object(text).get(key, {}), dict))
    spelled = json.dumps(value, indent=3)
    after = put_text(text, (key, name), spelled)
    assert value_text(after, (key, name)) == spelled
    assert parse_object(after)[key][name] == value
