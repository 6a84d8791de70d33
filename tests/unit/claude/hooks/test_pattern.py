"""JavaScript's regular expressions, as node 20 judges them."""

import pytest

from better_claude.claude.hooks.pattern import PatternError, check_pattern


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a|b",
        "|",
        "^Bash$",
        "mcp__.*__write",
        "(?<name>a)\\k<name>",
        "(?=a)*",
        "(?:a)+?",
        "(?i:bash)",
        "a{2,3}?",
        "a{",
        "a{,2}",
        "a{x}",
        "}",
        "]",
        "[]a]",
        "[^]",
        "[a-]",
        "[\\w-z]",
        "[\\]]",
        "\\d+\\.\\u0041",
        "\\k",
        "(?<!a)b",
        "$^",
        "[*+?]",
    ],
)
def test_a_pattern(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a",
        "a)",
        "[a",
        "*",
        "+a",
        "a**",
        "a{1}{2}",
        "{1}",
        "a{3,2}",
        "(?<=a)*",
        "^*",
        "\\",
        "[\\",
        "[b-a]",
        "(?P<name>a)",
        "(?i)a",
        "(?>a)",
        "(?<1>a)",
        "(?<n>a)(?<n>b)",
        "(?<n>a)\\k<m>",
        "(?<n>a)\\k",
        "a*+",
        "(" * 1000,
    ],
)
def test_no_pattern(pattern: str) -> None:
    with pytest.raises(PatternError):
        check_pattern(pattern)
