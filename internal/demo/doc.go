// Package demo shows a cluster at work on one machine: it starts nine processes, stores a directory tree, moves
// directories and money about with several clerks while primaries are killed, and then checks everything.
//
// The command line imports it; it writes what it does through Options.Say and returns what it measured.
package demo
