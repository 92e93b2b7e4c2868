// Package wire converts between the messages of the wire (proto/viewline/v1) and the words of transactions
// (txn). What comes in is checked whole before anything else sees it: every limit, every order, every
// reference of one field to another.
//
// The clerk and the shard server may import it. Its functions are pure; byte slices are shared, not copied.
package wire
