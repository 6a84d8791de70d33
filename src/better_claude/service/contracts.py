"""Keep the launcher's policy in step with the contracts and hooks of the user and the projects."""

import asyncio
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from better_claude.act.policy import MAXIMUM_PROJECTS, publish_policy
from better_claude.act.projects import known_hooks, noted_projects
from better_claude.claude.places import Places, Scope
from better_claude.contract import Contract, load_contract
from better_claude.contract.load import PROJECT_FILE, built_in_contract
from better_claude.errors import ContractError
from better_claude.paths import Paths

# Inode, size and time of change of a file; None where there is none.
_Mark = tuple[int, int, int] | None
_MAXIMUM_KNOWN = 256


class ContractWatch:
    """Read the contracts again whenever one of their files changes, and publish what they say.

    A file that cannot be understood changes nothing: what it said before stays in force, and the
    policy file stays as it is where it never said anything. Looks happen in a thread of their own,
    because a project may lie on a file system that does not answer.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="contracts")
        self._known: dict[str, None] = {}
        self._noted: _Mark = None
        self._marks: tuple[dict[str, _Mark], dict[str, tuple[_Mark, ...]]] | None = None
        self._user: Contract | None = None
        self._projects: dict[str, Contract] = {}

    @property
    def contract(self) -> Contract:
        """The user's contract in force; the built-in one as long as the user's cannot be read."""
        return self._user or built_in_contract()

    def notice(self, projects: Iterable[str]) -> bool:
        """Take note of project folders; tell whether one is new."""
        before = len(self._known)
        for project in projects:
            if project.startswith("/") and len(self._known) < _MAXIMUM_KNOWN:
                self._known.setdefault(project)
        return len(self._known) > before

    async def look(self) -> None:
        """Publish the policy if a contract file or a settings file changed.

        Raises ContractError for the first file that cannot be understood, after everything else
        was published, and OSError if the policy cannot be written.
        """
        noted = _mark(self._paths.projects)
        if noted != self._noted:
            self._noted = noted
            self.notice(reversed(noted_projects(self._paths)))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._look, list(self._known))

    def close(self) -> None:
        """End the thread without waiting for a file system."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, known: list[str]) -> None:
        marks = {project: _mark(Path(project) / PROJECT_FILE) for project in known}
        marks[""] = _mark(self._paths.contract)
        # The user's own hooks are known before any project: the state folder has none of its own.
        folders = [str(self._paths.state), *known]
        settings = {folder: _settings_marks(folder) for folder in folders}
        if (marks, settings) == self._marks and self._paths.policy.exists():
            return
        self._marks = None
        errors = [*self._load_user(), *self._load_projects(marks)]
        if self._user is not None:
            hooks = known_hooks(folders)
            publish_policy(self._paths, self._user, self._projects, hooks)
        if errors:
            raise errors[0]
        self._marks = (marks, settings)

    def _load_user(self) -> list[ContractError]:
        try:
            self._user = load_contract(self._paths.contract)
        except ContractError as error:
            return [error]
        return []

    def _load_projects(self, marks: dict[str, _Mark]) -> list[ContractError]:
        errors = []
        folders = [folder for folder, mark in marks.items() if folder and mark is not None]
        for folder in folders[:MAXIMUM_PROJECTS]:
            try:
                self._projects[folder] = load_contract(self._paths.contract, Path(folder))
            except ContractError as error:
                errors.append(error)
        for folder in set(self._projects) - set(folders):
            del self._projects[folder]
        return errors


def _places(project: str) -> Places:
    return Places.from_environment(Path(project))


def _settings_marks(project: str) -> tuple[_Mark, ...]:
    places = _places(project)
    return tuple(_mark(places.settings(scope)) for scope in Scope)


def _mark(path: Path) -> _Mark:
    try:
        status = path.stat()
    except OSError:
        return None
    # Opening a pipe would wait for a writer; whatever is not a file counts as absent.
    if not stat.S_ISREG(status.st_mode):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
