"""What must be there before a client is pointed at us: launcher, policy, receiver, service."""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from better_claude.act.policy import publish_policy, replace_file
from better_claude.act.projects import known_hooks, note_project
from better_claude.claude.settings.overlay import ContextTerms, Terms
from better_claude.claude.settings.telemetry import Receiver
from better_claude.contract import Contract, load_contract
from better_claude.errors import BetterClaudeError, ContractError, SettingsError
from better_claude.launcher import install_launcher, write_starter
from better_claude.paths import Paths
from better_claude.service.endpoint import ensure_endpoint
from better_claude.service.state import service_state

_START_TIMEOUT_S = 5.0


def check_launcher_path(paths: Paths) -> None:
    """Refuse a state folder whose launcher the client could not call.

    Seen (2.1.330): the client cuts a prefix at its last " -" and quotes only what stands before, so
    that ``bash -c`` works as a prefix and a folder of such a name does not. It writes a single
    quote as '"'"', in which the launcher does not find its own name.
    """
    path = str(paths.launcher)
    # Unprintable: a line break, or bytes that are not UTF-8, which no settings file can hold.
    if " -" in path or "'" in path or not path.isprintable():
        raise SettingsError(
            "launcher-path",
            "the client cannot call a prefix with ' -', a single quote or unprintable text in its"
            f" path: {path!r}",
            "Name another state folder in BETTER_CLAUDE_STATE.",
        )


def lay_ground(paths: Paths, contract: Contract) -> None:
    """Put launcher and policy in their places.

    A running service publishes the policy itself, with the projects that it knows of. Raises
    BetterClaudeError where the launcher is missing or the state folder cannot be written.
    """
    check_launcher_path(paths)
    try:
        install_launcher(paths)
        note_project(paths, Path.cwd())
        if not paths.policy.exists() or not service_state(paths).running:
            _publish(paths, contract)
    except OSError as error:
        raise BetterClaudeError(
            "state-folder",
            f"the state folder {paths.state} cannot be used: {error.strerror or error}",
            "Give it to yourself, make room, or name another one in BETTER_CLAUDE_STATE.",
        ) from error


def _publish(paths: Paths, contract: Contract) -> None:
    """Write the policy for this folder; the service, once it runs, adds all others."""
    project = Path.cwd()
    projects = {}
    with suppress(ContractError):
        projects[str(project)] = load_contract(paths.contract, project)
    publish_policy(paths, contract, projects, known_hooks([str(project)]))


def receiver_of(paths: Paths) -> Receiver:
    """Return where telemetry goes: the port and token of this state folder."""
    endpoint = ensure_endpoint(paths)
    return Receiver(endpoint.port, endpoint.token)


def start_detached(paths: Paths) -> str:
    """Start the service unless it answers, as nobody's child; return what went wrong, or nothing.

    A process of its own does it, because a service started by this one would become the client's
    child when this one becomes the client.
    """
    if service_state(paths).answering:
        return ""
    try:
        write_starter(paths)
        subprocess.run(
            [str(paths.starter)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_START_TIMEOUT_S,
            check=True,
        )
    except subprocess.TimeoutExpired:
        return f"the service does not answer yet; see {paths.service_log}"
    except (OSError, subprocess.CalledProcessError):
        return f"the service could not be started; see {paths.service_log}"
    return ""


def terms_of(paths: Paths, contract: Contract, receiver: Receiver | None) -> Terms:
    """Return what is to be put in force in a settings file or for one process."""
    return Terms(
        launcher=paths.launcher,
        context=ContextTerms(
            contract.number("context.maximum"), contract.number("context.compress_from")
        ),
        receiver=receiver,
        state=paths.state if paths.state != _default_state() else None,
    )


def contract_or_built_in(paths: Paths) -> tuple[Contract, str]:
    """Return the user's contract, or the built-in one and why the user's cannot be used.

    Which one holds for hooks depends: a running service goes on with the last that was good.
    """
    try:
        return load_contract(user=paths.contract), ""
    except ContractError as error:
        return load_contract(), f"{error.message}; what it says now is not in force"


def remember_forward(path: Path, forward: bytes | None) -> None:
    """Write or remove the service's list of destinations to feed."""
    if forward is None:
        path.unlink(missing_ok=True)
    elif not path.exists() or path.read_bytes() != forward:
        replace_file(path, forward)


def _default_state() -> Path:
    environ = {name: value for name, value in os.environ.items() if name != "BETTER_CLAUDE_STATE"}
    return Paths.from_environment(environ).state
