// Package survey asks every node of a cluster how its replicas are, and says in one sentence what the cluster
// can still lose.
//
// Ask talks to the nodes; Assess only judges what they said and is pure. The command line, the demo and what
// starts processes may import it. Both functions may be called from many goroutines.
package survey
