"""The unit starts the service where hooks can have cgroups, and never takes them with it."""

import configparser
from pathlib import Path

from better_claude.paths import Paths
from better_claude.service.cgroups import LEAF
from better_claude.service.unit import unit_text


def test_unit_gives_the_service_a_leaf_beside_its_hooks(tmp_path: Path) -> None:
    paths = Paths.from_environment({"BETTER_CLAUDE_STATE": str(tmp_path), "HOME": str(tmp_path)})
    unit = configparser.RawConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(unit_text(paths))
    service = unit["Service"]
    assert service["Delegate"] == "memory"
    assert service["DelegateSubgroup"] == LEAF
    # Any other one ends what runs in the subtree.
    assert service["KillMode"] == "process"
