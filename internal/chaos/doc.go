// Package chaos runs a cluster of separate processes on one machine under load and hurts it: it kills primaries and
// whole shards, stops primaries until they are deposed and lets them go on, cuts replicas off from each other, and makes
// the links between them slow, stall, break and alter bytes. In the end every single answer that a clerk ever gave is
// held against what is stored, the replicas' states against each other, and the history of single objects is judged.
//
// A run that did too little to prove anything is void, and that is an error too. The command line imports this
// package.
package chaos
