"""The launcher in front of exec-form hooks, and away again."""

from pathlib import Path

import pytest

from better_claude.claude.settings.exec_form import unwrap, wrap, wrapped_places
from better_claude.claude.settings.jsontext import parse_object

LAUNCHER = Path("/state/bin/launcher")
PLACE = ("hooks", "Stop", 0, "hooks", 0)


def document(handler: str) -> str:
    return f'{{ "hooks": {{"Stop": [ {{"hooks":[\n\t{handler} ]}} ]}} }}\n'


@pytest.mark.parametrize(
    "handler",
    [
        '{"type": "command", "command": "node", "args": ["a.js", "b"]}',
        '{"args":["${CLAUDE_PLUGIN_ROOT}/x"],"command":"n\\u00f6de","type":"command"}',
        '{"type": "command", "command": "/x y", "args": []}',
        '{"type": "command", "command": "x", "args": [\n    "a",\n    "b"\n  ]}',
    ],
)
def test_there_and_back(handler: str) -> None:
    text = document(handler)
    wrapped = wrap(text, [PLACE], LAUNCHER)
    before = parse_object(text)["hooks"]["Stop"][0]["hooks"][0]
    after = parse_object(wrapped)["hooks"]["Stop"][0]["hooks"][0]
    assert after["command"] == str(LAUNCHER)
    assert after["args"] == [before["command"], *before["args"]]
    assert list(wrapped_places(parse_object(wrapped), LAUNCHER)) == [PLACE]
    assert unwrap(wrapped, LAUNCHER) == text


def test_hooks_without_a_launcher_are_left_alone() -> None:
    text = document('{"type": "command", "command": "node", "args": ["a.js"]}')
    assert unwrap(text, LAUNCHER) == text
    assert wrap(text, [("hooks", "Stop", 5, "hooks", 0)], LAUNCHER) == text
    assert unwrap('{"hooks": {"Stop": [5, {"hooks": {}}], "x": 1}}', LAUNCHER).startswith("{")
