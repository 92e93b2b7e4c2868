package vr

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// The values that stand for fields of Options that are 0.
const (
	TickIntervalDefault         = 10 * time.Millisecond
	HeartbeatIntervalDefault    = 50 * time.Millisecond
	ViewChangeTimeoutMinDefault = 300 * time.Millisecond
	ViewChangeTimeoutMaxDefault = 600 * time.Millisecond
	LeaseMarginPercentDefault   = 10
	ResendIntervalDefault       = 100 * time.Millisecond
	FetchTimeoutDefault         = 5 * time.Second
	HoldTimeoutDefault          = 30 * time.Second
	HoldCheckpointsMaxDefault   = 4
	FetchDutyPercentDefault     = 20
	CheckpointEveryDefault      = 1 << 16
	CheckpointBytesDefault      = 64 << 20
	OperationBytesMaxDefault    = 20 << 20
	QueueMaxDefault             = 1 << 16
	QueueBytesMaxDefault        = 64 << 20
	ReadsMaxDefault             = 1 << 16
	MessagesMaxDefault          = 1 << 14
	MessagesBytesMaxDefault     = 64 << 20
)

// ServeBytesPerSecondMin is the least pace at which checkpoints are served: a chunk a second.
const ServeBytesPerSecondMin = 256 << 10

// Options describes one replica of one group.
type Options struct {
	// Group is for messages to people only; the transport knows its group.
	Group replication.GroupID
	// Cluster tells the storages of one cluster from those of another; all zero: they are not told apart.
	Cluster [16]byte
	// Incarnation is this replica's life: 0 in the first. Whoever has lost its storage, or has an old copy of it, has
	// forgotten what it promised: it is opened with a larger one than its group has of it, and takes part when the group
	// has committed members that name it.
	Incarnation uint64
	// Witness is the one of Members that has no state machine; 0: none. It holds log entries and counts in every quorum, and
	// there are one to three others beside it. All replicas that the group begins with name the same one; one that joins as
	// a witness names itself.
	Witness replication.ReplicaID
	// Self is this replica, one of Members. All replicas that the group begins with have the same Members, 1 to 63. A
	// replica whose storage knows of a later epoch goes by the members of that one: the options stay as they were.
	Self    replication.ReplicaID
	Members []replication.ReplicaID
	// Joining: the group exists and this replica is to become a member of it, by Reconfigure. Self is above every id that
	// was ever a member's, and Members are those to ask, of the present epoch or of one that is still reached. It stays
	// set when the replica has become a member.
	Joining bool

	// Transport carries messages to the other members. It may be nil in a group of one.
	Transport Transport
	// Storage is the replica's own. The replica closes it when it is closed; when Open fails, the caller does.
	Storage Storage
	// Durability is what the storage was opened with; zero: DurabilitySync.
	Durability Durability
	// RefuseDamage has Open fail when a part of the log or of the checkpoint is damaged, with an ErrDamaged that says
	// what, and leaves the storage as it is: for those who want to look first. Otherwise the replica recovers from the
	// other members and takes part in nothing meanwhile; it counts as one of the f that may fail.
	RefuseDamage bool
	// StateMachine is what the group replicates, in the state before operation 1. Open restores it from the
	// newest checkpoint. nil for a witness.
	StateMachine replication.StateMachine
	// Logger gets changes of view, checkpoints and failures. nil: nothing is logged.
	Logger *slog.Logger
	// Trace gets every message and every change of the replica's state, in the order in which they happen, on the
	// replica's own goroutine: it must return soon and call nothing of the replica. It is there for pictures of a
	// running group (the visualiser), tests and debugging. nil, as usual, costs nothing.
	Trace func(TraceEvent)

	// TickInterval is the unit of the intervals below; each is rounded up to a multiple of it.
	TickInterval time.Duration
	// HeartbeatInterval is how often an idle primary gives a sign of life.
	HeartbeatInterval time.Duration
	// A backup takes the primary for lost after a time drawn between these two, the first above
	// HeartbeatInterval.
	ViewChangeTimeoutMin, ViewChangeTimeoutMax time.Duration
	// LeaseDuration is for how long a backup that has answered the primary leaves it for no other; the primary answers
	// reads by itself meanwhile, and less. 0: two thirds of ViewChangeTimeoutMin; negative: every read takes a round of
	// messages. It is less than ViewChangeTimeoutMin, so that a lost primary is replaced as soon as without leases, and
	// above HeartbeatInterval to be of any use. It may differ among the replicas of a group; ViewChangeTimeoutMin may
	// not, where leases are on.
	LeaseDuration time.Duration
	// LeaseMarginPercent is by how many hundredths less the primary counts on a lease than was granted: no replica's
	// clock may be slower than another's by more than that. The ages of stale reads go by it too, with leases and without.
	// 0: 10; at most 90.
	LeaseMarginPercent int
	// ResendInterval is how long an answer is waited for before the question is sent again.
	ResendInterval time.Duration
	// FetchTimeout is how long a checkpoint that is being fetched may stand still. Then it is asked for again, from
	// where it stopped.
	FetchTimeout time.Duration
	// FetchDutyPercent is for how much of the time a checkpoint that is being fetched may keep this replica's disk busy:
	// the fsyncs of the log, and of other replicas on the same disk, find it free in the rest, and a fast disk makes a
	// fast fetch. 0: 20; at most 100, as fast as it goes.
	FetchDutyPercent int
	// A checkpoint that another replica fetches here is kept, with the log above it, though newer ones take its place:
	// until nobody has read it for HoldTimeout, or HoldCheckpointsMax newer ones have been written.
	HoldTimeout        time.Duration
	HoldCheckpointsMax int
	// ServeBytesPerSecond bounds what this replica gives others of its checkpoints, all of them together, so that its disk
	// and theirs have time for the log; at least ServeBytesPerSecondMin. 0: as fast as it goes.
	ServeBytesPerSecond int

	// A checkpoint is written after CheckpointEvery operations or CheckpointBytes bytes of operations,
	// whichever comes first. The log is kept for one checkpoint more.
	CheckpointEvery uint64
	CheckpointBytes int

	// OperationBytesMax is the largest operation; a larger one is refused with replication.ErrTooLarge.
	OperationBytesMax int
	// QueueMax and QueueBytesMax bound the operations that were submitted and not answered; more are refused
	// with replication.ErrOverloaded. QueueBytesMax is at least OperationBytesMax.
	QueueMax, QueueBytesMax int
	// ReadsMax bounds the read barriers that wait, and the stale reads.
	ReadsMax int
	// MessagesMax and MessagesBytesMax bound the messages that were received and not handled; more are dropped.
	MessagesMax, MessagesBytesMax int
	// BatchEntriesMax and BatchBytesMax bound the entries of one message, InFlightMax the PREPAREs that a
	// backup has not acknowledged. 0: the core's own choice.
	BatchEntriesMax, BatchBytesMax, InFlightMax int

	// Seed makes the time-outs that this replica draws repeatable; 0: drawn at random.
	Seed uint64
}

// Validate returns an ErrOptions that names what is wrong, or nil.
func (o Options) Validate() error {
	switch {
	case o.Storage == nil:
		return fmt.Errorf("%w: no Storage", ErrOptions)
	case o.Transport == nil && (len(o.Members) > 1 || o.Joining):
		return fmt.Errorf("%w: no Transport in a group of %d", ErrOptions, len(o.Members))
	}
	if err := o.validateState(); err != nil {
		return err
	}
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"TickInterval", int64(o.TickInterval)},
		{"HeartbeatInterval", int64(o.HeartbeatInterval)},
		{"ViewChangeTimeoutMin", int64(o.ViewChangeTimeoutMin)},
		{"ViewChangeTimeoutMax", int64(o.ViewChangeTimeoutMax)},
		{"ResendInterval", int64(o.ResendInterval)},
		{"FetchTimeout", int64(o.FetchTimeout)},
		{"FetchDutyPercent", int64(o.FetchDutyPercent)},
		{"HoldTimeout", int64(o.HoldTimeout)},
		{"HoldCheckpointsMax", int64(o.HoldCheckpointsMax)},
		{"ServeBytesPerSecond", int64(o.ServeBytesPerSecond)},
		{"CheckpointBytes", int64(o.CheckpointBytes)},
		{"OperationBytesMax", int64(o.OperationBytesMax)},
		{"QueueMax", int64(o.QueueMax)},
		{"QueueBytesMax", int64(o.QueueBytesMax)},
		{"ReadsMax", int64(o.ReadsMax)},
		{"LeaseMarginPercent", int64(o.LeaseMarginPercent)},
		{"MessagesMax", int64(o.MessagesMax)},
		{"MessagesBytesMax", int64(o.MessagesBytesMax)},
		{"BatchEntriesMax", int64(o.BatchEntriesMax)},
		{"BatchBytesMax", int64(o.BatchBytesMax)},
		{"InFlightMax", int64(o.InFlightMax)},
	} {
		if field.value < 0 {
			return fmt.Errorf("%w: %s is negative", ErrOptions, field.name)
		}
	}
	if o = o.withDefaults(); o.QueueBytesMax < o.OperationBytesMax {
		return fmt.Errorf("%w: QueueBytesMax %d is less than OperationBytesMax %d", ErrOptions, o.QueueBytesMax, o.OperationBytesMax)
	}
	if pace := o.ServeBytesPerSecond; pace != 0 && pace < ServeBytesPerSecondMin {
		return fmt.Errorf("%w: ServeBytesPerSecond %d is less than %d", ErrOptions, pace, ServeBytesPerSecondMin)
	}
	if o.FetchDutyPercent > 100 {
		return fmt.Errorf("%w: FetchDutyPercent %d is more than 100", ErrOptions, o.FetchDutyPercent)
	}
	if err := o.validateLeases(); err != nil {
		return err
	}
	if err := o.core().Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

func (o Options) withDefaults() Options {
	setDefault(&o.TickInterval, TickIntervalDefault)
	setDefault(&o.HeartbeatInterval, HeartbeatIntervalDefault)
	setDefault(&o.ViewChangeTimeoutMin, ViewChangeTimeoutMinDefault)
	setDefault(&o.ViewChangeTimeoutMax, max(ViewChangeTimeoutMaxDefault, 2*o.ViewChangeTimeoutMin))
	setDefault(&o.LeaseDuration, o.ViewChangeTimeoutMin*2/3)
	setDefault(&o.LeaseMarginPercent, LeaseMarginPercentDefault)
	setDefault(&o.ResendInterval, ResendIntervalDefault)
	setDefault(&o.FetchTimeout, FetchTimeoutDefault)
	setDefault(&o.FetchDutyPercent, FetchDutyPercentDefault)
	setDefault(&o.HoldTimeout, HoldTimeoutDefault)
	setDefault(&o.HoldCheckpointsMax, HoldCheckpointsMaxDefault)
	setDefault(&o.CheckpointEvery, CheckpointEveryDefault)
	setDefault(&o.CheckpointBytes, CheckpointBytesDefault)
	setDefault(&o.OperationBytesMax, OperationBytesMaxDefault)
	setDefault(&o.QueueMax, QueueMaxDefault)
	setDefault(&o.QueueBytesMax, max(QueueBytesMaxDefault, o.OperationBytesMax))
	setDefault(&o.ReadsMax, ReadsMaxDefault)
	setDefault(&o.MessagesMax, MessagesMaxDefault)
	setDefault(&o.MessagesBytesMax, MessagesBytesMaxDefault)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	if o.Transport == nil {
		o.Transport = alone{}
	}
	if o.isWitness() && o.StateMachine == nil {
		o.StateMachine = nothing{}
	}
	return o
}

func setDefault[T int | uint64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// core translates the options, with defaults in place, for the core.
func (o Options) core() core.Config {
	ticks := func(d time.Duration) int { return int((d + o.TickInterval - 1) / o.TickInterval) }
	members := make([]core.ReplicaID, len(o.Members))
	for i, member := range o.Members {
		members[i] = core.ReplicaID(member)
	}
	slices.Sort(members)
	return core.Config{
		Self:               core.ReplicaID(o.Self),
		Incarnation:        o.Incarnation,
		FirstWitness:       core.ReplicaID(o.firstWitness()),
		Witness:            o.isWitness(),
		Members:            members,
		Joining:            o.Joining,
		Rand:               rand.NewPCG(o.Seed, uint64(o.Self)).Uint64,
		HeartbeatTicks:     ticks(o.HeartbeatInterval),
		ViewChangeTicksMin: ticks(o.ViewChangeTimeoutMin),
		ViewChangeTicksMax: ticks(o.ViewChangeTimeoutMax),
		ResendTicks:        ticks(o.ResendInterval),
		InFlightMax:        o.InFlightMax,
		BatchEntriesMax:    o.BatchEntriesMax,
		BatchBytesMax:      o.BatchBytesMax,
		ProposalsBytesMax:  o.QueueBytesMax,
		ReadsMax:           o.ReadsMax,
		Durability:         o.Durability,
		LeaseDuration:      uint64(max(o.LeaseDuration, 0)),
		LeaseMargin:        uint64(o.leaseMargin()),
		LeaseLongest:       uint64(o.ViewChangeTimeoutMin),
		ClockMargin:        o.clockMargin(),
	}
}
