#!/bin/bash
# Trains on a SLURM cluster, and requeues itself when its time is up:
#
#   sbatch --nodes=2 accelerate_configs/slurm.sh imagenet_resnet50 data.data_dir=/data/imagenet out=runs/imagenet
#
# SLURM sends this script SIGUSR1 two minutes before the end; the script asks the run to stop, the run saves and exits
# with status 75, and the next job continues from there. `out` must lie on a file system that all nodes see.
# Not yet launched on a cluster.
#SBATCH --job-name=train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -u

head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
processes=$((SLURM_NNODES * SLURM_GPUS_ON_NODE))

# One command per node, which starts one process per GPU. $SLURM_NODEID is that of the node, so it is expanded there.
srun --kill-on-bad-exit=1 bash -c 'exec dataset-scripts train --config_file multi_node --machine_rank "$SLURM_NODEID" "$@"' train \
    --num_machines "$SLURM_NNODES" --num_processes "$processes" --main_process_ip "$head_node" --main_process_port 29500 "$@" &
run=$!

requeue=no
trap 'requeue=yes; scancel --signal=TERM "$SLURM_JOB_ID.0"' USR1 TERM
wait "$run"
status=$?
while kill -0 "$run" 2>/dev/null; do # the signal ended the wait, not the run
    wait "$run"
    status=$?
done
if [ "$requeue" = yes ] && [ "$status" -ne 0 ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
