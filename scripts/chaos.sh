#!/bin/sh
# Builds viewline and runs its chaos on this machine; see `viewline chaos --help`. Arguments go to that command, for
# example: scripts/chaos.sh --duration 10m
set -eu
cd "$(dirname "$0")/.."
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT INT TERM
go build -o "$directory/viewline" ./cmd/viewline
"$directory/viewline" chaos "$@"
