"""The policy's test vectors, and the contracts they are made of."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from better_claude.contract import Contract, load_contract
from better_claude.contract.load import PROJECT_FILE
from better_claude.model import fnv1a64

VECTORS = Path(__file__).parent / "vectors/policy"
PROJECT = "/project"
NAMES = sorted(path.name for path in VECTORS.iterdir() if path.is_dir())


@dataclass(frozen=True, slots=True)
class Case:
    """A hook, and what holds for it."""

    event: str
    command: str
    timeout_ms: int
    memory_bytes: int
    mode: str
    project: str = ""

    @property
    def key(self) -> str:
        """The hook's key."""
        return f"{fnv1a64(self.command.encode()):016x}"


@dataclass(frozen=True, slots=True)
class Vector:
    """Contracts, the policy that is made of them, and what it means."""

    user: Contract
    project: Contract | None
    policy: bytes
    cases: tuple[Case, ...]

    def contract_of(self, case: Case) -> Contract:
        """Return the merged contract that is in force for a case."""
        return self.project if self.project and case.project == PROJECT else self.user


def vector(name: str, scratch: Path) -> Vector:
    """Read one vector; ``scratch`` becomes the project's folder."""
    folder = VECTORS / name
    user = load_contract(folder / "user.toml")
    project = None
    if (folder / "project.toml").exists():
        (scratch / PROJECT_FILE).parent.mkdir(exist_ok=True)
        (scratch / PROJECT_FILE).write_bytes((folder / "project.toml").read_bytes())
        project = load_contract(folder / "user.toml", scratch)
    cases: list[dict[str, Any]] = json.loads((folder / "cases.json").read_text())
    policy = (folder / "policy").read_bytes()
    return Vector(user, project, policy, tuple(Case(**case) for case in cases))
