#!/usr/bin/env bash
# A sweep on a TPU slice of one or many hosts, one run after the other, each over all hosts. To be called from the project's folder:
#
#     jobs/tpu_pod.sh create        ask for the slice, and wait until it is there
#     jobs/tpu_pod.sh install       copy the project to every host, and install it and JAX for TPUs
#     jobs/tpu_pod.sh run           train, or go on; prints the conclusion when all runs are finished
#     jobs/tpu_pod.sh delete
#
# Needs gcloud, and a folder that all hosts share (Filestore or another NFS) mounted as $WORKDIR: process 0 writes, all of them read. When
# a spot slice is taken away, create, install and run again: runs go on from their last checkpoints.
set -euo pipefail

NAME=${NAME:-attention-jax}
ZONE=${ZONE:-us-central1-a}
TYPE=${TYPE:-v5litepod-16}
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}
WORKDIR=${WORKDIR:-/mnt/runs}
FLAGS=(--experiment=bottleneck --preset=full "--workdir=$WORKDIR")

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$NAME" --zone="$ZONE" --worker=all --command="$1"
}

state() {
    gcloud compute tpus queued-resources describe "$NAME" --zone="$ZONE" --format='value(state.state)'
}

create() {
    local state
    gcloud compute tpus queued-resources create "$NAME" --node-id="$NAME" --zone="$ZONE" \
        --accelerator-type="$TYPE" --runtime-version="$RUNTIME" --spot
    until state=$(state) && [[ $state == ACTIVE ]]; do
        if [[ $state == FAILED || $state == SUSPENDED ]]; then
            echo "the slice was not granted: $state" >&2
            return 1
        fi
        sleep 30
    done
}

install() {
    local archive
    archive=$(mktemp)
    git archive --format=tar.gz --output="$archive" HEAD
    gcloud compute tpus tpu-vm scp "$archive" "$NAME:attention_jax.tar.gz" --zone="$ZONE" --worker=all
    rm "$archive"
    on_all_hosts 'mkdir -p attention_jax && tar -xzf attention_jax.tar.gz -C attention_jax && cd attention_jax &&
        python3 -m venv .venv && .venv/bin/python -m pip install --quiet --editable . "jax[tpu]"'
}

# On a TPU slice JAX finds the other processes itself.
run() {
    on_all_hosts "cd attention_jax && .venv/bin/python -m attention_jax.experiments.run $(printf '%q ' "${FLAGS[@]}" "$@") --distributed"
}

delete() {
    gcloud compute tpus queued-resources delete "$NAME" --zone="$ZONE" --force --quiet
}

case ${1:-} in
    create | install | run | delete) "$@" ;;
    *) sed -n '2,/^set/{/^#/p}' "$0" >&2; exit 2 ;;
esac
