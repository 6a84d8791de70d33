"""The package's own source, read and not imported."""

import ast
from collections.abc import Iterator
from functools import cache
from importlib import util
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
PACKAGE = "better_claude"


@cache
def modules() -> dict[str, ast.Module]:
    """Return every module of the package by its dotted name."""
    spec = util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(spec.submodule_search_locations[0])
    found = {}
    for path in root.rglob("*.py"):
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = ast.parse(path.read_text("utf-8"), str(path))
    return found


def imports(name: str) -> Iterator[tuple[str, str]]:
    """Yield (module, imported name or empty) for each absolute import, those in functions too."""
    for node in ast.walk(modules()[name]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            yield from ((node.module or "", alias.name) for alias in node.names)


def internal_imports(name: str) -> Iterator[str]:
    """Yield the modules of ours that ``name`` imports."""
    for module, member in imports(name):
        if module.partition(".")[0] != PACKAGE:
            continue
        submodule = f"{module}.{member}"
        yield submodule if submodule in modules() else module
