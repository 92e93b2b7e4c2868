// Package process runs a cluster as processes of its own: one child for each node, from any binary that has the
// commands `coordinator --config FILE` and `shardserver --config FILE`. A child can be killed, stopped, continued and
// restarted. It is for the demo, for chaos runs and for benchmarks, on one machine and over loopback.
//
// Only the command line, its workloads, the benchmark and tests may import it. A Cluster may be used from many
// goroutines. Close leaves no child behind; on Linux neither does the death of this process.
package process
