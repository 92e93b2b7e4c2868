#!/usr/bin/env bash
# Runs every fuzz target of the module for the given time each (default 10s).
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s}
count=0
for directory in $(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u); do
  for target in $(grep -h -o '^func Fuzz[A-Za-z0-9_]*' "$directory"/*_test.go | sed 's/^func //' | sort -u); do
    echo "fuzz $directory $target"
    go test "$directory" -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 10x
    count=$((count + 1))
  done
done
test "$count" -gt 0
echo "fuzzed $count targets for $time each"
