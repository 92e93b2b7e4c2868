package cluster

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/viewline/viewline/internal/node"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/force"
	"github.com/viewline/viewline/replication/vr/storage"
)

// ErrForce says that directories are not enough, or not those of one group.
var ErrForce = errors.New("cluster: cannot be forced")

// ErrForceBackend says that a group's backend has no way to go on from what a minority has.
var ErrForceBackend = errors.New("cluster: only a group of Viewstamped Replication can be forced")

// Forcing is what comes of forcing a group whose replicas are all stopped: more than a minority of them may lack what
// they acknowledged, so that the group stays stopped, and an operator gives up what is gone. f+1 of its directories are
// chosen, those that are whole first and then those with the latest logs. They start from what they have and choose
// among themselves by an ordinary view change, for which all of them are needed; the others recover from them.
//
// PlanForce makes one and holds the directories' locks until Close. It is not safe for concurrent use.
type Forcing struct {
	Cluster string `json:"cluster"`
	Group   uint32 `json:"group"`
	// Epoch is the newest that any of the directories knows, Members how many members it has.
	Epoch      uint64 `json:"epoch"`
	Members    int    `json:"members"`
	Durability string `json:"durability"`
	// Needed: fewer than f+1 of the directories are whole. Otherwise the group starts by itself, and Execute changes nothing.
	Needed bool `json:"needed"`
	// View is the one whose view change they begin in, Op the last operation that there will be, Known the last one that
	// is known to have been.
	View  uint64 `json:"view"`
	Op    uint64 `json:"op"`
	Known uint64 `json:"known"`
	// Loss says in plain words what may be lost.
	Loss     []string        `json:"loss"`
	Replicas []ForcedReplica `json:"replicas"` // the best first

	first []Member // as the first file has them
	plan  force.Plan
	locks []*node.Directory
}

// ForcedReplica is what one directory holds.
type ForcedReplica struct {
	Replica uint32 `json:"replica"`
	// Incarnation is of its directory, 1 in its first life. Standing says what it is to the newest epoch; only a member is
	// chosen, and counted.
	Incarnation    uint64 `json:"incarnation"`
	Standing       string `json:"standing"`
	Member         bool   `json:"member"`
	Witness        bool   `json:"witness,omitempty"`
	Directory      string `json:"directory"`
	Epoch          uint64 `json:"epoch"` // that it is in
	View           uint64 `json:"view"`
	LastNormalView uint64 `json:"last_normal_view"`
	Op             uint64 `json:"op"`      // where what is sound ends
	LogView        uint64 `json:"op_view"` // by which it is chosen
	Commit         uint64 `json:"commit"`
	Checkpoint     uint64 `json:"checkpoint"`
	// Whole: nothing that it acknowledged can be missing. Chosen: it is to start from what it has; or, Nothing, with nothing:
	// a witness whose log nobody can go on from.
	Whole   bool     `json:"whole"`
	Chosen  bool     `json:"chosen"`
	Nothing bool     `json:"nothing,omitempty"`
	Damage  []string `json:"damage,omitempty"`
	// Error is why it cannot be chosen: its views are damaged, for one.
	Error string `json:"error,omitempty"`
	// Forced are the times that it was forced before.
	Forced []string `json:"forced,omitempty"`

	remains force.Remains
	at      int // its place among what the plan was made of
}

// PlanForce examines the directories of a group's nodes, or their files. All must be of one group, and stopped. Give all
// that there are: what only the others have is lost. Who the group's members are says the newest epoch that any of them
// knows. Errors are ErrForce, ErrForceBackend, ErrConfig and those of node.OpenDirectory.
func PlanForce(paths []string) (*Forcing, error) {
	f := &Forcing{}
	err := f.open(paths)
	if err == nil {
		err = f.choose()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Forcing) open(paths []string) error {
	for n, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, NodeFile)
		}
		config, err := ReadNodeConfig(path)
		if err != nil {
			return err
		}
		if n == 0 {
			f.Cluster, f.Group, f.Durability, f.first = config.Cluster, config.Group, config.Durability, config.Members
		}
		if config.Cluster != f.Cluster || config.Group != f.Group || config.Durability != f.Durability {
			return fmt.Errorf("%w: %s is not of the same group as %s, or says otherwise of it", ErrForce, path, paths[0])
		}
		backend, err := backendOf(config.Backend)
		if err != nil {
			return err
		}
		if !backend.forces() {
			return fmt.Errorf("%w: %s has backend %s", ErrForceBackend, groupName(config.Group), backend.name())
		}
		if err := f.examine(config); err != nil {
			return err
		}
	}
	return nil
}

func (f *Forcing) examine(config *NodeConfig) error {
	identity, err := config.identity()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(f.Replicas, func(r ForcedReplica) bool {
		return r.Replica == config.Replica && r.Incarnation == identity.Incarnation
	}) {
		return fmt.Errorf("%w: replica %d is given twice", ErrForce, config.Replica)
	}
	lock, err := node.OpenDirectory(config.Data, identity)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	f.locks = append(f.locks, lock)
	r := ForcedReplica{Replica: config.Replica, Incarnation: identity.Incarnation, Directory: config.Data, Witness: config.isWitness()}
	// A directory's first life is 1, a membership's 0.
	r.remains = force.Nothing(config.Replica, identity.Incarnation-1)
	if e, err := storage.Examine(config.Data); err != nil {
		r.Error = err.Error()
	} else {
		found := e.Remains
		found.Replica, found.Incarnation = r.remains.Replica, r.remains.Incarnation
		r.remains, r.Epoch, r.Whole, r.Forced = found, e.Epoch, found.Whole, e.Forced
		r.View, r.LastNormalView = uint64(found.HardState.View), uint64(found.HardState.LastNormalView)
		r.Commit, r.Op, r.LogView = uint64(found.HardState.Commit), uint64(found.Op), uint64(e.View)
		r.Checkpoint = uint64(found.Checkpoint.Op)
		for _, damage := range e.Damage {
			r.Damage = append(r.Damage, fmt.Sprintf("%s: operations %d to %d", damage.File, damage.First, damage.Last))
		}
	}
	f.Replicas = append(f.Replicas, r)
	return nil
}

// choose orders the replicas and marks f+1.
func (f *Forcing) choose() error {
	found := make([]force.Remains, len(f.Replicas))
	for i := range f.Replicas {
		found[i] = f.Replicas[i].remains
	}
	first := make([]uint32, len(f.first))
	for i, member := range f.first {
		first[i] = member.Replica
	}
	plan := force.NewPlan(force.FirstMembers(first, witnessOf(f.first)), found, 0)
	f.plan, f.Epoch, f.Members = plan, uint64(plan.Members.Epoch), len(plan.Members.Members)
	f.Needed, f.View, f.Op, f.Known = plan.Needed, uint64(plan.View), uint64(plan.Op), uint64(plan.Known)
	ordered := make([]ForcedReplica, len(f.Replicas))
	for place, at := range plan.Order {
		r := f.Replicas[at]
		r.at, r.Standing, r.Member = at, plan.Standings[at].String(), plan.Standings[at] <= force.Behind
		r.Chosen, r.Nothing = place < plan.Chosen, plan.Needed && at == plan.Discarded
		r.Witness = r.Witness || plan.Members.IsWitness(r.remains.Replica)
		ordered[place] = r
	}
	f.Replicas = ordered
	switch {
	case plan.Usable < plan.Quorum():
		return fmt.Errorf("%w: %d of the group's %d replicas are needed, and %d are here and can be read%s", ErrForce, plan.Quorum(), f.Members, plan.Usable, f.useless())
	case plan.Hopeless():
		return fmt.Errorf("%w: its members had changed, and nothing is left of what they had: set up a new cluster", ErrForce)
	case f.Needed:
		f.Loss = f.losses()
	}
	return nil
}

// useless says which directories are not counted, and why.
func (f *Forcing) useless() (text string) {
	for i := range f.Replicas {
		switch r := &f.Replicas[i]; {
		case r.Error != "":
			text += fmt.Sprintf("; replica %d: %s", r.Replica, r.Error)
		case !r.Member:
			text += fmt.Sprintf("; replica %d is %s", r.Replica, r.Standing)
		case r.Witness:
			text += fmt.Sprintf("; replica %d is a witness: it has no state, and begins nothing alone", r.Replica)
		}
	}
	return text
}

func (f *Forcing) losses() []string {
	var loss []string
	if f.Known > f.Op {
		loss = append(loss, fmt.Sprintf("Operations %d to %d are known to have been, and are lost.", f.Op+1, f.Known))
	}
	switch f.Durability {
	case vr.DurabilityAsync.String():
		loss = append(loss, "Durability async: what was acknowledged in the last moments before the crash (100 ms, or what the disks were behind) may be lost. Nobody can say what it was.")
	case vr.DurabilityMemory.String():
		loss = append(loss, "Durability memory: everything that was acknowledged since these replicas last stopped cleanly may be lost. Nobody can say what it was.")
	default:
		loss = append(loss, "Durability sync: what was acknowledged and stood only in what is damaged is lost.")
	}
	missing := f.Members
	for i := range f.Replicas {
		if r := &f.Replicas[i]; r.Member {
			missing--
		}
		if r := &f.Replicas[i]; r.Nothing {
			loss = append(loss, fmt.Sprintf("The log of the witness, replica %d, begins above all that is left of the states, and is lost.", r.Replica))
		}
	}
	if missing > 0 {
		loss = append(loss, fmt.Sprintf("%d of the group's %d replicas are not given here. What only they have is lost, and they stop when they find that out.", missing, f.Members))
	}
	if f.Group == CoordinatorGroup {
		return append(loss, "This is the coordinator: time-stamps that it has handed out may be handed out again, and the order of transactions may no longer be their order in time.")
	}
	return append(loss, "Transactions whose commit was answered may be undone here, and stay done on other shards.")
}

// Execute marks the chosen directories and writes down in each that it was, with the time. A run that was interrupted
// may be repeated; after one that was not, nothing is needed any more. Directories of replicas that are no members stay as
// they are.
func (f *Forcing) Execute(at time.Time) error {
	if !f.Needed {
		return nil
	}
	var chosen []uint32
	for i := range f.Replicas {
		if f.Replicas[i].Chosen {
			chosen = append(chosen, f.Replicas[i].Replica)
		}
	}
	note := fmt.Sprintf("replicas %v start from what they have, up to operation %d; operations were known up to %d", chosen, f.Op, f.Known)
	// The others first: one that is chosen later, when this is interrupted, is no worse for it.
	for _, starts := range []bool{false, true} {
		for i := range f.Replicas {
			mark, marked := f.plan.Mark(f.Replicas[i].at)
			if !marked || mark.Starts != starts {
				continue
			}
			if err := storage.Force(f.Replicas[i].Directory, mark, at, note); err != nil {
				return fmt.Errorf("cluster: %w", err)
			}
		}
	}
	return nil
}

// Close gives the directories back.
func (f *Forcing) Close() error {
	var err error
	for _, lock := range f.locks {
		err = errors.Join(err, lock.Close())
	}
	return err
}
