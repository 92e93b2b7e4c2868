// Package survey asks every node of a cluster how its replicas are, and says in one sentence what the cluster
// can still lose.
//
// Ask talks to the nodes; Assess only judges what they said and is pure. Transfer, FindMembers and ChangeMembers are for
// operators: the primary's role and the members of a group. The command line, the demo and what starts processes may
// import it. All functions may be called from many goroutines.
package survey
