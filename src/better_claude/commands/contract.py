"""`better-claude contract`: show the contract in force, or check a file before it is."""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from better_claude.contract import Contract, HookTerms, load_contract
from better_claude.errors import ContractError, UsageError
from better_claude.paths import Paths
from better_claude.show.cells import plural
from better_claude.show.text import clean


def prepare_parser(parser: argparse.ArgumentParser) -> None:
    """Add `show` and `check`."""
    parser.description = "The contract: every threshold, and the file that set it."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = """examples:
  better-claude contract show
  better-claude contract show --project . --json
  better-claude contract check contract.toml"""
    verbs = parser.add_subparsers(dest="action", metavar="show|check", required=True)
    show = verbs.add_parser("show", help="print each value with its origin")
    show.add_argument("--project", type=Path, metavar="DIR", help="with the contract of a project")
    show.add_argument("--json", action="store_true", help="print JSON Lines, one value a line")
    check = verbs.add_parser("check", help="tell what is wrong with a contract file")
    check.add_argument("file", type=Path, metavar="FILE")


def run(args: argparse.Namespace) -> int:
    """Show or check."""
    if args.action == "check":
        return _check(args.file)
    project = args.project.absolute() if args.project is not None else None
    if project is not None and not project.is_dir():
        raise UsageError("no-such-folder", f"{project} is no folder", "Name a project folder.")
    contract = load_contract(Paths.from_environment().contract, project)
    rows = [*_values(contract), *_terms(contract)]
    if args.json:
        for name, text, origin in rows:
            print(json.dumps({"kind": "setting", "name": name, "value": text, "origin": origin}))
        return 0
    name_width = max(len(name) for name, _, _ in rows)
    text_width = max(len(text) for _, text, _ in rows)
    for name, text, origin in rows:
        # Names and patterns may be a repository's.
        print(clean(f"{name:<{name_width}}  {text:<{text_width}}  {origin}"))
    return 0


def _check(file: Path) -> int:
    if not file.is_file():
        raise ContractError(
            "contract-unreadable", f"{file} is not a file", "Name a contract file in TOML."
        )
    contract = load_contract(user=file)
    own = [name for name, value in contract.values.items() if value.origin == str(file)]
    counts = f"{plural(len(own), 'setting')} and {plural(len(contract.hooks), 'hook')}"
    print(f"{file}: {counts}, all understood")
    return 0


def _values(contract: Contract) -> Iterator[tuple[str, str, str]]:
    for name, value in contract.values.items():
        yield name, value.text, value.origin


def _terms(contract: Contract) -> Iterator[tuple[str, str, str]]:
    for terms in contract.hooks:
        for setting, text in _said(terms):
            yield f'hook."{terms.pattern}".{setting}', text, terms.origin


def _size(size_bytes: int) -> str:
    """Write a size as a contract may say it, in the largest unit without a fraction."""
    for unit in ("B", "KB", "MB"):
        if size_bytes % 1024:
            return f"{size_bytes}{unit}"
        size_bytes //= 1024
    return f"{size_bytes}GB"


def _said(terms: HookTerms) -> Iterator[tuple[str, str]]:
    if terms.timeout_ms is not None:
        yield "timeout", f"{terms.timeout_ms}ms"
    if terms.memory_bytes is not None:
        yield "memory", _size(terms.memory_bytes)
    if terms.enforcement is not None:
        yield "mode", terms.enforcement
