// Package metadata is a highly available tree of small values, as metaDR and Zookeeper have one: keys are paths like
// those of Unix, and a key exists only below one that does. It shows a state machine with rules of its own on
// replication/vr, and replication/sessions around it, so that a create whose answer was lost is not refused as
// a second one.
//
// Tree is the replicated state. Client asks a group for Create, Set, Get, List and Remove. The tests are metaDR's
// scenarios, by its names, on a group of each backend.
package metadata
