package vr

import (
	"fmt"

	"github.com/viewline/viewline/replication/vr/core"
)

// Durability is what a crash may take of a replica's log; all replicas of a group have the same.
//
//	sync      an operation is acknowledged when f+1 replicas have it on their disks: a power cut of all loses nothing
//	async     when f+1 have it in memory; disks follow within 100 ms: up to f replicas may crash at a time
//	memory    the same, and disks have it only after a clean stop
//
// In async and memory a replica that did not stop cleanly recovers from the others before it takes part (VRR 4.3), and
// f+1 others have to be up for that. When more than f have lost something at once the group stays stopped.
type Durability = core.Durability

// The durabilities. The zero value is DurabilitySync.
const (
	DurabilitySync   = core.DurabilitySync
	DurabilityAsync  = core.DurabilityAsync
	DurabilityMemory = core.DurabilityMemory
)

// ParseDurability reads the name that Durability.String writes. Its error is an ErrOptions.
func ParseDurability(name string) (Durability, error) {
	for durability := DurabilitySync; durability <= DurabilityMemory; durability++ {
		if durability.String() == name {
			return durability, nil
		}
	}
	return 0, fmt.Errorf("%w: durability %q, there are sync, async and memory", ErrOptions, name)
}

// mayLack reports whether a log that was loaded may lack what this replica acknowledged.
func (o Options) mayLack(loaded *Loaded) bool {
	return o.Durability != DurabilitySync && !loaded.Fresh && !loaded.Clean
}
