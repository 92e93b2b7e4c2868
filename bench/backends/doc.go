// Package backends compares what can replicate a group, on equal terms: the same state machine, transport, time-outs,
// batches and durability, runs that alternate, and a check that each keeps what it promises.
//
// Each replica is a process of its own, which Serve is the whole of: the program that calls Compare is started again, with
// Options.Command as its arguments, for each of them. Such a process obeys its parent over its standard input and output,
// and ends when that is closed, so that none outlives a parent that is killed. The load runs inside the processes, in
// the one that is primary, as that of a program would which embeds the replication: proposers, each with one operation
// under way.
//
// A run counts only if its replicas end in the same state, and that state has every operation that was acknowledged and
// no other. Which disks had an operation when it was acknowledged is measured, by the kernel where it can be asked
// (Policy), and backends that differ in it are not compared (ErrPolicy). `viewline bench replication` is the command line.
package backends
