package raft

import "fmt"

// Durability is what a crash may take of a replica's log; all replicas of a group have the same.
//
//	sync      an operation is acknowledged when a majority has it on its disks: a power cut of all loses nothing
//	memory    when a majority has it in memory, and on disk is only what Raft may never forget, term and vote: up to f
//	          replicas may crash at a time; after Close everything is on disk
//
// There is no async as there is for Viewstamped Replication: hashicorp/raft acknowledges what it has handed to its log
// store, and has no protocol for a replica that has forgotten the end of its log.
type Durability uint8

// The durabilities. The zero value is DurabilitySync.
const (
	DurabilitySync Durability = iota
	DurabilityMemory
	durabilities
)

// String is the name on the command line and in Status.
func (d Durability) String() string {
	switch d {
	case DurabilitySync:
		return "sync"
	case DurabilityMemory:
		return "memory"
	default:
		return fmt.Sprintf("durability %d", uint8(d))
	}
}

// ParseDurability reads the name that String writes. Its error is an ErrOptions.
func ParseDurability(name string) (Durability, error) {
	for durability := range durabilities {
		if durability.String() == name {
			return durability, nil
		}
	}
	if name == "async" {
		return 0, fmt.Errorf("%w: durability async is for Viewstamped Replication only; Raft has sync and memory", ErrOptions)
	}
	return 0, fmt.Errorf("%w: durability %q, Raft has sync and memory", ErrOptions, name)
}
