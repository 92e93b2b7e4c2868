// Package commit owns the clerk's side of two-phase commit: a pure machine that drives one transaction
// through all its attempts, from the first timestamp to the last CommitTxn.
//
// A transaction is committed the moment every participant has logged it prepared; nobody writes a decision
// down. So the machine may tell its caller at once, and so nobody may call an attempt aborted before it is
// dead: before one participant is known that never will have it prepared.
//
// The machine has no clock, no network and no goroutine. The driver (the clerk) carries out the actions that
// Start and Step return, in order, and hands back what comes of them as events:
//
//  1. Each Send is answered by exactly one Reply or Failed, after a bounded time. A second, late one does no
//     harm. A Send is one copy of a request: the driver sends it again under no circumstances but a certain
//     failure of the former try (it never reached a primary that took it up).
//  2. Each WantTimestamp is answered by one Timestamp that was asked for after the WantTimestamp, or, when the
//     caller gives up first, by Cancelled.
//  3. Each WantTimer is answered by one Timer.
//  4. When the caller gives up, Cancelled comes once. Answer follows at once if it has not been given yet.
//
// Answer comes exactly once; Done comes exactly once, after it, and no action follows Done. A driver may drop
// a machine at any moment, as a clerk may die at any moment: the shards' terminators finish what it leaves.
//
// A machine belongs to one goroutine. The clerk and the simulator import this package.
package commit
