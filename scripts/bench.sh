#!/usr/bin/env bash
# The benchmark matrix of docs/BENCHMARKS.md, on a cluster of its own, beside plain unary gRPC calls in the same run.
# DURATION (default 5s) is the measured part of each run.
set -euo pipefail
cd "$(dirname "$0")/.."
duration=${DURATION:-5s}
binary=$(mktemp -d)/viewline
trap 'rm -rf "$(dirname "$binary")"' EXIT
go build -o "$binary" ./cmd/viewline
grep -m1 'model name' /proc/cpuinfo 2>/dev/null || true
printf '%s cores, %s, %s, load %s\n\n' "$(nproc)" "$(uname -sr)" "$(go version | cut -d' ' -f3)" "$(cut -d' ' -f1 /proc/loadavg 2>/dev/null)"
run() { echo "viewline bench $*"; "$binary" bench --duration "$duration" --callers 1,16,64 "$@"; echo; }
run --kind txn --spread 1 --theta 0,0.6,0.9,0.99,1.2 --echo
run --kind txn --spread 2 --theta 0,0.6,0.9,0.99,1.2
run --kind put
run --kind get
