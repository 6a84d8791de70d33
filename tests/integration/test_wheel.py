"""What is shipped: a wheel that works in a virtual environment of its own."""

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZipFile

import pytest
from tests.sandbox import Sandbox, open_sandbox

from better_claude import __version__

REPOSITORY = Path(__file__).parents[2]
FOLDERS = ("src", "launcher", "docs")
FILES = ("hatch_build.py", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")


@dataclass(frozen=True, slots=True)
class Shipped:
    """The built wheel, and the environment that it was installed to."""

    wheel: Path
    python: Path
    sandbox: Sandbox

    def run(self, *command: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a command in the sandbox and return how it ended."""
        return subprocess.run(
            [str(word) for word in command],
            env=self.sandbox.environ(),
            cwd=self.sandbox.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def shipped() -> Iterator[Shipped]:
    with open_sandbox() as sandbox:
        wheel = _build(sandbox.root)
        yield Shipped(wheel, _install(sandbox.root, wheel), sandbox)


def _build(root: Path) -> Path:
    """Build from a copy, so that the products of the working tree stay as they are."""
    source = root / "source"
    products = shutil.ignore_patterns("__pycache__", "launcher")
    for name in FOLDERS:
        ignored = products if name == "src" else None
        shutil.copytree(REPOSITORY / name, source / name, ignore=ignored)
    for name in FILES:
        shutil.copy(REPOSITORY / name, source / name)
    _pip("wheel", "--no-build-isolation", "--no-deps", "--wheel-dir", str(root), str(source))
    (wheel,) = root.glob("*.whl")
    return wheel


def _install(root: Path, wheel: Path) -> Path:
    """Install the wheel alone; its dependencies are those that the tests run with."""
    venv.create(root / "venv", with_pip=False)
    python = root / "venv/bin/python"
    _pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    (folder,) = (root / "venv/lib").glob("python*/site-packages")
    (folder / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_command_works(shipped: Shipped) -> None:
    done = shipped.run(shipped.python.parent / "better-claude", "--version")
    assert (done.returncode, done.stdout) == (0, f"better-claude {__version__}\n")


def test_the_package_is_the_wheels_own(shipped: Shipped) -> None:
    done = shipped.run(shipped.python, "-c", "import better_claude; print(better_claude.__file__)")
    assert done.stdout.startswith(str(shipped.sandbox.root))


def test_data_files_are_aboard(shipped: Shipped) -> None:
    done = shipped.run(shipped.python.parent / "better-claude", "contract", "show")
    assert done.returncode == 0, done.stderr
    assert "PreToolUse" in done.stdout


def test_the_launcher_runs_a_command(shipped: Shipped) -> None:
    (folder,) = (shipped.sandbox.root / "venv/lib").glob("python*/site-packages/better_claude")
    launcher = folder / "_launcher/launcher"
    done = shipped.run(launcher, "echo 'from the wheel'; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, "from the wheel\n", "")


def test_the_launcher_is_static_and_small(shipped: Shipped) -> None:
    with ZipFile(shipped.wheel) as archive:
        image = archive.read("better_claude/_launcher/launcher")
    assert image.startswith(b"\x7fELF")
    assert b"ld-linux" not in image, "no dynamic loader: it starts on any Linux"
    assert len(image) < 200_000


def test_the_wheel_is_for_one_platform_and_any_python(shipped: Shipped) -> None:
    _, _, python, abi, platform = shipped.wheel.stem.split("-")
    assert (python, abi) == ("py3", "none")
    assert platform.startswith(("linux_", "manylinux", "musllinux"))
