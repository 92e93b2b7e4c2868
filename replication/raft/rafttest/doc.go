// Package rafttest runs a whole group of replication/raft in one process, for the tests of a state machine.
//
//	group, err := rafttest.Start(3, func() replication.StateMachine { return &counter{} })
//	...
//	defer group.Close()
//	result := group.Propose(ctx, operation)
//
// A Group has a Network to cut, and its replicas can be killed and restarted; what they stored is in memory and survives
// that. Network alone is a raft.Transport for a program that opens its replicas itself. Package replication/vr/vrtest is
// the same for the other backend.
//
// Nothing here is for a replica that anyone relies on: messages are function calls, and the storage ends with the
// process.
package rafttest
