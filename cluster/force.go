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

// Forcing is what comes of forcing a group whose replicas are all stopped: more than a minority of them may lack what
// they acknowledged, so that the group stays stopped, and an operator gives up what is gone. f+1 of its directories are
// chosen, those that are whole first and then those with the latest logs. They start from what they have and choose
// among themselves by an ordinary view change, for which all of them are needed; the others recover from them.
//
// PlanForce makes one and holds the directories' locks until Close. It is not safe for concurrent use.
type Forcing struct {
	Cluster    string `json:"cluster"`
	Group      uint32 `json:"group"`
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

	locks []*node.Directory
}

// ForcedReplica is what one directory holds.
type ForcedReplica struct {
	Replica        uint32 `json:"replica"`
	Directory      string `json:"directory"`
	View           uint64 `json:"view"`
	LastNormalView uint64 `json:"last_normal_view"`
	Op             uint64 `json:"op"`      // where what is sound ends
	LogView        uint64 `json:"op_view"` // by which it is chosen
	Commit         uint64 `json:"commit"`
	Checkpoint     uint64 `json:"checkpoint"`
	// Whole: nothing that it acknowledged can be missing. Chosen: it is to start from what it has.
	Whole  bool     `json:"whole"`
	Chosen bool     `json:"chosen"`
	Damage []string `json:"damage,omitempty"`
	// Error is why it cannot be chosen: its views are damaged, for one.
	Error string `json:"error,omitempty"`
	// Forced are the times that it was forced before.
	Forced []string `json:"forced,omitempty"`

	remains force.Remains
}

// PlanForce examines the directories of a group's nodes, or their files. All must be of one group, and stopped. Give all
// that there are: what only the others have is lost. Errors are ErrForce, ErrConfig and those of node.OpenDirectory.
func PlanForce(paths []string) (*Forcing, error) {
	f := &Forcing{}
	if err := f.open(paths); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	f.choose()
	return f, nil
}

func (f *Forcing) open(paths []string) error {
	var first *NodeConfig
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			path = filepath.Join(path, NodeFile)
		}
		config, err := ReadNodeConfig(path)
		if err != nil {
			return err
		}
		if first == nil {
			first = config
			f.Cluster, f.Group, f.Members, f.Durability = config.Cluster, config.Group, len(config.Members), config.Durability
		}
		if config.Cluster != f.Cluster || config.Group != f.Group || !slices.Equal(config.Members, first.Members) || config.Durability != f.Durability {
			return fmt.Errorf("%w: %s is not of the same group as %s, or says otherwise of it", ErrForce, path, paths[0])
		}
		if err := f.examine(config); err != nil {
			return err
		}
	}
	usable := len(f.Replicas)
	for i := range f.Replicas {
		if f.Replicas[i].Error != "" {
			usable--
		}
	}
	if need := f.quorum(); usable < need {
		return fmt.Errorf("%w: %d of the group's %d replicas are needed, and %d are here and can be read%s", ErrForce, need, f.Members, usable, f.unreadable())
	}
	return nil
}

func (f *Forcing) unreadable() (text string) {
	for i := range f.Replicas {
		if r := &f.Replicas[i]; r.Error != "" {
			text += fmt.Sprintf("; replica %d: %s", r.Replica, r.Error)
		}
	}
	return text
}

func (f *Forcing) quorum() int { return f.Members/2 + 1 }

func (f *Forcing) examine(config *NodeConfig) error {
	identity, err := config.identity()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(f.Replicas, func(r ForcedReplica) bool { return r.Replica == config.Replica }) {
		return fmt.Errorf("%w: replica %d is given twice", ErrForce, config.Replica)
	}
	lock, err := node.OpenDirectory(config.Data, identity)
	if err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	f.locks = append(f.locks, lock)
	r := ForcedReplica{Replica: config.Replica, Directory: config.Data}
	r.remains = force.Nothing(config.Replica)
	if e, err := storage.Examine(config.Data); err != nil {
		r.Error = err.Error()
	} else {
		r.View, r.LastNormalView, r.Commit = uint64(e.HardState.View), uint64(e.HardState.LastNormalView), uint64(e.HardState.Commit)
		r.Op, r.LogView, r.Checkpoint = uint64(e.Op), uint64(e.View), uint64(e.Checkpoint.Op)
		r.Whole, r.Forced, r.remains = e.Whole, e.Forced, e.Remains(config.Replica)
		for _, damage := range e.Damage {
			r.Damage = append(r.Damage, fmt.Sprintf("%s: operations %d to %d", damage.File, damage.First, damage.Last))
		}
	}
	f.Replicas = append(f.Replicas, r)
	return nil
}

// choose orders the replicas and marks f+1.
func (f *Forcing) choose() {
	found := make([]force.Remains, len(f.Replicas))
	for i := range f.Replicas {
		found[i] = f.Replicas[i].remains
	}
	plan := force.NewPlan(f.Members, found, 0)
	f.Needed, f.View, f.Op, f.Known = plan.Needed, uint64(plan.View), uint64(plan.Op), uint64(plan.Known)
	ordered := make([]ForcedReplica, len(f.Replicas))
	for place, at := range plan.Order {
		ordered[place] = f.Replicas[at]
		ordered[place].Chosen = place < plan.Chosen
	}
	if f.Replicas = ordered; f.Needed {
		f.Loss = f.losses()
	}
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
	if missing := f.Members - len(f.Replicas); missing > 0 {
		loss = append(loss, fmt.Sprintf("%d of the group's %d replicas are not given here. What only they have is lost, and they stop when they find that out.", missing, f.Members))
	}
	if f.Group == CoordinatorGroup {
		return append(loss, "This is the coordinator: time-stamps that it has handed out may be handed out again, and the order of transactions may no longer be their order in time.")
	}
	return append(loss, "Transactions whose commit was answered may be undone here, and stay done on other shards.")
}

// Execute marks the chosen directories and writes down in each that it was, with the time. A run that was interrupted
// may be repeated; after one that was not, nothing is needed any more.
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
	for i := range f.Replicas {
		if r := &f.Replicas[i]; !r.Chosen && r.Error == "" {
			if err := storage.Forget(r.Directory, f.Op); err != nil {
				return fmt.Errorf("cluster: %w", err)
			}
		}
	}
	for i := range f.Replicas {
		if r := &f.Replicas[i]; r.Chosen {
			if err := storage.Force(r.Directory, f.View, at, note); err != nil {
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
