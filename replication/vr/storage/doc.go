// Package storage keeps one replica's log, hard state and checkpoints: on disk (Disk), in memory (Memory), and
// with faults injected into either (Failing). All three are a vr.Storage.
//
// On disk a replica is one bbolt file, replica.db, and one file for its newest checkpoint; docs/FORMATS.md has
// every byte. What is damaged is never dropped: whatever does not verify is a *DamageError that names the file
// and the op-number, and the replica stays out. An empty directory is never taken for an empty log: Create
// makes the log, once, and Open refuses where there is none.
//
// Load and Write belong to one goroutine; the checkpoint methods may be called beside them and beside each
// other. The driver (replication/vr) uses a storage through vr.Storage; who constructs one may import this.
package storage
