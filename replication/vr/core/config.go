package core

import (
	"errors"
	"fmt"
	"slices"

	"github.com/viewline/viewline/internal/omit"
)

// MembersMax bounds the size of a group.
const MembersMax = 63

// leaseMax bounds the length of a lease, 36 years, so that no clock can run over with it.
const leaseMax = 1 << 60

// Errors that Propose, ReadBarrier and Step return. All say that the call had no effect.
var (
	ErrConfig     = errors.New("vr: bad configuration")
	ErrRestored   = errors.New("vr: restored state contradicts itself")
	ErrNotPrimary = errors.New("vr: not the leading primary of that view")
	ErrOverloaded = errors.New("vr: too much is waiting")
	ErrStopped    = errors.New("vr: replica has stopped")
	// ErrRefused is what Step returns for a message that no correct member sends.
	ErrRefused = errors.New("vr: message refused")
	// ErrStranger and ErrViewNumber say why, beside ErrRefused: it is not between members of the group, or names a view
	// that no group ever reaches.
	ErrStranger   = errors.New("not between members")
	ErrViewNumber = errors.New("impossible view-number")
)

// Config is what a replica is made with. Times are in ticks, the unit of Tick.
type Config struct {
	Self ReplicaID
	// Members are the replicas of the group's first epoch, ascending, 1 to 63 of them, Self included. Primary of view v
	// is number v mod n of them. A replica whose storage knows the members of an epoch goes by those.
	Members []ReplicaID
	// Joining: this replica is to become a member of a group that exists. Until then it asks Members, who may be those
	// of any epoch, Self among them or not.
	Joining bool
	// FirstWitness is the one of Members that has no state machine, in the group's first epoch; 0: none. Beside it there are
	// 1 to 3 others.
	FirstWitness ReplicaID
	// Witness: this replica has no state machine. It is FirstWitness, or joins as a witness.
	Witness bool
	// Incarnation is this replica's, as its storage has it: it is a member of the epochs that name this one, and joins
	// those that name an earlier one. 0 in the first life.
	Incarnation uint64
	// Rand draws time-outs and nonces.
	Rand func() uint64

	// HeartbeatTicks is how often an idle primary sends COMMIT. Default 5.
	HeartbeatTicks int
	// ViewChangeTicksMin and Max bound the time-out after which a backup takes the primary for lost; it is
	// drawn anew each time. Min must be above HeartbeatTicks. Defaults 30 and 60.
	ViewChangeTicksMin, ViewChangeTicksMax int
	// ResendTicks is how long a message that has to be answered waits for its answer. Default 10.
	ResendTicks int
	// InFlightMax bounds the PREPAREs that a backup has not acknowledged. Default 64.
	InFlightMax int
	// BatchEntriesMax and BatchBytesMax bound the entries of one message; a larger entry travels alone.
	// Defaults 1024 and 1 MiB.
	BatchEntriesMax, BatchBytesMax int
	// ProposalsBytesMax bounds the payloads that are proposed and not committed. Default 64 MiB.
	ProposalsBytesMax int
	// RetainedBytesMax bounds the payloads of the log in a group that has witnesses: more is not proposed. It is kept for the
	// active member whose checkpoint is the oldest. Default 1 GiB.
	RetainedBytesMax int
	// ReadsMax bounds the read barriers that wait. Default 65536.
	ReadsMax int

	// The times of leases are in the unit of SetTime, nanoseconds, and 0 as they stand, with no default.
	//
	// LeaseDuration is how long a backup's grant of a lease lasts; 0: this primary asks for none, and every read
	// takes a round. LeaseMargin is by how much less the primary counts on it: as much as two replicas' clocks may
	// come apart in that time. LeaseLongest bounds what a backup grants, and is for how long a replica holds back from
	// view changes after a start; no replica of the group may have granted for longer, in this life or the one before.
	LeaseDuration, LeaseMargin, LeaseLongest uint64
	// Now is what the clock shows when the replica is made.
	Now uint64
	// ClockMargin is by how much a replica's clock may be slower than another's, for the age of stale reads; at most 900.
	ClockMargin ClockMargin
	// Clock is a number for the clock that SetTime tells of, and for no other: a process that starts anew has another one,
	// which may show anything.
	Clock uint64

	// Durability is what the driver's storage does: outside of DurabilitySync only what promises a view must reach the
	// disk before the messages that depend on it.
	Durability Durability

	// Omit takes rules out, for tests only.
	Omit omit.Set
}

func (c Config) withDefaults() Config {
	for _, field := range []struct {
		value    *int
		standard int
	}{
		{&c.HeartbeatTicks, 5},
		{&c.ViewChangeTicksMin, 30},
		{&c.ViewChangeTicksMax, 60},
		{&c.ResendTicks, 10},
		{&c.InFlightMax, 64},
		{&c.BatchEntriesMax, 1024},
		{&c.BatchBytesMax, 1 << 20},
		{&c.ProposalsBytesMax, 64 << 20},
		{&c.ReadsMax, 65536},
		{&c.RetainedBytesMax, 1 << 30},
	} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	return c
}

// Validate names the first thing that is wrong, as an ErrConfig, or returns nil.
func (c Config) Validate() error {
	c = c.withDefaults()
	if len(c.Members) == 0 || len(c.Members) > MembersMax {
		return fmt.Errorf("%w: %d members, need 1 to %d", ErrConfig, len(c.Members), MembersMax)
	}
	if !ascending(c.Members) {
		return fmt.Errorf("%w: members %v do not ascend from 1", ErrConfig, c.Members)
	}
	if c.Joining && (c.Self == 0 || len(c.Members) == 1 && c.Members[0] == c.Self) {
		return fmt.Errorf("%w: replica %d joins nobody", ErrConfig, c.Self)
	}
	if !c.Joining && !slices.Contains(c.Members, c.Self) {
		return fmt.Errorf("%w: replica %d is not among the members %v", ErrConfig, c.Self, c.Members)
	}
	if c.Incarnation > incarnationMax || c.Incarnation > 0 && len(c.Members) == 1 && c.Members[0] == c.Self {
		return fmt.Errorf("%w: incarnation %d of replica %d of %v", ErrConfig, c.Incarnation, c.Self, c.Members)
	}
	if err := c.validateWitness(); err != nil {
		return err
	}
	if c.Durability > DurabilityMemory {
		return fmt.Errorf("%w: %v", ErrConfig, c.Durability)
	}
	if c.Rand == nil {
		return fmt.Errorf("%w: no source of randomness", ErrConfig)
	}
	if c.HeartbeatTicks < 1 || c.HeartbeatTicks >= c.ViewChangeTicksMin || c.ViewChangeTicksMin > c.ViewChangeTicksMax {
		return fmt.Errorf("%w: heartbeat %d, view change %d to %d ticks: they have to ascend", ErrConfig,
			c.HeartbeatTicks, c.ViewChangeTicksMin, c.ViewChangeTicksMax)
	}
	if c.ResendTicks < 1 || c.InFlightMax < 1 || c.BatchEntriesMax < 1 || c.BatchBytesMax < 1 || c.ProposalsBytesMax < 1 || c.ReadsMax < 1 || c.RetainedBytesMax < 1 {
		return fmt.Errorf("%w: a bound below 1", ErrConfig)
	}
	if c.LeaseDuration > c.LeaseLongest || c.LeaseDuration > 0 && c.LeaseMargin >= c.LeaseDuration || c.LeaseLongest > leaseMax {
		return fmt.Errorf("%w: lease of %d less %d, at most %d and %d: they have to ascend", ErrConfig,
			c.LeaseDuration, c.LeaseMargin, c.LeaseLongest, uint64(leaseMax))
	}
	if c.ClockMargin > clockMarginMax {
		return fmt.Errorf("%w: a clock margin of %d thousandths, at most %d", ErrConfig, c.ClockMargin, clockMarginMax)
	}
	return nil
}

func (c Config) validateWitness() error {
	first := Membership{}
	for _, id := range c.Members {
		first.Members = append(first.Members, Member{ID: id, Witness: id == c.FirstWitness})
	}
	if err := first.checkMembers(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if c.FirstWitness != 0 && !first.Has(c.FirstWitness) || !c.Joining && c.Incarnation == 0 && c.Witness != (c.Self == c.FirstWitness) {
		return fmt.Errorf("%w: the witness of %v is replica %d; that replica %d is one: %v", ErrConfig, c.Members, c.FirstWitness, c.Self, c.Witness)
	}
	return nil
}

// Restored is what a replica's storage held when it started; all zero the first time.
type Restored struct {
	HardState HardState
	// Checkpoint is the newest durable one; the state machine has been restored from it.
	Checkpoint CheckpointMeta
	// Entries are the retained log, without a gap.
	Entries []Entry
	// Recover: what this replica acknowledged may be missing, so that it recovers from the others (VRR 4.3). The
	// driver says so after a start in DurabilityAsync or DurabilityMemory, unless the last end was clean or nothing
	// was ever stored.
	Recover bool
	// Damaged: a part of the log or the checkpoint does not verify, and what is here is what is left without it. The
	// replica recovers too, and the first change of its storage is a Ready with Replace.
	Damaged bool
}
