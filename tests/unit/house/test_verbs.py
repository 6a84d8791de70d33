"""Every verb explains itself, and those on a hot path import nothing that they do not need."""

import json
import subprocess
import sys

import pytest
from tests.sandbox import Sandbox

from better_claude.commands import VERBS, main

# What a verb that only reads the store and prints JSON has no use for.
HEAVY = {"aiohttp", "asyncio", "opentelemetry", "rich", "tomlkit", "ssl", "http", "logging"}
PROBE = """
import json, sys

sys.argv[0] = "better-claude"
from better_claude.commands import main

status = main(sys.argv[1:])
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
raise SystemExit(status)
"""


@pytest.mark.parametrize("verb", [name for name, _, _ in VERBS])
def test_help_shows_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main([verb, "--help"])
    assert exit_.value.code == 0
    shown = capsys.readouterr().out
    assert "example" in shown
    assert f"better-claude {verb}" in shown.partition("example")[2]


def test_the_command_itself_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown and summary[:20] in shown for name, _, summary in VERBS)


@pytest.mark.parametrize("verb", ["status", "hooks", "runs", "sessions"])
def test_a_hot_verb_imports_nothing_heavy(verb: str, sandbox: Sandbox) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROBE, verb, "--json"],
        env=sandbox.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    modules = {name.partition(".")[0] for name in json.loads(done.stderr.splitlines()[-1])}
    assert "better_claude" in modules
    assert modules & HEAVY == set()


def test_an_unknown_verb_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["frobnicate"])
    assert exit_.value.code == 2
    assert "--help" in capsys.readouterr().err
