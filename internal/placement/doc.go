// Package placement decides where an object lives: oid to hash, hash to slot, slots to shards.
//
// It is pure, has no state and is safe to use from many goroutines. The coordinator, the shard servers and the
// clients' side of routing import it, so that all of them come to the same answer; it imports nothing of ours.
package placement
