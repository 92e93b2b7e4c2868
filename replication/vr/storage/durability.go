package storage

import "github.com/viewline/viewline/replication/vr/core"

// Durability is what a crash may take away. In all three, view-number and last-normal view are on the disk before
// the Write that has them returns, and so is everything written before them.
type Durability = core.Durability

const (
	// DurabilitySync means that a Write with Sync is on the disk when it returns. A power cut of every replica loses nothing.
	DurabilitySync = core.DurabilitySync
	// DurabilityAsync means that a Write without Sync is on the disk 100 ms or 4 MiB later. A crash loses the newest
	// ones; what is left is always one of the states that the storage was in.
	DurabilityAsync = core.DurabilityAsync
	// DurabilityMemory means that log and checkpoint are in memory. MarkClean writes them out; a crash loses all of
	// them.
	DurabilityMemory = core.DurabilityMemory

	durabilities = DurabilityMemory + 1
)

// life is how far a log is in its own.
type life uint8

const (
	// lifeFresh: nothing was ever written to it.
	lifeFresh life = iota
	// lifeRunning: it is written to, or was when it ended.
	lifeRunning
	// lifeClean: it ended with MarkClean.
	lifeClean

	lives
)

// mark says by which durability a log was last written, and whether it is whole. It is a record of replica.db, and
// changes in the same transaction as the log and the hard state: it cannot say anything of another state of them.
type mark struct {
	durability Durability
	life       life
}

// whole: what was written is there.
func (m mark) whole() bool { return m.durability == DurabilitySync || m.life != lifeRunning }

// unmarked is the mark of a log of version 1, which was written in sync.
func unmarked(fresh bool) mark {
	if fresh {
		return mark{durability: DurabilitySync, life: lifeFresh}
	}
	return mark{durability: DurabilitySync, life: lifeRunning}
}
