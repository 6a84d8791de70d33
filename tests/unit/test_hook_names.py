import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from better_claude.hook_names import NAME_LENGTH, hook_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python3 ~/.claude/hooks/guard.py --strict", "guard.py"),
        ('"$CLAUDE_PROJECT_DIR"/.claude/hooks/x.sh', "x.sh"),
        ("$CLAUDE_PROJECT_DIR/.claude/hooks/x.sh a b", "x.sh"),
        ("${CLAUDE_PLUGIN_ROOT}/h.sh", "h.sh"),
        ("'/home/me/my hooks/a b.sh' --now", "a b.sh"),
        ("npx -y foo", "foo"),
        ("npx --package=bar foo --x", "foo"),
        ("npx -p bar foo", "foo"),
        ("bash -c 'FOO=1 check --all | tee x'", "check"),
        ('bash -c "cd /x && ./run.sh"', "run.sh"),
        ("sh ./x.sh", "x.sh"),
        ("bash -euo pipefail x.sh", "x.sh"),
        ("uv run x.py", "x.py"),
        ("uv run --with requests --script hooks/x.py", "x.py"),
        ("uv run python hooks/x.py", "x.py"),
        ("uvx ruff check", "ruff"),
        ("A=1 B='2 3' prettier --check .", "prettier"),
        ("env -u X A=1 guard", "guard"),
        ("timeout -k 1 5 guard.sh", "guard.sh"),
        ("timeout 5s python3 -u guard.py", "guard.py"),
        ("python3 -m mypkg.hook --x", "mypkg.hook"),
        ("python3.11 -I -S /x/y.py", "y.py"),
        ("python3 -c 'import sys'", "python3"),
        ("node -r dotenv/config ./dist/hook.js", "hook.js"),
        ("node -e 'x'", "node"),
        ("jq -r .tool_input.command", "jq"),
        ("cd $CLAUDE_PROJECT_DIR && npm run lint", "lint"),
        ("cd /x; pnpm exec eslint .", "eslint"),
        ("bun run hooks/a.ts", "a.ts"),
        ("cat > /tmp/x; echo done", "cat"),
        (">/dev/null guard", "guard"),
        ("if [ -f x ]; then ./a.sh; fi", "a.sh"),
        ("[ -f x ] && ./a.sh", "a.sh"),
        ("true\n./a.sh", "a.sh"),
        ("(./a.sh)", "a.sh"),
        ("exec ./a.sh", "a.sh"),
        ("nice -n 5 ./a.sh", "a.sh"),
        ("python3", "python3"),
        ("python3 - <<EOF", "python3"),
        ("$HOOK", "$HOOK"),
        ("echo 'open", "echo"),
        ("Bash", "Bash"),
        ("/", "/"),
        ("", "unnamed"),
        ("   ", "unnamed"),
    ],
)
def test_name_is_what_a_person_would_call_it(command: str, name: str) -> None:
    assert hook_name(command) == name


@given(st.text())
def test_any_text_gets_a_bounded_printable_name(command: str) -> None:
    name = hook_name(command)
    assert 0 < len(name) <= NAME_LENGTH
    assert not any(ord(character) < 0x20 for character in name)


def test_a_word_of_a_megabyte_is_named_at_once() -> None:
    """A repository's settings may hold one; shlex alone would take a minute."""
    started = time.process_time()
    assert hook_name("check " + "a" * (1 << 20)) == "check"
    assert len(hook_name("a" * (1 << 20))) == 64
    assert time.process_time() - started < 1
