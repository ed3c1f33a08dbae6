#!/bin/bash
# Eight workers on one workdir; each takes blocks that are free. A worker that is preempted is queued
# again and goes on. The workdir must lie on a disk that all nodes see.
#   sbatch jobs/slurm_array.sh --config mainline --workdir /shared/runs/mainline
#SBATCH --job-name=grokjax
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append

srun grokjax sweep --figures none "$@" &
worker=$!
trap 'kill -TERM "$worker"' TERM
wait "$worker"
code=$?
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
[ "$code" -eq 75 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
exit "$code"
