"""`make test-slurm`: a report on a real SLURM, controller and one node on this machine.

Installs Debian's slurm-wlm and munge where they are missing, writes a configuration for the
loopback (a configuration that is there is put back afterwards), starts the daemons, runs a study
of several runs with the profile in ``workflow/profiles/slurm``, and looks in SLURM's own list for
the jobs. Needs root on a Debian-like machine; anything else is said and skipped.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from conftest import Project
from partialpool.batch.runs import read_summary

PROFILE = Path(__file__).parents[1] / "workflow" / "profiles" / "slurm"
CONFIGURATION = Path("/etc/slurm/slurm.conf")
RUNS = 6
TEXT = """\
ClusterName=partialpool
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SlurmUser=root
SlurmdUser=root
ReturnToService=2
MinJobAge=3600
StateSaveLocation={state}/controller
SlurmdSpoolDir={state}/node
SlurmctldPidFile={state}/slurmctld.pid
SlurmdPidFile={state}/slurmd.pid
SlurmctldLogFile={state}/slurmctld.log
SlurmdLogFile={state}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def skip(why: str) -> int:
    """Say why nothing was tested."""
    print(f"skipped: {why}")
    return 0


def install() -> str:
    """Install what is missing; say what could not be."""
    if shutil.which("slurmctld") and shutil.which("slurmd") and shutil.which("munged"):
        return ""
    if not shutil.which("apt-get"):
        return "there is no SLURM, and no apt-get to install it"
    print("Installing slurm-wlm and munge ...", flush=True)
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update", "-qq"], ["install", "-y", "-qq", "slurm-wlm", "munge"]):
        done = subprocess.run(["apt-get", *words], env=env, capture_output=True, text=True)
        if done.returncode:
            return f"apt-get {words[0]} failed: {done.stderr.strip()[-200:]}"
    return ""


def memory() -> int:
    """Megabytes that the node may offer."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 8 // 10


class Cluster:
    """Munge, a controller and one node, for as long as it is entered."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.before = CONFIGURATION.read_bytes() if CONFIGURATION.exists() else None

    def __enter__(self) -> "Cluster":
        (self.state / "controller").mkdir(parents=True)
        (self.state / "node").mkdir()
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.write_text(
            TEXT.format(
                host=socket.gethostname().split(".")[0],
                state=self.state,
                cpus=os.cpu_count(),
                memory=memory(),
            )
        )
        if subprocess.run(["munge", "-n"], capture_output=True).returncode:
            run = Path("/run/munge")
            run.mkdir(exist_ok=True, mode=0o755)
            shutil.chown(run, "munge", "munge")
            self.start("runuser", "-u", "munge", "--", "munged", "--foreground", "--force")
            self.wait(["munge", "-n"], "munge")
        self.start("slurmctld", "-D")
        self.start("slurmd", "-D")
        self.wait(["sh", "-c", "sinfo --noheader --format %t | grep -q -E 'idle|mix'"], "the node")
        return self

    def start(self, *command: str) -> None:
        """Start a daemon that stays in the foreground."""
        log = (self.state / f"{command[0]}.out").open("wb")
        self.daemons.append(subprocess.Popen(command, stdout=log, stderr=log))

    def wait(self, command: list[str], what: str) -> None:
        """Wait until a command succeeds."""
        for _ in range(120):
            if subprocess.run(command, capture_output=True).returncode == 0:
                return
            time.sleep(0.5)
        logs = "\n".join(p.read_text(errors="replace")[-800:] for p in self.state.glob("*.log"))
        raise RuntimeError(f"{what} does not come up\n{logs}")

    def __exit__(self, *_: object) -> None:
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(15)
            except subprocess.TimeoutExpired:
                daemon.kill()
        if self.before is None:
            CONFIGURATION.unlink(missing_ok=True)
        else:
            CONFIGURATION.write_bytes(self.before)


def jobs() -> list[dict[str, str]]:
    """All jobs that the controller remembers."""
    done = subprocess.run(
        ["scontrol", "--oneliner", "show", "jobs"], capture_output=True, text=True, check=True
    )
    rows = [line for line in done.stdout.splitlines() if "=" in line]
    return [dict(w.split("=", 1) for w in row.split() if "=" in w) for row in rows]


def main() -> int:
    """Do it; return the exit status."""
    if os.geteuid() != 0:
        return skip("SLURM's daemons need root")
    try:
        import snakemake_executor_plugin_slurm  # noqa: F401
    except ImportError:
        return skip("the environment lacks snakemake-executor-plugin-slurm (the extra `slurm`)")
    if why := install():
        return skip(why)
    with tempfile.TemporaryDirectory(prefix="slurm-", ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        project = Project(place / "project")
        seeds = ", ".join(map(str, range(RUNS)))
        project.study("many", f"notebook: posterior\nseeds: [{seeds}]")
        with Cluster(place / "state"):
            print(f"SLURM is up: {os.cpu_count()} processors, {memory()} MB.", flush=True)
            words = ["report", "--jobs", str(os.cpu_count()), "--", "--profile", str(PROFILE)]
            # This SLURM keeps no accounts, so its queue is asked how jobs fare.
            words += ["--slurm-no-account", "--slurm-status-command", "squeue"]
            words += ["--default-resources", "mem_mb=500", "runtime=20"]
            began = time.monotonic()
            status, output = project.call(*words)
            print(output.rstrip())
            seconds = time.monotonic() - began
            found = jobs()
            _, again = project.call(*words)
        log = project.root / ".cache" / "partialpool" / "snakemake.log"
        states = sorted({job["JobState"] for job in found})
        finished = [
            read_summary(project.root / "reports" / "many" / f"seed-{k}") for k in range(RUNS)
        ]
        print(f"{len(found)} jobs in SLURM's list, {', '.join(states)}; {seconds:.0f} s")
        good = (
            status == 0
            and len(found) == RUNS
            and states == ["COMPLETED"]
            and all(summary and summary["status"] == "warned" for summary in finished)
            and "nothing to do" in again
        )
        if not good:
            print(log.read_text()[-4000:] if log.exists() else "no log")
        print("1 passed, 0 failed" if good else "0 passed, 1 failed")
        return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
