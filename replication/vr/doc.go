// Package vr is Viewstamped Replication as a library: one replica of one group, behind replication.Replicator.
//
// It drives the pure machine in replication/vr/core: persist, send, apply, answer, in the order that core.Ready
// demands. A caller brings a state machine, a Transport and a Storage (replication/vr/storage has one on disk).
// A Replica may be used from many goroutines.
package vr
