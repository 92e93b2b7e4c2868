// Package storage keeps one replica's log, hard state and checkpoints: on disk (Open), in memory (Memory), and with
// faults injected into either (Failing). All are a vr.Storage.
//
// On disk a replica is one bbolt file, replica.db, and one file for its newest checkpoint; docs/FORMATS.md has every byte.
// What is damaged is never dropped: whatever does not verify is a *DamageError that names the file and the op-number.
// Damage of log entries and of the checkpoint is in Loaded.Damage, for the group to repair, and stays on the disk until a
// Batch with Replace is durable; any other keeps the replica out. An empty directory is never taken for an empty log:
// Create makes the log, once, and Open refuses where there is none. An old copy of a whole directory looks like what it is
// a copy of: no storage can tell it, only the group can.
//
// CreateLog with LogWAL makes a directory whose log is in files of its own, segments, for good: a batch of entries costs one
// fsync there, and two in replica.db. There is one exception to the above then: until replica.db knows of the last batches,
// a moment later, damage of all of them is not told from a batch that a crash has torn, and they are dropped.
//
// Options.Durability says what a crash may take:
//
//	           Write with Sync          Write without           view-number, last-normal view   a crash leaves
//	sync       durable on return        durable on return (*)   durable on return               everything
//	async      durable on return        100 ms or 4 MiB later   durable on return               an earlier state
//	memory     kept in memory           kept in memory          durable on return               the last clean end
//
// (*) But for hints: a commit-number or a removal of old entries waits for the next batch.
//
// MarkClean, before Close, makes everything durable in all three and says so in Loaded.Clean of the next Load. A log
// that a crash may have shortened is never Clean, and Open refuses it in sync with a *DurabilityError.
//
// A disk that is full costs the checkpoint that is being written, whose error is a vr.ErrNoSpace, and no more. Every
// other failed write is final: what it left is not known, nothing is written after it, and what a new Load finds is
// exactly what was durable before.
//
// Load, Write and MarkClean belong to one goroutine; the checkpoint methods may be called beside them and beside each
// other. The driver (replication/vr) uses a storage through vr.Storage; who constructs one may import this.
package storage
