#!/usr/bin/env bash
# Runs every fuzz target of the module for so many executions each (default 20000x). A time, as 30s, works too, but up
# to Go 1.26 the end of that time may be reported as a failure, "context deadline exceeded", when nothing was found
# (go.dev/issue/75804).
set -euo pipefail
cd "$(dirname "$0")/.."
budget=${1:-20000x}
count=0
for directory in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
  for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$directory"/*_test.go | sed 's/^func //' | sort -u); do
    echo "fuzz $directory $target"
    go test "$directory" -run '^$' -fuzz "^$target\$" -fuzztime "$budget" -fuzzminimizetime 10x
    count=$((count + 1))
  done
done
test "$count" -gt 0
echo "fuzzed $count targets for $budget each"
