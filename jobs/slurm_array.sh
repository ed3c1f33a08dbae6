#!/bin/bash
# One task for each block of a sweep, which it trains and measures. A task that is preempted is queued
# again and continues. All nodes see the workdir. For the number of blocks of a given sweep:
#   grokjax jobs /shared/runs/mainline --slurm --config mainline | sbatch
# or sbatch --array=0-3 jobs/slurm_array.sh /shared/runs/mainline --config mainline
#SBATCH --job-name=grokjax
#SBATCH --array=0-7
#SBATCH --gpus=1
#SBATCH --cpus-per-task=4
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@120
#SBATCH --open-mode=append

srun grokjax block "$@" --measure &
worker=$!
trap 'kill -TERM "$worker"' TERM
wait "$worker"
code=$?
while kill -0 "$worker" 2>/dev/null; do wait "$worker"; code=$?; done
[ "$code" -eq 75 ] && scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
exit "$code"
