package shardserver

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// The defaults of Options.
const (
	DefaultInDoubtAge          = 2 * time.Second
	DefaultReadWait            = 50 * time.Millisecond
	DefaultTerminateEarlyAfter = 10 * time.Millisecond
	DefaultThresholdLag        = 60 * time.Second
	DefaultVersionHorizonLag   = 2 * time.Minute
	DefaultRecordHorizonLag    = 10 * time.Minute
	DefaultAdvanceInterval     = time.Second
	DefaultScanInterval        = 100 * time.Millisecond
	DefaultReportInterval      = time.Second
	DefaultRedriveAge          = 10 * time.Second
	DefaultCallTimeout         = 2 * time.Second
	DefaultUnderWayBytesMax    = 256 << 20
	DefaultReplyBytesMax       = 16 << 20
	DefaultTerminationsMax     = 256
	DefaultEarlyTerminations   = 20
	DefaultWaitsMax            = 1 << 16
	DefaultInFlightMax         = 1 << 16
	DefaultHashVersionsMax     = 1 << 20
)

// Options configure a Server. Shard, Replica and Router are needed; every other zero value means the default
// named beside it.
type Options struct {
	// Shard is the number of the shard and of its group, from 1.
	Shard txn.ShardID
	// Replica is this replica's number in the group.
	Replica replication.ReplicaID
	// AddressOf says where a member of the group is reached, for redirects and for the coordinator: "" for who is no member
	// or not known. It is called from many goroutines and does not block. nil: nobody is known.
	AddressOf func(replication.ReplicaID) string
	// Router reaches the coordinator and the other shards. The Server does not close it.
	Router Router
	// Logger gets what an operator may want to know; the default drops it.
	Logger *slog.Logger

	// InDoubtAge is how long a transaction may be prepared here, by this process's clock since it saw it, before
	// the primary terminates it. 2 s.
	InDoubtAge time.Duration
	// ReadWait bounds how long a read of an update transaction waits for the writers of its keys. 50 ms.
	ReadWait time.Duration
	// TerminateEarlyAfter is how long a request waits for a prepared transaction before it has it terminated
	// early. 10 ms; negative: never.
	TerminateEarlyAfter time.Duration
	// EarlyTerminationsPerSecond bounds how many are begun so. 20.
	EarlyTerminationsPerSecond int
	// TerminationsMax bounds the terminations under way at once, of which commits without an END may be half. 256.
	TerminationsMax int
	// RedriveAge is how long a commit of several shards must be without an END, by the primary's clock since it
	// saw it, before it tells the others again. 10 s.
	RedriveAge time.Duration

	// ThresholdLag, VersionHorizonLag and RecordHorizonLag are how far behind the coordinator's timestamps the
	// primary keeps the three. The horizons' may not be smaller than the threshold's, which must be a good deal
	// more than the few seconds by which the coordinator's bound runs ahead. 60 s, 2 min, 10 min.
	ThresholdLag      time.Duration
	VersionHorizonLag time.Duration
	RecordHorizonLag  time.Duration

	// ScanInterval is how often prepared transactions are looked through. 100 ms.
	ScanInterval time.Duration
	// AdvanceInterval is how often the primary considers raising threshold and horizons. 1 s.
	AdvanceInterval time.Duration
	// ReportInterval is how often the primary reports itself to the coordinator. 1 s.
	ReportInterval time.Duration
	// CallTimeout bounds one call to the coordinator or to another shard. 2 s.
	CallTimeout time.Duration

	// UnderWayBytesMax bounds the sizes of all requests that wait for anything. 256 MiB. Answers are handed on as soon
	// as they are made; whoever takes them bounds those that wait to be read.
	UnderWayBytesMax int64
	// ReplyBytesMax bounds the values in one reply. 16 MiB.
	ReplyBytesMax int
	// WaitsMax bounds the requests that wait for transactions to be decided, InFlightMax the transactions
	// between their pre-validation and their place in the log. 65,536 each.
	WaitsMax    int
	InFlightMax int
	// HashVersionsMax is the number of versions above which Describe leaves the hash of the state out. 1,048,576.
	HashVersionsMax int
	// PreparedMax, DecisionsMax and ReadStampsMax bound the replicated state: transactions on the line, decision
	// records, read stamps. They must be the same on every replica of the shard. History's defaults.
	PreparedMax   int
	DecisionsMax  int
	ReadStampsMax int
}

// ErrOptions is what every error of Validate is.
var ErrOptions = errors.New("shardserver: bad options")

// Validate names the first thing that is wrong, or returns nil.
func (o Options) Validate() error {
	o = o.withDefaults()
	bad := func(format string, arguments ...any) error {
		return fmt.Errorf("%w: %s", ErrOptions, fmt.Sprintf(format, arguments...))
	}
	switch {
	case o.Shard == 0:
		return bad("Shard is 0, which is the coordinator's group")
	case o.Replica == 0:
		return bad("Replica is 0")
	case o.Router == nil:
		return bad("no Router")
	case o.VersionHorizonLag < o.ThresholdLag, o.RecordHorizonLag < o.ThresholdLag:
		return bad("VersionHorizonLag %v and RecordHorizonLag %v may not be smaller than ThresholdLag %v",
			o.VersionHorizonLag, o.RecordHorizonLag, o.ThresholdLag)
	}
	for _, duration := range []struct {
		name  string
		value time.Duration
	}{
		{"InDoubtAge", o.InDoubtAge},
		{"ReadWait", o.ReadWait},
		{"RedriveAge", o.RedriveAge},
		{"ThresholdLag", o.ThresholdLag},
		{"ScanInterval", o.ScanInterval},
		{"AdvanceInterval", o.AdvanceInterval},
		{"ReportInterval", o.ReportInterval},
		{"CallTimeout", o.CallTimeout},
	} {
		if duration.value <= 0 {
			return bad("%s is %v", duration.name, duration.value)
		}
	}
	for _, bound := range []struct {
		name  string
		value int64
	}{
		{"EarlyTerminationsPerSecond", int64(o.EarlyTerminationsPerSecond)},
		{"TerminationsMax", int64(o.TerminationsMax)},
		{"UnderWayBytesMax", o.UnderWayBytesMax},
		{"ReplyBytesMax", int64(o.ReplyBytesMax)},
		{"WaitsMax", int64(o.WaitsMax)},
		{"InFlightMax", int64(o.InFlightMax)},
		{"HashVersionsMax", int64(o.HashVersionsMax)},
	} {
		if bound.value < 1 {
			return bad("%s is %d", bound.name, bound.value)
		}
	}
	return nil
}

// withDefaults fills every zero field that has a default.
func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.AddressOf == nil {
		o.AddressOf = func(replication.ReplicaID) string { return "" }
	}
	for _, field := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&o.InDoubtAge, DefaultInDoubtAge},
		{&o.ReadWait, DefaultReadWait},
		{&o.TerminateEarlyAfter, DefaultTerminateEarlyAfter},
		{&o.RedriveAge, DefaultRedriveAge},
		{&o.ThresholdLag, DefaultThresholdLag},
		{&o.VersionHorizonLag, max(DefaultVersionHorizonLag, o.ThresholdLag)},
		{&o.RecordHorizonLag, max(DefaultRecordHorizonLag, o.ThresholdLag)},
		{&o.ScanInterval, DefaultScanInterval},
		{&o.AdvanceInterval, DefaultAdvanceInterval},
		{&o.ReportInterval, DefaultReportInterval},
		{&o.CallTimeout, DefaultCallTimeout},
	} {
		if *field.value == 0 {
			*field.value = field.or
		}
	}
	for _, field := range []struct {
		value *int
		or    int
	}{
		{&o.EarlyTerminationsPerSecond, DefaultEarlyTerminations},
		{&o.TerminationsMax, DefaultTerminationsMax},
		{&o.ReplyBytesMax, DefaultReplyBytesMax},
		{&o.WaitsMax, DefaultWaitsMax},
		{&o.InFlightMax, DefaultInFlightMax},
		{&o.HashVersionsMax, DefaultHashVersionsMax},
	} {
		if *field.value == 0 {
			*field.value = field.or
		}
	}
	if o.UnderWayBytesMax == 0 {
		o.UnderWayBytesMax = DefaultUnderWayBytesMax
	}
	return o
}
