"""Keep the launcher's policy in step with the contracts and hooks of the user and the projects."""

import asyncio
import stat
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from better_claude.act.policy import MAXIMUM_PROJECTS, Cgroups, publish_policy
from better_claude.act.projects import known_hooks, noted_projects
from better_claude.claude.places import Places, Scope
from better_claude.contract import Contract, load_contract
from better_claude.contract.load import PROJECT_FILE, built_in_contract
from better_claude.errors import ContractError
from better_claude.paths import Paths

# Inode, size and time of the last change, of its mode too; None where there is no file.
_Mark = tuple[int, int, int] | None
_MAXIMUM_KNOWN = 256


class ContractWatch:
    """Read the contracts again whenever one of their files changes, and publish what they say.

    A file that cannot be understood changes nothing: what it said before stays in force, and the
    policy file stays as it is where it never said anything. Looks happen in a thread of their own,
    because a project may lie on a file system that does not answer.
    """

    def __init__(self, paths: Paths, cgroups: Cgroups | None = None) -> None:
        self._paths = paths
        self._cgroups = cgroups
        self._published: _Mark = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="contracts")
        self._known: dict[str, None] = {}
        self._noted: _Mark = None
        self._marks: tuple[dict[str, _Mark], dict[str, tuple[_Mark, ...]]] | None = None
        self._error: ContractError | None = None
        self._user: Contract | None = None
        self._projects: dict[str, Contract] = {}

    @property
    def contract(self) -> Contract:
        """The user's contract in force; the built-in one as long as the user's cannot be read."""
        return self._user or built_in_contract()

    def notice(self, projects: Iterable[str]) -> bool:
        """Take note of project folders, the latest last; tell whether one is new.

        Those that nobody spoke of for longest are forgotten where there are too many.
        """
        news = False
        for project in projects:
            if project.startswith("/"):
                news = news or project not in self._known
                self._known.pop(project, None)
                self._known[project] = None
        while len(self._known) > _MAXIMUM_KNOWN:
            del self._known[next(iter(self._known))]
        return news

    async def look(self) -> None:
        """Publish the policy if a contract file or a settings file changed.

        Raises ContractError for the first file that cannot be understood, after everything else
        was published, and OSError if the policy cannot be written.
        """
        noted = _mark(self._paths.projects)
        if noted != self._noted:
            self._noted = noted
            self.notice(noted_projects(self._paths))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._look, list(self._known))

    def close(self) -> None:
        """End the thread without waiting for a file system."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, known: list[str]) -> None:
        found = {project: _mark(Path(project) / PROJECT_FILE) for project in known}
        with_contract = [project for project, mark in found.items() if mark is not None]
        marks = {project: found[project] for project in with_contract[-MAXIMUM_PROJECTS:]}
        marks[""] = _mark(self._paths.contract)
        # The user's own hooks are known before any project: the state folder has none of its own.
        folders = [str(self._paths.state), *known]
        settings = {folder: _settings_marks(folder) for folder in folders}
        if (marks, settings) == self._marks and self._is_ours():
            self._complain()
            return
        self._marks = None
        errors = [*self._load_user(), *self._load_projects(marks)]
        if self._user is not None:
            hooks = known_hooks(folders)
            publish_policy(self._paths, self._user, self._projects, hooks, self._cgroups)
            self._published = _mark(self._paths.policy)
        # A file that cannot be understood is not read again before it changes.
        self._marks = (marks, settings)
        self._error = errors[0] if errors else None
        self._complain()

    def _is_ours(self) -> bool:
        """Tell whether the policy is as we published it: `install` writes one that knows less."""
        return self._user is None or _mark(self._paths.policy) == self._published

    def _complain(self) -> None:
        if self._error is not None:
            # Without this each time adds to what the error remembers of where it was raised.
            raise self._error.with_traceback(None)

    def _load_user(self) -> list[ContractError]:
        try:
            self._user = load_contract(self._paths.contract)
        except ContractError as error:
            return [error]
        return []

    def _load_projects(self, marks: dict[str, _Mark]) -> list[ContractError]:
        errors = []
        folders = [folder for folder in marks if folder]
        for folder in folders:
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
    return status.st_ino, status.st_size, status.st_ctime_ns
