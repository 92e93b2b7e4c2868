// Package history owns what one shard knows: the versions of its objects, the history line of prepared
// transactions, the read stamps, the decision records and the horizons. State is the replicated part, a
// deterministic machine that every replica of the shard's group runs over the same log. Front is the volatile
// part that only the group's primary has: what is in flight, which snapshots were read, and who waits.
//
// The rules are those of Adya, Gruber, Liskov and Maheshwari (SIGMOD 1995) with the check against later
// transactions in full, versions in timestamp order, and two-phase commit without a decision group: a
// transaction is committed the moment every participant has logged it prepared. Every rule has a number in
// rules.go and a test that shows the damage without it.
//
// The shard server and the simulator may import this package. It has no goroutine, no clock and no I/O. A
// State and its Front belong to one goroutine at a time; the methods of State that only read may run beside
// each other, and a Snapshot may be read beside everything.
package history
