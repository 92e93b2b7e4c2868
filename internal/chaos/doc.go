// Package chaos runs a cluster of separate processes on one machine under load and hurts it: it kills primaries and
// whole shards, stops primaries until they are deposed and lets them go on, cuts replicas off from each other, groups from
// groups and clerks from nodes, and makes the links between them slow, stall, break and alter bytes. It changes the members
// of groups as an operator does, by the program's commands, and hits another replica in the middle; and it wipes disks. In
// the end every single answer that a clerk ever gave is held against what is stored, the replicas' states against each
// other, and the history of single objects is judged; after each change of members all are looked at too.
//
// A run that did too little to prove anything is void, and that is an error too. The command line imports this
// package.
package chaos
