"""What a fork of this process does while this one goes on, where there is a processor for it."""

import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from typing import IO, Any


class Beside:
    """Contents that a fork of this process writes; whoever wants one waits until all are there.

    A process that works alone, for others do their runs, or where forks are not safe, forks
    nothing, and has no contents.

    Parameters
    ----------
    work : mapping of str to callable
        Name of each content to what writes it into an open file.
    """

    def __init__(self, work: Mapping[str, Callable[[IO[bytes]], Any]]) -> None:
        self._files: dict[str, IO[bytes]] = {}
        processors = os.environ.get("NUMBA_NUM_THREADS") or os.cpu_count() or 1
        if sys.platform != "linux" or int(processors) < 2:
            return
        self._files = {name: tempfile.TemporaryFile() for name in work}  # noqa: SIM115
        with warnings.catch_warnings():  # of threads: the fork asks nothing of them
            warnings.simplefilter("ignore", DeprecationWarning)
            self._fork = os.fork()
        if self._fork == 0:
            status = 1
            try:
                os.nice(10)
                for name, file in self._files.items():
                    work[name](file)
                    file.flush()
                status = 0
            finally:
                os._exit(status)

    def __getitem__(self, name: str) -> bytes | None:
        """A content; None where the fork was not made, or broke."""
        if self._files and self._fork:
            _, status = os.waitpid(self._fork, 0)
            self._fork = 0
            if status:
                self._files = {}
        file = self._files.get(name)
        if file is None:
            return None
        file.seek(0)
        return file.read()
