// Package clerk is viewline's client library: strictly serializable transactions over many keys and shards.
//
//	c, err := clerk.Dial(ctx, clerk.Options{Coordinators: []string{"127.0.0.1:7001"}})
//	...
//	err = c.Update(ctx, func(tx *clerk.Txn) error {
//		balance, err := tx.Get(ctx, "alice")
//		...
//		return tx.Put("alice", newBalance)
//	})
//
// Update runs a function and commits what it did, and runs it again when another transaction was in the way;
// View reads at one snapshot and never conflicts. A commit has one of three outcomes: it happened; it
// certainly did not (ErrAborted, with the rule and the objects in an *AbortedError); or it is unknown
// (ErrOutcomeUnknown, with the id for Outcome in an *UnknownError).
//
// A Clerk may be used from many goroutines; a Txn or a Snapshot belongs to one. The package links gRPC and
// protobuf and nothing else.
package clerk
