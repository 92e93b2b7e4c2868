// Package txn owns the words that every part of viewline's transactions shares: timestamps, transaction and
// attempt ids, read sets (ROS) and write sets (MOS), verdicts, and the one table of limits.
//
// Every room may import it; it imports nothing of ours and does nothing but hold values, so all of it is
// safe to use from many goroutines as long as nobody changes a value that is shared.
package txn
