"""The files in jobs/: parsed as their schedulers parse them, and their commands run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import grokjax
from grokjax.cli.arguments import main, run_main
from grokjax.cli.block import INDICES
from grokjax.core.errors import ConfigError
from grokjax.results.workdir import open_workdir

JOBS = Path(grokjax.__file__).parents[1] / "jobs"
SMALL = (
    "--config quickstart --config.modulus=7 --config.d_model=8 --config.num_heads=2 "
    "--config.d_mlp=16 --config.steps=20 --config.axes.weight_decay=None --config.max_block=2"
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
    for i in range(2):
        done = run(
            ["bash", script, tmp_path / "sweep", *SMALL],
            programs.environment,
            SLURM_ARRAY_TASK_ID=str(i),
            SLURM_ARRAY_JOB_ID="7",
        )
        assert done.returncode == 0, done.stderr
    check_trained(tmp_path / "sweep", programs)


def check_trained(workdir, programs):
    """All blocks are trained and measured; the sweep's command adds the results."""
    for stored in open_workdir(workdir).blocks:
        assert stored.trained_to == 20 and stored.saved_measures() is not None
    run(["grokjax", "sweep", *SMALL, "--workdir", workdir], programs.environment)
    assert grokjax.open_sweep(workdir).saved_measures() is not None


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
    assert command[:3] == ["grokjax", "block", "gs://BUCKET/runs/mainline"]
    assert command[3:] == ["--config", "mainline", "--measure"]
    workdir = command[2].replace("BUCKET", bucket)
    for i in range(2):
        done = run(
            [*command[:2], workdir, *SMALL, "--measure"],
            programs.environment,
            JOB_COMPLETION_INDEX=str(i),
        )
        assert done.returncode == 0, done.stderr
    check_trained(workdir, programs)


@pytest.mark.parametrize("kind", ["--slurm", "--kubernetes"])
def test_job_file_of_a_sweep_has_its_blocks_and_arguments(kind, capsys):
    assert run_main(main, ["jobs", "gs://b/a sweep", kind, *SMALL]) == 0
    text = capsys.readouterr().out
    if kind == "--slurm":
        assert "#SBATCH --array=0-1\n" in text
        assert "srun grokjax block 'gs://b/a sweep' --config quickstart --config.modulus=7" in text
        assert '"$@"' not in text
    else:
        yaml = pytest.importorskip("yaml")
        spec = yaml.safe_load(text)["spec"]
        assert spec["completions"] == spec["parallelism"] == 2
        command = spec["template"]["spec"]["containers"][0]["command"]
        assert command == ["grokjax", "block", "gs://b/a sweep", *SMALL, "--measure"]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("x", "'x' is no block"),
        ("4/4", "'4/4' is no block"),
        (None, "no BLOCK is named and no scheduler sets SLURM_ARRAY_TASK_ID"),
    ],
)
def test_block_that_is_none_raises_config_error(block, words, monkeypatch, tmp_path):
    for name in INDICES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match=words):
        main(["block", str(tmp_path), *([block] if block else [])])


@pytest.mark.slow
def test_queued_tpus_train_a_sweep(bucket, programs, tmp_path):
    keeps = f'[[ $x == startup-script=* ]] && cp "${{x#*=}}" {tmp_path}/startup-$5'
    copies = f'for x in "$@"; do {keeps}; done; true'
    programs("gcloud", copies)
    workdir = f"gs://{bucket}/a sweep"
    queued = run(["bash", JOBS / "tpu_queued.sh", "2", workdir, *SMALL], programs.environment)
    assert queued.returncode == 0, queued.stderr
    calls = (tmp_path / "called").read_text().splitlines()
    assert len(calls) == 2 and all("queued-resources create" in x and "--spot" in x for x in calls)
    programs("pip", "")
    for i in range(2):
        done = run(["bash", tmp_path / f"startup-grokjax-{i}"], programs.environment)
        assert done.returncode == 0, done.stderr
    check_trained(workdir, programs)
