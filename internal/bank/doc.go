// Package bank moves money between accounts and keeps books about it: the workload of the demo and of the
// chaos runs. Every transfer also writes a record under its own id on two shards, so that at the end every
// single answer can be held against what is stored: what was acknowledged as committed is there, what was
// reported as aborted is not, and no money was made or lost.
//
// It uses only the clerk. A Ledger may be used from many goroutines.
package bank
