// Package state owns what the coordinator is: the map of shards, the mark that bounds all timestamps, and the
// oracle that hands timestamps out below it.
//
// State is replicated: every replica applies the same operations in the same order and comes to the same state.
// Oracle is the primary's alone and volatile: it hands out nothing above the replicated mark, and a new primary
// starts above the mark that it inherited, so that timestamps rise over every change of primary without one of
// them being logged.
//
// The package is pure: no clock, no goroutine; the time comes in as a number. A State and an Oracle belong to
// one goroutine, or to whoever holds the lock around them; a Map never changes once it was validated. The
// coordinator imports this package and nobody else does.
package state
