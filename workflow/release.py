"""What ``make release`` does besides ``make lint test``; RELEASING.md says when.

``release.py ready`` says what is in the way; ``release.py build UV`` makes the distributions in
``dist/``, tries the wheel in a new environment, and tags the commit.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).parents[1]


class Refused(Exception):
    """A reason, in sentences, why this state of the repository is not released."""


def project(root: Path) -> dict:
    """Read what pyproject.toml says of the project."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def ready(root: Path) -> str:
    """Return the version to release; refuse if it has no date, has a tag, or the tree changes."""
    version = project(root)["version"]
    heading = re.search(r"^## (.*)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    found = heading[1] if heading else "nothing"
    reasons = []
    if not re.fullmatch(rf"{re.escape(version)}, \d{{4}}-\d\d-\d\d", found):
        reasons.append(
            f"CHANGELOG.md begins with '{found}'; write '{version}, ' and the day of the release "
            "as YYYY-MM-DD."
        )
    if _said(["git", "tag", "--list", f"v{version}"], root):
        reasons.append(
            f"The tag v{version} exists; give pyproject.toml and CITATION.cff a new version."
        )
    if changes := _said(["git", "status", "--porcelain"], root):
        reasons.append(f"These files are not committed:\n{changes}")
    if reasons:
        raise Refused("\n".join(reasons))
    return version


def build(root: Path, folder: Path) -> Path:
    """Make source distribution and wheel, the wheel from the source distribution; return it."""
    hatchling = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    _said([*hatchling, "--target", "sdist"], root)
    name = f"partialpool-{project(root)['version']}"
    with (
        tempfile.TemporaryDirectory() as scratch,
        tarfile.open(folder / f"{name}.tar.gz") as source,
    ):
        source.extractall(scratch, filter="data")
        _said([*hatchling, "--target", "wheel"], Path(scratch) / name)
    return folder / f"{name}-py3-none-any.whl"


def metadata(wheel: Path) -> Metadata:
    """Read a wheel's metadata, every field of it valid."""
    with zipfile.ZipFile(wheel) as content:
        [name] = [name for name in content.namelist() if name.endswith(".dist-info/METADATA")]
        return Metadata.from_email(content.read(name))


def try_out(wheel: Path, root: Path, uv: str) -> None:
    """Install a wheel beside what the lock names, in a new environment, and run the command."""
    with tempfile.TemporaryDirectory(prefix="partialpool-release-") as scratch:
        folder = Path(scratch, "environment")
        _said([str(root / ".ci" / "venv"), uv, str(folder), "requirements.lock"], root)
        own = ["--python", str(folder / "bin" / "python")]
        _said([uv, "pip", "install", "--quiet", "--no-deps", "--offline", *own, str(wheel)], root)
        _said([uv, "pip", "check", "--quiet", *own], root)
        command = str(folder / "bin" / "partialpool")
        said = _said([command, "--version"], Path(scratch))
        if said != f"partialpool {metadata(wheel).version}":
            raise Refused(f"{wheel.name} says of itself: {said}")
        _said([command, "--help"], Path(scratch))


def _said(command: list[str], folder: Path) -> str:
    """Run a command in a folder, away from the source; return what it prints."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout.rstrip()


def main(words: list[str]) -> None:
    """Do one of the two steps."""
    version = ready(ROOT)
    if words == ["ready"]:
        return
    _, uv = words
    folder = ROOT / "dist"
    wheel = build(ROOT, folder)
    try_out(wheel, ROOT, uv)
    _said(["git", "tag", "--annotate", f"v{version}", "--message", f"partialpool {version}"], ROOT)
    print(f"dist/ has partialpool {version}, tagged v{version}. RELEASING.md says what is next.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Refused as reason:
        sys.exit(f"Not released. {reason}")
