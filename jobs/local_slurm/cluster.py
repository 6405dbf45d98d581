"""A real Slurm of one node on loopback, in a folder of its own: without systemd, a database, or a change to /etc.

Needs root, and Debian's packages slurm-wlm and munge, which `install` gets where they are missing.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged")
DAEMONS = ("munged", "slurmctld", "slurmd")
SYSTEM = (Path("/etc/slurm/slurm.conf"), Path("/etc/slurm-llnl/slurm.conf"))
PATIENCE = 60.0  # seconds that a daemon may take to come up or to end


class Unavailable(Exception):
    """Why there can be no such cluster here, in one line."""


def check() -> None:
    """Raises `Unavailable` without root, and where a cluster of our own could be in the way of another one."""
    if os.geteuid() != 0:
        raise Unavailable("slurmd and apt-get need root")
    if found := [str(path) for path in SYSTEM if path.exists()]:
        raise Unavailable(f"this machine belongs to a Slurm already ({found[0]}), which stays as it is")
    processes = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
    if running := [name for name in DAEMONS[1:] if any(_lives(process, name) for process in processes)]:
        raise Unavailable(f"a {running[0]} runs already on this machine, and stays as it is")


def install() -> None:
    """Debian's packages, where one of `PROGRAMS` is missing; `Unavailable` where they cannot be had."""
    if not (missing := [name for name in PROGRAMS if shutil.which(name) is None]):
        return
    if shutil.which("apt-get") is None:
        raise Unavailable(f"{', '.join(missing)} missing, and there is no apt-get to install {' and '.join(PACKAGES)} with")
    print(f"installing {' and '.join(PACKAGES)}", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}  # the packages' own services are not started
    for command in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        try:
            done = subprocess.run(["apt-get", "-qq", *command], env=environment, capture_output=True, text=True, timeout=300)
        except subprocess.TimeoutExpired:
            raise Unavailable(f"apt-get {command[0]} took longer than 300 s") from None
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it gave no reason"]
            raise Unavailable(f"apt-get {command[0]} failed: {said[-1]}")


class Cluster:
    """Runs while its block lasts; `environment` is what commands need to talk to it.

    `folder` gets all its files; its path must be short, since a socket lies in it. At the end jobs that are left are cancelled, and the
    daemons stopped by their pid files.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def __enter__(self) -> "Cluster":
        for name in ("controller", "node"):
            (self.folder / name).mkdir()
        template = (Path(__file__).parent / "slurm.conf").read_text()
        controller_port, node_port = _free_ports(2)
        names = {"folder": self.folder, "host": socket.gethostname().partition(".")[0]}
        filled = template.format(**names, controller_port=controller_port, node_port=node_port)
        (self.folder / "slurm.conf").write_text(filled)
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        files = {"socket": "munge.socket", "key-file": "munge.key", "seed-file": "munge.seed"}
        files |= {"pid-file": "munged.pid", "log-file": "munged.log"}
        try:
            self.call("munged", *(f"--{option}={self.folder / name}" for option, name in files.items()))
            self.call("slurmctld", "-f", str(self.folder / "slurm.conf"))
            self.call("slurmd", "-f", str(self.folder / "slurm.conf"))
            self.wait("the node", PATIENCE, lambda: self.call("sinfo", "--noheader", "--format=%T", check=False) == "idle")
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception) -> None:
        self.stop()

    def call(self, *command: str, check: bool = True) -> str:
        """What a command prints; `RuntimeError` where it fails."""
        done = subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed with {done.returncode}: {done.stderr.strip()}")
        return done.stdout.strip()

    def wait(self, what: str, seconds: float, there: Callable[[], object]) -> None:
        """Returns once `there()` is true; `RuntimeError` after so many seconds."""
        end = time.monotonic() + seconds
        while not there():
            if time.monotonic() > end:
                raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")
            time.sleep(0.5)

    def stop(self) -> None:
        """Cancels all jobs, waits for their end, and stops the daemons."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.call("scancel", "--user=root", check=False)
            self.wait("the end of all jobs", PATIENCE, lambda: not self.call("squeue", "--noheader", check=False))
        for name in reversed(DAEMONS):
            file = self.folder / f"{name}.pid"
            if file.exists():
                _end(int(file.read_text()), name)


def _end(process: int, name: str) -> None:
    """SIGTERM to a daemon of ours, and SIGKILL where that is not enough."""
    began = time.monotonic()
    number = signal.SIGTERM
    while _lives(process, name):
        os.kill(process, number)
        time.sleep(0.2)
        number = signal.SIGKILL if time.monotonic() > began + PATIENCE else 0


def _lives(process: int, name: str) -> bool:
    """Whether this process lives and is the one called so: by now the number may be somebody else's."""
    try:
        command, _, rest = Path(f"/proc/{process}/stat").read_text().rpartition(")")
    except OSError:
        return False
    return command.endswith(f"({name}") and not rest.startswith(" Z")


def _free_ports(count: int) -> list[int]:
    """Ports of loopback at which nobody listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
