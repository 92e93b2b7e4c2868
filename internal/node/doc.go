// Package node owns what makes a process a node: the one listener with its gRPC server, the session service
// on the hot path, administration, health and reflection, the transport to the other nodes, and the identity
// and lock of data directories.
//
// A node hosts replicas of groups, at most one of each. A request on a session names its group and goes to
// that replica's Handler; the node bounds what is outstanding, counts, matches answers to requests by id and
// batches them, and decides nothing about any protocol. What a node takes from the network it either hands on
// or refuses with a code; random bytes on the port cost their sender the connection and nobody else anything.
//
// The rooms that put processes together import this package. Node and Directory are safe for use from many
// goroutines.
package node
