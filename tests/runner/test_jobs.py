"""The files in jobs/: parsed as their schedulers parse them, and their commands run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import grokjax

JOBS = Path(grokjax.__file__).parents[1] / "jobs"
SMALL = (
    "--config quickstart --config.modulus=7 --config.d_model=8 --config.num_heads=2 "
    "--config.d_mlp=16 --config.steps=20 --config.axes.weight_decay=None"
).split()


@pytest.fixture
def programs(tmp_path):
    """An environment in which fake scheduler programs log their arguments."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def add(name, body):
        path = folder / name
        path.write_text(f'#!/bin/bash\necho {name} "$@" >>{tmp_path}/called\n{body}\n')
        path.chmod(0o755)

    add("grokjax", f'exec {sys.executable} -m grokjax "$@"')
    add.environment = {
        **os.environ,
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(JOBS.parent),
        "JAX_PLATFORMS": "cpu",
    }
    return add


@pytest.fixture
def bucket():
    """The name of an empty bucket."""
    emulator = pytest.importorskip("tests.emulator")
    emulator.running().clear()
    return emulator.BUCKET


def run(arguments, environment, **more):
    process = subprocess.run(
        [str(x) for x in arguments],
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return process


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.sh")), ids=lambda path: path.name)
def test_script_is_valid_bash(path):
    assert run(["bash", "-n", path], os.environ).returncode == 0


@pytest.mark.slow
def test_slurm_array_trains_a_sweep(programs, tmp_path):
    programs("srun", 'exec "$@"')
    script = JOBS / "slurm_array.sh"
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", script.read_text(), re.M))
    assert options["array"] == "0-7" and "requeue" in options
    assert options["signal"] == "B:TERM@120"
    done = run(
        ["bash", script, *SMALL, "--workdir", tmp_path / "sweep"],
        programs.environment,
        SLURM_ARRAY_TASK_ID="3",
        SLURM_ARRAY_JOB_ID="7",
    )
    assert done.returncode == 0, done.stderr
    assert grokjax.open_sweep(tmp_path / "sweep").saved_measures() is not None


def test_preempted_slurm_job_is_queued_again(programs, tmp_path):
    programs("srun", "exit 75")
    programs("scontrol", "")
    done = run(
        ["bash", JOBS / "slurm_array.sh"],
        programs.environment,
        SLURM_ARRAY_TASK_ID="3",
        SLURM_ARRAY_JOB_ID="7",
    )
    assert done.returncode == 75
    assert (tmp_path / "called").read_text().splitlines()[-1] == "scontrol requeue 7_3"


@pytest.mark.slow
def test_gke_job_trains_a_sweep(bucket, programs):
    yaml = pytest.importorskip("yaml")
    job = yaml.safe_load((JOBS / "gke_tpu.yaml").read_text())
    assert job["apiVersion"] == "batch/v1" and job["spec"]["completionMode"] == "Indexed"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert rules[1]["onExitCodes"] == {
        "containerName": container["name"],
        "operator": "In",
        "values": [75],
    }
    command = container["command"]
    assert command[:4] == ["grokjax", "sweep", "--config", "mainline"]
    assert command[4:] == ["--workdir", "gs://BUCKET/runs/mainline"]
    workdir, worker = command[5].replace("BUCKET", bucket), {"JOB_COMPLETION_INDEX": "0"}
    done = run([*command[:2], *SMALL, "--workdir", workdir], programs.environment, **worker)
    assert done.returncode == 0, done.stderr
    assert grokjax.open_sweep(workdir).saved_measures() is not None


@pytest.mark.slow
def test_queued_tpus_train_a_sweep(bucket, programs, tmp_path):
    keeps = f'[[ $x == startup-script=* ]] && cp "${{x#*=}}" {tmp_path}/startup'
    copies = f'for x in "$@"; do {keeps}; done; true'
    programs("gcloud", copies)
    workdir = f"gs://{bucket}/a sweep"
    queued = run(
        ["bash", JOBS / "tpu_queued.sh", "2", *SMALL, "--workdir", workdir], programs.environment
    )
    assert queued.returncode == 0, queued.stderr
    calls = (tmp_path / "called").read_text().splitlines()
    assert len(calls) == 2 and all("queued-resources create" in x and "--spot" in x for x in calls)
    programs("pip", "")
    done = run(["bash", tmp_path / "startup"], programs.environment)
    assert done.returncode == 0, done.stderr
    assert grokjax.open_sweep(workdir).saved_measures() is not None
