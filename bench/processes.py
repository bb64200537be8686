"""A process with a time limit; it ends with whoever waits for it."""

import asyncio
import os
import signal
import tempfile


async def ended(command: list[str], limit: float, more: dict[str, str]) -> tuple[str, str, str]:
    """Wait for a process of its own, at most `limit` seconds.

    Parameters
    ----------
    command : list of str
    limit : float
    more : dict of str to str
        Variables of its environment.

    Returns
    -------
    status : {"ok", "failed", "out of time"}
    printed : str
        Its standard output, of a process that ran out of time too.
    said : str
        The last line of its standard error, or the exit status of one that said nothing.
    """
    # bytecode is kept, as it is where people work, or imports would be all that one measures
    usual = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=out,
            stderr=err,
            env=usual | more,
            start_new_session=True,  # so that workers of a process end with it
        )
        status = "ok"
        try:
            await asyncio.wait_for(process.wait(), limit)
        except TimeoutError:
            status = "out of time"
        finally:  # also when the bench is interrupted
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if status == "ok" and process.returncode:
            status = "failed"
        out.seek(0)
        err.seek(0)
        said = [line for line in err.read().splitlines() if line.strip()]
        return status, out.read(), said[-1] if said else f"exit status {process.returncode}"
