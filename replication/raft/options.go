package raft

import (
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// The values that stand for fields of Options that are 0.
const (
	ViewChangeTimeoutDefault  = 300 * time.Millisecond
	CommitIntervalDefault     = 50 * time.Millisecond
	RequestTimeoutDefault     = time.Second
	FetchTimeoutDefault       = 5 * time.Second
	CheckpointEveryDefault    = 1 << 16
	CheckpointBytesDefault    = 64 << 20
	OperationBytesMaxDefault  = 20 << 20
	QueueMaxDefault           = 1 << 16
	QueueBytesMaxDefault      = 64 << 20
	ReadsMaxDefault           = 1 << 16
	MessagesMaxDefault        = 1 << 10
	MessagesBytesMaxDefault   = 64 << 20
	BatchEntriesMaxDefault    = 512
	BatchBytesMaxDefault      = 1 << 20
	InFlightMaxDefault        = 4
	EntryCacheBytesMaxDefault = 16 << 20
)

const (
	// batchEntriesMax is hashicorp/raft's own bound.
	batchEntriesMax = 1024
)

// Options describes one replica of one group.
type Options struct {
	// Group is for messages to people, and whose the storage is; the transport knows its group.
	Group replication.GroupID
	// Cluster tells the storages of one cluster from those of another; all zero: they are not told apart.
	Cluster [16]byte
	// Incarnation is this replica's life: 0 in the first. Whoever has lost its storage, or has an old copy of it, has
	// forgotten what it promised: it is opened with a larger one than its group has of it, on a new storage, and takes part
	// when the group has committed members that name it.
	Incarnation uint64
	// Self is this replica, one of Members. All replicas that the group begins with have the same Members, 1 to 63. They
	// stay as they were when the members change: a replica goes by its log.
	Self    replication.ReplicaID
	Members []replication.ReplicaID
	// Joining: the group exists and this replica is to become a member of it, by Reconfigure. Self is above every id that
	// was ever a member's, and Members are those to ask, of the present epoch or of one that is still reached. It stays
	// set when the replica has become a member.
	Joining bool

	// Transport carries messages to the other members. It may be nil in a group of one.
	Transport Transport
	// Storage is the replica's own. The replica closes it when it is closed; when Open fails, the caller does.
	Storage *Storage
	// Durability is what the storage was opened with; zero: DurabilitySync.
	Durability Durability
	// StateMachine is what the group replicates, in the state before operation 1. Open restores it from the newest
	// snapshot.
	StateMachine replication.StateMachine
	// Logger gets elections, snapshots and failures; what hashicorp/raft itself says is in it at Debug, its warnings at
	// most once a minute each. nil: nothing is logged.
	Logger *slog.Logger

	// ViewChangeTimeout: a follower that hears nothing for a time between this and twice this starts an election, which it
	// repeats after as long; a leader that hears no majority for as long steps down. Heartbeats come every tenth. An
	// election writes twice to the disk of who stands and then of those who vote: where that takes longer than this, none
	// comes to its end. At least 10 ms.
	ViewChangeTimeout time.Duration
	// CommitInterval is how soon an idle leader tells the others how far it has committed.
	CommitInterval time.Duration
	// RequestTimeout is how long a call to another replica may take.
	RequestTimeout time.Duration
	// FetchTimeout is how long a snapshot that is being fetched may stand still.
	FetchTimeout time.Duration

	// A snapshot is written after CheckpointEvery operations or CheckpointBytes bytes of operations, whichever comes
	// first. The log is kept for one snapshot more.
	CheckpointEvery uint64
	CheckpointBytes int

	// OperationBytesMax is the largest operation; a larger one is refused with replication.ErrTooLarge.
	OperationBytesMax int
	// QueueMax and QueueBytesMax bound the operations that were submitted and not answered; more are refused with
	// replication.ErrOverloaded. QueueBytesMax is at least OperationBytesMax.
	QueueMax, QueueBytesMax int
	// ReadsMax bounds the read barriers that wait.
	ReadsMax int
	// MessagesMax and MessagesBytesMax bound the messages that were received and not handled; more are dropped.
	MessagesMax, MessagesBytesMax int
	// BatchEntriesMax and BatchBytesMax bound the entries of one message and of one write to the log, but that one entry
	// may be larger; InFlightMax, at least 2, the messages with entries that a follower has not answered. BatchEntriesMax
	// is at most 1,024.
	BatchEntriesMax, BatchBytesMax, InFlightMax int
	// EntryCacheBytesMax bounds the newest entries that are kept in memory beside the log store, for those who are sent
	// them and for those who apply them.
	EntryCacheBytesMax int
}

// Validate returns an ErrOptions that names what is wrong, or nil.
func (o Options) Validate() error {
	members := slices.Sorted(slices.Values(o.Members))
	switch {
	case o.Storage == nil:
		return fmt.Errorf("%w: no Storage", ErrOptions)
	case o.StateMachine == nil:
		return fmt.Errorf("%w: no StateMachine", ErrOptions)
	case len(members) < 1 || len(members) > membersMax:
		return fmt.Errorf("%w: %d members, from 1 to %d are possible", ErrOptions, len(members), membersMax)
	case members[0] == 0 || len(slices.Compact(slices.Clone(members))) < len(members):
		return fmt.Errorf("%w: members %v: ids begin at 1 and each is there once", ErrOptions, members)
	case o.Self == 0 || !o.joins() && !slices.Contains(members, o.Self):
		return fmt.Errorf("%w: %d is not among the members %v", ErrOptions, o.Self, members)
	case o.Transport == nil && (len(members) > 1 || o.joins()):
		return fmt.Errorf("%w: no Transport in a group of %d", ErrOptions, len(members))
	case o.Durability >= durabilities:
		return fmt.Errorf("%w: there is no %v", ErrOptions, o.Durability)
	}
	if err := o.validateNumbers(); err != nil {
		return err
	}
	o = o.withDefaults()
	switch {
	case o.QueueBytesMax < o.OperationBytesMax:
		return fmt.Errorf("%w: QueueBytesMax %d is less than OperationBytesMax %d", ErrOptions, o.QueueBytesMax, o.OperationBytesMax)
	case o.BatchEntriesMax > batchEntriesMax:
		return fmt.Errorf("%w: BatchEntriesMax %d is more than %d", ErrOptions, o.BatchEntriesMax, batchEntriesMax)
	case o.InFlightMax < 2:
		return fmt.Errorf("%w: InFlightMax %d is less than 2", ErrOptions, o.InFlightMax)
	}
	if err := hraft.ValidateConfig(o.config()); err != nil {
		return fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return nil
}

// joins reports whether the group existed when this replica, in this life, was made.
func (o Options) joins() bool { return o.Joining || o.Incarnation > 0 }

func (o Options) self() peer { return peer{o.Self, o.Incarnation} }

func (o Options) validateNumbers() error {
	for _, field := range []struct {
		name  string
		value int64
	}{
		{"ViewChangeTimeout", int64(o.ViewChangeTimeout)},
		{"CommitInterval", int64(o.CommitInterval)},
		{"RequestTimeout", int64(o.RequestTimeout)},
		{"FetchTimeout", int64(o.FetchTimeout)},
		{"CheckpointBytes", int64(o.CheckpointBytes)},
		{"OperationBytesMax", int64(o.OperationBytesMax)},
		{"QueueMax", int64(o.QueueMax)},
		{"QueueBytesMax", int64(o.QueueBytesMax)},
		{"ReadsMax", int64(o.ReadsMax)},
		{"MessagesMax", int64(o.MessagesMax)},
		{"MessagesBytesMax", int64(o.MessagesBytesMax)},
		{"BatchEntriesMax", int64(o.BatchEntriesMax)},
		{"BatchBytesMax", int64(o.BatchBytesMax)},
		{"InFlightMax", int64(o.InFlightMax)},
		{"EntryCacheBytesMax", int64(o.EntryCacheBytesMax)},
	} {
		if field.value < 0 {
			return fmt.Errorf("%w: %s is negative", ErrOptions, field.name)
		}
	}
	return nil
}

func (o Options) withDefaults() Options {
	setDefault(&o.ViewChangeTimeout, ViewChangeTimeoutDefault)
	setDefault(&o.CommitInterval, CommitIntervalDefault)
	setDefault(&o.RequestTimeout, RequestTimeoutDefault)
	setDefault(&o.FetchTimeout, FetchTimeoutDefault)
	setDefault(&o.CheckpointEvery, CheckpointEveryDefault)
	setDefault(&o.CheckpointBytes, CheckpointBytesDefault)
	setDefault(&o.OperationBytesMax, OperationBytesMaxDefault)
	setDefault(&o.QueueMax, QueueMaxDefault)
	setDefault(&o.QueueBytesMax, max(QueueBytesMaxDefault, o.OperationBytesMax))
	setDefault(&o.ReadsMax, ReadsMaxDefault)
	setDefault(&o.MessagesMax, MessagesMaxDefault)
	setDefault(&o.MessagesBytesMax, MessagesBytesMaxDefault)
	setDefault(&o.BatchEntriesMax, BatchEntriesMaxDefault)
	setDefault(&o.BatchBytesMax, BatchBytesMaxDefault)
	setDefault(&o.InFlightMax, InFlightMaxDefault)
	setDefault(&o.EntryCacheBytesMax, EntryCacheBytesMaxDefault)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Transport == nil {
		o.Transport = alone{}
	}
	return o
}

func setDefault[T int | uint64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// never is longer than any process runs.
const never = 100 * 365 * 24 * time.Hour

// config translates the options, with defaults in place, for hashicorp/raft. It writes no snapshot of its own accord:
// this package says when.
func (o Options) config() *hraft.Config {
	config := hraft.DefaultConfig()
	config.LocalID = o.self().server()
	config.HeartbeatTimeout = o.ViewChangeTimeout
	config.ElectionTimeout = o.ViewChangeTimeout
	config.LeaderLeaseTimeout = o.ViewChangeTimeout
	config.CommitTimeout = o.CommitInterval
	config.MaxAppendEntries = o.BatchEntriesMax
	config.BatchApplyCh = true
	config.ShutdownOnRemove = false
	config.SnapshotInterval = never
	config.SnapshotThreshold = math.MaxUint64
	config.TrailingLogs = 0 // the guard says what is kept
	config.NoLegacyTelemetry = true
	return config
}
