#!/usr/bin/env bash
# The backends of replication against each other: the matrix of docs/BENCHMARKS.md, which takes about an hour. Interrupted,
# it goes on with the next call: every run is in RESULTS. The report is written to standard output, its plots to PLOTS.
# Variables: BACKENDS, RUNS (5), KILLS (20), DURATION (3s) of the measured part of a run, RESULTS, PLOTS.
set -euo pipefail
cd "$(dirname "$0")/.."
backends=${BACKENDS:-vr,raft,vr/wal}
results=${RESULTS:-bench-replication.jsonl}
plots=${PLOTS:-$(dirname "$results")}
binary=$(mktemp -d)/viewline
trap 'rm -rf "$(dirname "$binary")"' EXIT
go build -o "$binary" ./cmd/viewline
run() {
  "$binary" bench replication --results "$results" --duration "${DURATION:-3s}" --runs "${RUNS:-5}" \
    --kills "${KILLS:-20}" "$@" >/dev/null
}
matrix="--replicas 3,5 --proposers 1,16,64,256 --value-bytes 128,4096"
# shellcheck disable=SC2086 # these are words
run --backends "$backends" --durability sync $matrix
# In memory there is no log to choose.
in_memory=$(tr , '\n' <<<"$backends" | grep -v / | paste -sd,)
# shellcheck disable=SC2086
run --backends "$in_memory" --durability memory $matrix
# The time from the kill of a primary, and how a replica comes back.
run --backends "$backends" --scenario failover --replicas 3 --proposers 16 --value-bytes 128
run --backends "$backends" --scenario catchup --replicas 3 --proposers 16 --value-bytes 4096
"$binary" bench replication --results "$results" --report --plots "$plots"
