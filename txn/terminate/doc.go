// Package terminate owns the end of transactions whose clerk is gone, or has lost sight of them: a pure
// machine that fences every participant of an attempt, reads the decision out of what they answer, and
// carries it to all of them.
//
// It is started in three ways: New by the primary of a shard that holds an attempt prepared for too long,
// NewRedrive by the primary of a shard that remembers a commit without an END, and NewOutcome by a clerk that
// asks what became of an attempt. Any number of them may run at once, beside the attempt's own clerk.
//
// The machine has no clock, no network and no goroutine. The driver carries out the actions that Start and
// Step return, in order, and hands back what comes of them:
//
//  1. Each Send is answered by exactly one Reply or Failed, after a bounded time. A second, late one does no
//     harm, and neither does a copy: all these requests may be repeated freely.
//  2. A Send to the machine's own shard goes through that shard's log like any other: its answer must be that
//     of an operation logged after the Send. Looking at the state instead is not enough.
//  3. Each WantTimer is answered by one Timer.
//  4. When the caller of an Outcome gives up, Cancelled comes once.
//
// Answer comes exactly once; Done comes exactly once, after it, and no action follows Done. A driver may drop
// a machine at any moment.
//
// A machine belongs to one goroutine. The shardserver, the clerk and the simulator import this package.
package terminate
