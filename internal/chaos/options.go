package chaos

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/registers"
)

// The least that a run must have done to prove anything.
const (
	commitsMin           = 2000
	conflictsMin         = 100
	commitsAfterFaultMin = 100
	registersMin         = 200
	probesMin            = 1000
)

// witnessedMax is how many replicas a group with a witness has at most.
const witnessedMax = 4

// How links are hurt.
const (
	// PartitionsNamespaces: each node has a network namespace, as has a half of the clerks; packets between them are
	// dropped, and every link has a proxy that delays, stalls, alters and breaks. Where that is not to be had the run says
	// so and goes on as with PartitionsProxy.
	PartitionsNamespaces = "namespaces"
	// PartitionsProxy: the proxies swallow what passes in the place of packets. The links between two groups have none, as
	// no node can be told of them; nor have those of newcomers, so that members change only in the end.
	PartitionsProxy = "proxy"
	// PartitionsOff: the links are left alone.
	PartitionsOff = "off"
)

// Options configure a run.
type Options struct {
	// Binary is the program that the nodes run.
	Binary string
	// Rounds is how often the whole list of faults is gone through; default 1.
	Rounds int
	// Duration makes further rounds begin until it is over; 0: only Rounds counts.
	Duration time.Duration
	// Replicas is how many each group has, 3 (default) or more; Durability is sync (default), async or memory. In the
	// last two a group survives the end of all its processes only when they end in order, so that it is not killed whole.
	Replicas   int
	Durability string
	// Backend replicates every group: vr (the default) or raft, which has neither async, nor witnesses, nor wal.
	Backend string
	// Witness makes the last replica of every group its witness: the log of the others, and no state. Replicas is 3 or 4.
	Witness bool
	// Log is how the replicas keep their logs: bbolt (default) or wal.
	Log string
	// Partitions are PartitionsNamespaces (default), PartitionsProxy or PartitionsOff.
	Partitions string
	// Kinds are those of faults that there are to be, of Kinds, or whole families; none: all. A run that has had none of one
	// is void.
	Kinds []string
	// Clerks and Accounts are the load; defaults 16 and 1,000.
	Clerks, Accounts int
	// Seed draws the transfers, and what happens to the links.
	Seed uint64
	// Say gets what happens, a line at a time without the newline. nil: nobody listens.
	Say func(line string)
}

// Errors of Run, besides bank.ErrBooks, registers.ErrNotLinearizable and registers.ErrUndecided.
var (
	// ErrOptions says that Options make no sense.
	ErrOptions = errors.New("chaos: bad options")
	// ErrVoid: the run did too little to prove anything.
	ErrVoid = errors.New("chaos: the run is void")
	// ErrStale: a replica answered with what was overwritten already, or with an old timestamp.
	ErrStale = errors.New("chaos: stale answer")
	// ErrDiverged: two replicas have different states after the same operations.
	ErrDiverged = errors.New("chaos: replicas diverged")
	// ErrMembers: the members of a group were not changed in time, or are not those that they were to be, or one that has
	// left answered.
	ErrMembers = errors.New("chaos: members")
	// ErrStuck: nothing was committed for 40 s after a fault.
	ErrStuck = errors.New("chaos: no commit after a fault")
)

// Validate names the first thing that is wrong, or returns nil.
func (o *Options) Validate() error {
	if o.Binary == "" {
		return fmt.Errorf("%w: no Binary", ErrOptions)
	}
	if o.Replicas < 0 || o.Replicas == 1 || o.Replicas == 2 {
		return fmt.Errorf("%w: %d replicas survive nothing, need 3 or more", ErrOptions, o.Replicas)
	}
	if o.Witness && o.Replicas > witnessedMax {
		return fmt.Errorf("%w: a group of %d has no witness, at most %d have one", ErrOptions, o.Replicas, witnessedMax)
	}
	if !slices.Contains([]string{"", "sync", "async", "memory"}, o.Durability) {
		return fmt.Errorf("%w: Durability %q, there are sync, async and memory", ErrOptions, o.Durability)
	}
	if !slices.Contains([]string{"", "bbolt", "wal"}, o.Log) {
		return fmt.Errorf("%w: Log %q, there are bbolt and wal", ErrOptions, o.Log)
	}
	if err := o.validateBackend(); err != nil {
		return err
	}
	if !slices.Contains([]string{"", PartitionsNamespaces, PartitionsProxy, PartitionsOff}, o.Partitions) {
		return fmt.Errorf("%w: Partitions %q, there are namespaces, proxy and off", ErrOptions, o.Partitions)
	}
	if o.Rounds < 0 || o.Duration < 0 || o.Clerks < 0 || o.Accounts < 0 || o.Accounts == 1 {
		return fmt.Errorf("%w: Rounds %d, Duration %v, Clerks %d, Accounts %d", ErrOptions, o.Rounds, o.Duration, o.Clerks, o.Accounts)
	}
	return o.validateKinds()
}

func (o *Options) validateBackend() error {
	switch {
	case !slices.Contains([]string{"", cluster.BackendVR, cluster.BackendRaft}, o.Backend):
		return fmt.Errorf("%w: Backend %q, there are vr and raft", ErrOptions, o.Backend)
	case o.Backend == cluster.BackendRaft && (o.Durability == "async" || o.Witness || o.Log == "wal"):
		return fmt.Errorf("%w: backend raft has neither durability async, nor witnesses, nor log wal", ErrOptions)
	default:
		return nil
	}
}

// growth is by how many replicas a group grows, if it may have so many.
const growth = 2

// largestGroup is how large a group grows.
func (o *Options) largestGroup() int {
	most := cluster.ReplicasMax
	if o.Witness {
		most = witnessedMax
	}
	return max(o.Replicas, min(o.Replicas+growth, most))
}

func (o *Options) setDefaults() {
	for _, field := range []struct {
		value    *int
		standard int
	}{{&o.Rounds, 1}, {&o.Replicas, 3}, {&o.Clerks, 16}, {&o.Accounts, 1000}} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if o.Durability == "" {
		o.Durability = "sync"
	}
	if o.Backend == "" {
		o.Backend = cluster.BackendVR
	}
	if o.Log == "" {
		o.Log = "bbolt"
	}
	if o.Partitions == "" {
		o.Partitions = PartitionsNamespaces
	}
}

// Fault is one thing that was done to the cluster.
type Fault struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Nodes were hurt.
	Nodes []string `json:"nodes"`
	// NextCommit is how long it took until a transaction that began after the fault, on that group, committed.
	NextCommit time.Duration `json:"next_commit_ns"`
	// Probed: the primary was stopped or cut off, deposed, and asked directly.
	Probed bool `json:"probed,omitempty"`
	// Harm is how much of what links did, such as packets that were dropped.
	Harm   uint64 `json:"harm,omitempty"`
	HarmOf string `json:"harm_of,omitempty"`
	// Repeated is how often the command was given again that changes the members, and Changed how long it took until they
	// were, newcomers having caught up; of several changes the longest.
	Repeated int           `json:"repeated,omitempty"`
	Changed  time.Duration `json:"changed_ns,omitempty"`
	// Commits is how many followed before the next fault.
	Commits int `json:"commits"`
	// Answered and Refused count what a deposed primary said to direct questions then, and Gets the
	// reads through clerks meanwhile. All answers were fresh.
	Answered int `json:"answered,omitempty"`
	Refused  int `json:"refused,omitempty"`
	Gets     int `json:"gets,omitempty"`
}

// Asked is how many direct questions a deposed primary was asked.
func (f *Fault) Asked() int { return f.Answered + f.Refused }

// Result is what a run did.
type Result struct {
	// Partitions is how the links were hurt.
	Partitions string  `json:"partitions"`
	Faults     []Fault `json:"faults"`
	// Kinds counts the faults by kind.
	Kinds     map[string]int `json:"kinds"`
	Median    time.Duration  `json:"median_next_commit_ns"`
	Commits   uint64         `json:"commits"`
	Conflicts uint64         `json:"conflicts"`
	// Gets is how many reads through clerks were checked for staleness.
	Gets int `json:"gets"`
	// Registers are the reads and writes of single objects, which were found linearizable.
	Registers registers.Counts `json:"registers"`
	Audit     bank.Audit       `json:"audit"`
	Took      time.Duration    `json:"took_ns"`
	Fails     map[string]int   `json:"failures,omitempty"` // transfers that did not happen, by error
}
