"""Processes that begin with everything imported: forks of one that has imported and run nothing.

Jobs and kernels of a report would import the same packages each, which is half of what a small run
costs. Beside Snakemake a process imports them once; it is asked over a socket for a fork that does
what ``python -m ...`` would. Such a fork has run no notebook, ends with whoever asked for it, and
gives the numbers of a cold process. Where there is no nursery, processes start cold.
"""

import contextlib
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Set in the environment of processes that may ask: where the socket is.
PLACE = "PARTIALPOOL_NURSERY"
#: What jobs and kernels need, whatever the notebook.
USUAL = (
    *("papermill.execute", "ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger"),
    *("partialpool.batch.execute", "partialpool.report.exporter", "IPython.core.completer"),
    *("partialpool.posterior.manuscript", "h5netcdf"),
)
#: Figures have a look that depends on the kernel, so what draws is imported there.
LATER = "partialpool.plots"
DRAWING = ("seaborn", "matplotlib.backends.backend_svg", "arviz_plots")
#: Seconds after which a nursery that does not answer is none.
PATIENCE = 60
INLINE = "module://matplotlib_inline.backend_inline"

_forked = False


@contextlib.contextmanager
def beside(modules: Sequence[str]) -> Iterator[None]:
    """Have a nursery for the processes that this one starts; it ends with the block or with this.

    Parameters
    ----------
    modules : sequence of str
        What it imports beside `USUAL`.
    """
    if sys.platform != "linux":  # forks of processes that have loaded much are not safe elsewhere
        yield
        return
    folder = tempfile.mkdtemp(prefix="partialpool-")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place := str(Path(folder) / "nursery"))
    listener.listen(64)
    alive, held = os.pipe()  # `held` is open as long as this process lives
    pid = os.fork()
    if pid == 0:
        try:
            os.close(held)
            _serve(listener, alive, modules)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
    os.close(alive)
    listener.close()
    os.environ[PLACE] = place
    try:
        yield
    finally:
        os.close(held)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _serve(listener: socket.socket, alive: int, modules: Sequence[str]) -> None:
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_IGN)
    for name in os.listdir("/proc/self/fd"):  # such as the lock of the report
        if int(name) > 2 and int(name) not in (listener.fileno(), alive):
            with contextlib.suppress(OSError):
                os.close(int(name))
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"  # or Arrow starts a thread
    later = [module for module in modules if module.startswith(LATER)]
    for module in (*USUAL, *modules, *(DRAWING if later else ())):
        if module not in later:
            with contextlib.suppress(Exception):  # whoever needs it will say
                importlib.import_module(module)
    while True:
        ready, _, _ = select.select([listener.fileno(), alive], [], [])
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if alive in ready:
            return
        connection, _ = listener.accept()
        # a fork has only the thread that forks: locks that another one holds would stay locked
        if len(os.listdir("/proc/self/task")) == 1 and os.fork() == 0:
            try:
                listener.close()
                os.close(alive)
                _become(connection)
            finally:  # whatever happens, a fork is no second nursery
                os._exit(1)
        connection.close()


def _become(connection: socket.socket) -> None:
    """Do what is asked for, in this fork; never return."""
    global _forked
    _forked = True
    status = 1
    try:
        _, files, _, _ = socket.recv_fds(connection, 1, 2)
        asked = json.loads(connection.makefile().readline())
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if asked["session"]:
            os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for file, number in ((nothing, 0), (files[0], 1), (files[1], 2)):
            os.dup2(file, number)
            os.close(file)
        connection.sendall(f"{os.getpid()}\n".encode())
        threading.Thread(target=_end_with, args=(connection, asked["session"]), daemon=True).start()
        Path("/proc/self/comm").write_text(asked["words"][0][:15])  # as `top` shows it
        _as_cold(asked)
        status = _run(asked["words"])
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    try:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a kernel's streams end before it
                stream.flush()
        with contextlib.suppress(OSError):
            connection.sendall(f"{status}\n".encode())
    finally:
        os._exit(status)


def _as_cold(asked: Mapping[str, Any]) -> None:
    """Give this process the place, environment and streams of random numbers of a new one."""
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    path = filter(None, asked["env"].get("PYTHONPATH", "").split(os.pathsep))
    # a kernel takes the first away, which a folder named twice survives
    sys.path[:] = [asked["cwd"], *path, *sys.path[1:]]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "matplotlib" in sys.modules and asked["session"]:
        sys.modules["matplotlib"].rcParams["backend"] = os.environ.get("MPLBACKEND", INLINE)


def _run(words: Sequence[str]) -> int:
    """What ``python -m MODULE ...`` does; its exit status."""
    module, *rest = words
    sys.argv = [module, *rest]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end_with(connection: socket.socket, session: bool) -> None:
    """End this process when the one that asked for it has ended."""
    with contextlib.suppress(OSError):
        connection.recv(1)
    if session:
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGTERM)  # a job cleans up


class Process:
    """A fork, with what `subprocess.Popen` has for those who wait for it."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int) -> None:
        self.connection, self.pid = connection, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Exit status, or None while it runs; of one that was killed, -9."""
        if self.returncode is None and select.select([self.connection], [], [], 0)[0]:
            said = b""
            with contextlib.suppress(OSError):
                said = self.connection.makefile("rb").readline()
            self.returncode = int(said) if said else -signal.SIGKILL
            self.connection.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Exit status when it has ended."""
        end = None if timeout is None else time.monotonic() + timeout
        while self.poll() is None:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            select.select([self.connection], [], [], left)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, sign: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sign)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


def start(
    words: Sequence[str], env: Mapping[str, str], cwd: str, out: int, err: int, *, session: bool
) -> Process | None:
    """Have a fork do what ``python -m`` with some words would; None where there is no nursery.

    Parameters
    ----------
    words : sequence of str
        Module and arguments.
    env : mapping
        The whole environment.
    cwd : str
    out, err : int
        Descriptors of files for what it prints.
    session : bool
        Whether it leads a session of its own, as a kernel does.
    """
    if PLACE not in os.environ:
        return None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(os.environ[PLACE])
        socket.send_fds(connection, [b"x"], [out, err])
        asked = {"words": [*words], "env": {**env}, "cwd": cwd, "session": session}
        connection.sendall(json.dumps(asked).encode() + b"\n")
        pid = _line(connection)
        connection.settimeout(None)
        return Process(connection, int(pid))
    except (OSError, ValueError):
        connection.close()
        return None


def _line(connection: socket.socket) -> bytes:
    """Read to the end of a line, and no further."""
    said = b""
    while not said.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece:
            raise ConnectionError
        said += piece
    return said


def hand_over(words: Sequence[str]) -> int | None:
    """Have a fork do a command of this package and wait for it; None where it must be done here."""
    if _forked:
        return None
    here = str(Path.cwd())
    process = start(["partialpool", *words], os.environ, here, 1, 2, session=False)
    if process is None:
        return None
    for sign in (signal.SIGINT, signal.SIGTERM):  # they reach the fork too, and it cleans up
        signal.signal(sign, signal.SIG_IGN)
    return abs(process.wait())
