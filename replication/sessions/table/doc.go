// Package table is the client-table of Viewstamped Replication (Liskov and Cowling, sections 4.1 and 4.5), pure:
// which requests of which sessions were executed, and with what reply.
//
// It stands between a log and the machine that executes: Table.Apply takes operations in the order of the log,
// lets through each request once, and answers its copies with the reply of the first. Duplicates are judged here,
// where they are applied, since two primaries may both have logged the same request. What it decides depends on
// the operations and their op-numbers alone, not on how they are cut into batches: it is the same on every
// replica, and a part of every checkpoint.
//
// A session is named by the op-number of its Register and by the nonce that was in it. It has a window of request
// numbers, from the lowest that its client has not acknowledged; what lies below is forgotten. Tables are bounded
// (Options); a Table belongs to one goroutine.
package table
