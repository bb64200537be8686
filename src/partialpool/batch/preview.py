"""One run whose page is made again whenever study, notebook or data change.

The kernel stays: what it has imported and compiled is not waited for again.
"""

import contextlib
import json
import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jupyter_core.utils import run_sync

from partialpool.batch import (
    batch,
    execute,
    notebooks,
    staleness,
    study_data,
    study_file,
    surroundings,
)
from partialpool.batch.runs import Run
from partialpool.data.paths import CACHE, shown

#: Seconds between two looks at what may have changed.
PAUSE = 0.4
#: Seconds after which a kernel hangs, however busy the machine is.
PATIENCE = 300
#: What a kernel forgets before a notebook runs in it: names, counts, figures, what a notebook that
#: broke has shown, and the modules in folders of notebooks.
FORGET = """
import sys
for name, module in list(sys.modules.items()):
    if str(getattr(module, "__file__", None)).startswith({folders!r}):
        del sys.modules[name]
if "matplotlib.pyplot" in sys.modules:
    sys.modules["matplotlib.pyplot"].close("all")
if "partialpool.posterior.finding" in sys.modules:
    sys.modules["partialpool.posterior.finding"].SHOWN.clear()
get_ipython().reset(new_session=True)
"""


def preview(root: Path, study: str, *, browser: bool = True) -> int:
    """Keep the page of a study's first run up to date until interrupted.

    Parameters
    ----------
    root : Path
        The project's folder.
    study : str
        Name or path.
    browser : bool
        Whether to open the page.

    Returns
    -------
    int
        0, when interrupted.

    Raises
    ------
    study_file.StudyError
        If there is no such study.
    """
    root = root.resolve()
    [path] = study_file.find(root, [study])
    with warm(root) as kernel, contextlib.suppress(KeyboardInterrupt):
        opened = not browser
        for run, problem in changes(root, path):
            if run is None:
                batch.say(problem)
                continue
            batch.say(f"Running {run.label} ...")
            summary = execute.execute(run, kernel=kernel)
            batch.publish(root, [run])
            page = run.folder / "report.html"
            batch.say(
                f"{batch.ended(run, summary)}\n{shown(page)} is up to date; Ctrl-C ends this."
            )
            if not opened:
                opened = webbrowser.open(page.as_uri())
            kernel.start(run)
    batch.say("Ended.")
    return 0


def changes(root: Path, path: Path) -> Iterator[tuple[Run | None, str]]:
    """Yield a study's first run, or what is wrong with it, at first and after every change."""
    before = None
    while True:
        run, state = _look(root, path)
        if state != before:
            time.sleep(PAUSE)  # until whoever writes has finished
            if _look(root, path)[1] == state:
                before = state
                wrong = study_data.look([run])[1] if run else {}
                yield (None, wrong[path]) if wrong else (run, state)
                continue
        time.sleep(PAUSE)


def _look(root: Path, path: Path) -> tuple[Run | None, str]:
    """The first run and all that it depends on; or None and what is wrong with it."""
    try:
        run = study_file.plan(root, [path])[0]
        state = [run.label, run.settings, str(run.notebook), staleness.fingerprint(run)]
        return run, json.dumps(state)
    except (study_file.StudyError, OSError) as error:
        return None, str(error)


class Warm:
    """A kernel that lives on after a notebook, and is as new before the next one.

    Parameters
    ----------
    root : Path
        The project's folder.
    scratch : Path
        A folder of the kernel's own with a short name.
    log : file
        Gets what the process says.
    """

    def __init__(self, root: Path, scratch: Path, log: Any) -> None:
        self.root, self.scratch, self.log = root, scratch, log
        self.manager: Any = None
        self.made_for: Any = None

    def ready(self, run: Run) -> Any:
        """The manager of the kernel; of a new one where code of this package has changed."""
        inputs = staleness.fingerprint(run)
        code = {name: inputs[name] for name in inputs if name.startswith("partialpool/")}
        made_for = run.notebook.parent, code
        if self.manager is not None and (made_for != self.made_for or not self._is_alive()):
            self.stop()
        if self.manager is None:
            env = surroundings.environment(self.root) | surroundings.modules_beside(run.notebook)
            self.manager = surroundings.manager(env, self.scratch, self.log)()
            self.made_for = made_for
        elif self.manager.has_kernel:
            self._forget(run)
        return self.manager

    def start(self, run: Run) -> None:
        """Have a kernel wait with all that the notebook imports, if there is none yet."""
        if self.manager is None:
            manager = self.ready(run)
            run_sync(manager.start_kernel)(cwd=str(run.home))
            self._do(notebooks.imports(notebooks.read_notebook(run.notebook)))

    def stop(self) -> None:
        """End the kernel, if there is one."""
        if self.manager is not None and self.manager.has_kernel:
            run_sync(self.manager.shutdown_kernel)(now=True)
        self.manager = None

    def _is_alive(self) -> bool:
        return bool(not self.manager.has_kernel or run_sync(self.manager.is_alive)())

    def _forget(self, run: Run) -> None:
        places = {run.home, run.notebook.parent, notebooks.shipped()}
        folders = tuple(str(folder) for folder in places)
        self._do(FORGET.format(folders=folders))

    def _do(self, code: str) -> None:
        client = self.manager.blocking_client()
        client.start_channels()
        client.wait_for_ready(timeout=PATIENCE)
        client.execute(code, silent=True, reply=True, timeout=PATIENCE)
        client.stop_channels()


@contextlib.contextmanager
def warm(root: Path) -> Iterator[Warm]:
    """A kernel that ends with the block."""
    place = root / CACHE / "preview.log"
    place.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="partialpool-") as scratch, place.open("w") as log:
        kernel = Warm(root, Path(scratch), log)
        try:
            yield kernel
        finally:
            kernel.stop()
