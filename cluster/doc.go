// Package cluster puts the rooms together: it sets up a cluster's directories from a layout, starts one node
// from its configuration (for the command line), and runs a whole cluster inside one process (for tests;
// cluster/clustertest has the short form for users' tests).
//
// It is one of the few rooms that may construct a replication backend. Only the command line, the benchmark
// and tests may import it. A Cluster and a Node may be used from many goroutines; the functions that set up
// directories may not run twice at once on the same directory.
package cluster
