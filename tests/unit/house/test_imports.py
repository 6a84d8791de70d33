"""Imports point one way along the data's way, and only the store knows the database."""

from graphlib import CycleError, TopologicalSorter

import pytest
from tests.unit.house.sources import PACKAGE, imports, internal_imports, modules

# docs/design: each stage may import itself and what stands left of it. Modules that stand
# directly in the package (model, units, paths, …) are the ground that all stand on.
STAGES = (
    "contract",
    "claude",
    "collect",
    "store",
    "evaluate",
    "act",
    "show",
    "service",
    "commands",
    "__main__",
)


def stage(module: str) -> int:
    """Return a module's place on the way; -1 is the ground."""
    second = [*module.split("."), ""][1]
    return STAGES.index(second) if second in STAGES else -1


def folders() -> set[str]:
    """Return the packages that stand directly in ours."""
    return {name.split(".")[1] for name in modules() if name.count(".") >= 2}


def test_every_folder_is_a_known_stage() -> None:
    assert folders() - {"_launcher"} <= set(STAGES)


@pytest.mark.parametrize("module", sorted(modules()))
def test_no_arrow_points_the_other_way(module: str) -> None:
    against = [other for other in internal_imports(module) if stage(other) > stage(module)]
    assert against == []


@pytest.mark.parametrize("module", sorted(modules()))
def test_nobody_imports_the_package_root(module: str) -> None:
    members = [member for name, member in imports(module) if name == PACKAGE]
    assert set(members) <= {"__version__"}


def test_there_is_no_cycle() -> None:
    graph = {name: set(internal_imports(name)) - {name} for name in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_only_the_store_imports_a_database() -> None:
    importers = {
        module
        for module in modules()
        for name, _ in imports(module)
        if name.partition(".")[0] in {"sqlite3", "_sqlite3", "apsw"}
    }
    assert all(stage(module) == STAGES.index("store") for module in importers)
