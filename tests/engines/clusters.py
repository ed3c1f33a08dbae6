"""Engines with all of their processes on this machine."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

NODES = 3


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def killed(process: int, number: int = signal.SIGKILL) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)
    return process


def asked_to_end(process: int) -> int:
    return killed(process, signal.SIGTERM)


def end_with_children(process: int) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for one in [process, *(x.pid for x in psutil.Process(process).children(recursive=True))]:
            killed(one)


class Cluster:
    """Processes of an engine on this machine; without an engine, those that the trial starts."""

    address = ""

    def __init__(self, home: Path, environment: dict[str, str]):
        self.home, self.environment = home, environment
        self.processes: list[subprocess.Popen] = []
        self.bin = Path(sys.executable).parent

    def start(self, *command: Any, **more: str) -> subprocess.Popen:
        with open(self.home / f"process_{len(self.processes)}.log", "w") as log:
            process = subprocess.Popen(
                [str(x) for x in command],
                cwd=self.home,
                env={**self.environment, **more},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def end_node_of(self, worker: int) -> int:
        """Kill the node that a worker belongs to; returns its process, which we have started."""
        ours = {process.pid for process in self.processes}
        node = next(x.pid for x in psutil.Process(worker).parents() if x.pid in ours)
        end_with_children(node)
        return node

    def stop(self) -> None:
        for process in self.processes:
            end_with_children(process.pid)
            process.wait()


class Ray(Cluster):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.environment |= {"RAY_AUTH_MODE": "disabled", "RAY_enable_open_telemetry": "0"}
        self.address = f"127.0.0.1:{free_port()}"
        start = [self.bin / "ray", "start", "--block", "--disable-usage-stats"]
        few = ["--include-dashboard=false", "--node-ip-address=127.0.0.1"]
        port = self.address.partition(":")[2]
        store = "--object-store-memory=100000000"
        self._start_node(*start, "--head", f"--port={port}", "--num-cpus=0", store, *few)
        for _ in range(NODES):
            self._start_node(*start, f"--address={self.address}", "--num-cpus=1", store)

    def _start_node(self, *command: Any) -> None:
        """Start a node and wait for it; a busy machine may need several tries."""
        while True:
            process, log = (
                self.start(*command),
                self.home / f"process_{len(self.processes) - 1}.log",
            )
            while process.poll() is None:
                if "will now block forever" in log.read_text():
                    return
                time.sleep(0.2)

    def end_node_of(self, worker: int) -> int:
        raylet = psutil.Process(worker).ppid()
        end_with_children(raylet)
        return raylet


class Dask(Cluster):
    def __init__(self, *args: Any):
        super().__init__(*args)
        self.address = f"127.0.0.1:{free_port()}"
        quiet = ["--no-dashboard"]
        port = self.address.partition(":")[2]
        self.start(self.bin / "dask", "scheduler", f"--port={port}", *quiet)
        for _ in range(NODES):
            work = ["worker", self.address, "--nthreads=1", "--local-directory", self.home]
            self.start(self.bin / "dask", *work, *quiet)


class Slurm(Cluster):
    """A controller and nodes of one name each, on ports of their own."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        ports = [free_port() for _ in range(NODES)]
        nodes = "".join(
            f"NodeName=n{i} NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs=2 RealMemory=4000\n"
            for i, port in enumerate(ports)
        )
        conf = self.home / "slurm.conf"
        conf.write_text(
            f"ClusterName=test\nSlurmctldHost={socket.gethostname()}(127.0.0.1)\n"
            f"SlurmctldPort={free_port()}\nAuthType=auth/munge\nSlurmUser=root\n"
            f"StateSaveLocation={self.home}/state\nSlurmdSpoolDir={self.home}/spool_%n\n"
            f"SlurmdPidFile={self.home}/%n.pid\nSlurmctldPidFile={self.home}/ctld.pid\n"
            "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nReturnToService=2\n"
            "SelectType=select/cons_tres\nSelectTypeParameters=CR_CPU\nSlurmdTimeout=10\n"
            f"KillWait=30\n{nodes}PartitionName=all Nodes=ALL Default=YES State=UP\n"
        )
        (self.home / "state").mkdir()
        self.environment["SLURM_CONF"] = str(conf)
        subprocess.run(["pkill", "-x", "munged"])
        Path("/run/munge").mkdir(exist_ok=True)
        subprocess.run(["chown", "munge:", "/run/munge"], check=True)
        subprocess.run(["runuser", "-u", "munge", "--", "munged"], check=True)
        self.start("slurmctld", "-D", "-f", conf)
        time.sleep(2)
        for i in range(NODES):
            self.start("slurmd", "-D", "-N", f"n{i}", "-f", conf)
        time.sleep(2)

    def end_node_of(self, worker: int) -> int:
        """Kill a node's daemon, and the step that it has started, which is no child of it."""
        name = psutil.Process(worker).environ()["SLURMD_NODENAME"]
        daemon = self.processes[1 + int(name[1:])].pid
        step = next(x.pid for x in psutil.Process(worker).parents() if x.name() == "slurmstepd")
        for process in (daemon, step):
            end_with_children(process)
        return daemon


ENGINES: dict[str, type[Cluster]] = {
    **{"alone": Cluster, "ray": Ray, "dask": Dask, "slurm": Slurm, "indexed": Cluster}
}
