package history

import "github.com/viewline/viewline/txn"

// State is a shard's replicated state. It belongs to one goroutine; the methods that only read may run
// beside each other.
type State struct{ options Options }

// New returns the empty state of a shard that owns no slots yet.
func New(options Options) (*State, error) { return &State{options: options}, options.Validate() }

// Restore builds a state from the records of a Snapshot. next returns them in their order and then io.EOF.
// Every error is an ErrCheckpoint, an ErrOptions or next's own.
func Restore(options Options, next func() (Record, error)) (*State, error) { return New(options) }

// Apply executes one operation of the log. It is total: an operation that makes no sense has a result that
// says so. Op-numbers ascend. The transaction that an operation points to must not be changed afterwards.
func (s *State) Apply(op txn.OpNumber, o Operation) Result { return Result{} }

// Read returns the newest committed version of an object.
func (s *State) Read(oid string) Value { return Value{} }

// ReadAt returns an object as of a timestamp, or ErrSnapshotTooOld. It looks at committed versions only: the
// caller has waited for whatever may still commit at or below ts (Front.BlockersAt).
func (s *State) ReadAt(oid string, ts txn.Timestamp) (Value, error) { return Value{}, nil }

// Owns reports whether the shard serves the object's slot.
func (s *State) Owns(oid string) bool { return false }

// Owned reports whether the shard has been given its slots, by which map.
func (s *State) Owned() (mapVersion uint64, owned bool) { return 0, false }

// Applied returns the number of the last operation applied.
func (s *State) Applied() txn.OpNumber { return 0 }

// LeadNumber returns the number of the last Lead that took effect, 0 before the first.
func (s *State) LeadNumber() uint64 { return 0 }

// LeadView returns the view of that Lead.
func (s *State) LeadView() uint64 { return 0 }

// Floor returns the largest floor that a Lead has set.
func (s *State) Floor() txn.Timestamp { return 0 }

// Threshold returns the timestamp at or below which nothing may prepare, the floor apart.
func (s *State) Threshold() txn.Timestamp { return 0 }

// VersionHorizon returns the timestamp below which snapshots cannot be read any more.
func (s *State) VersionHorizon() txn.Timestamp { return 0 }

// RecordHorizon returns the timestamp at or below which decisions may be forgotten.
func (s *State) RecordHorizon() txn.Timestamp { return 0 }

// Prepared calls fn for the transactions on the history line by ascending timestamp until it returns false.
func (s *State) Prepared(fn func(Prepared) bool) {}

// IsPrepared reports whether this very attempt is on the history line.
func (s *State) IsPrepared(attempt txn.Attempt) bool { return false }

// Unended returns at most limit commits of several participants without END, with timestamps up to before,
// ascending.
func (s *State) Unended(before txn.Timestamp, limit int) []Unended { return nil }

// Counters returns the sizes of the state's collections.
func (s *State) Counters() Counters { return Counters{} }

// Hash covers the whole replicated state: equal on all replicas at an equal op-number. It reads everything;
// Snapshot().Hash() gives the same beside later Applies.
func (s *State) Hash() [32]byte { return [32]byte{} }

// Snapshot captures the state at this point; it costs next to nothing and shares what does not change.
func (s *State) Snapshot() *Snapshot { return nil }

// Snapshot is a state at one point. It may be read by any one goroutine beside later Applies.
type Snapshot struct{}

// Each calls fn for every record, in the order that Record describes, until it returns an error, which Each
// returns.
func (snap *Snapshot) Each(fn func(Record) error) error { return nil }

// Applied returns the op-number at which the snapshot was taken.
func (snap *Snapshot) Applied() txn.OpNumber { return 0 }

// Hash is the State's hash when the snapshot was taken.
func (snap *Snapshot) Hash() [32]byte { return [32]byte{} }
