package demo

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/bank"
	"github.com/viewline/viewline/internal/tree"
)

// Options configure a demo.
type Options struct {
	// Binary is the program that the nodes run.
	Binary string
	// Backend replicates every group: vr (the default) or raft.
	Backend string
	// Tree is the directory to store.
	Tree string
	// Say gets the story, a line at a time without the newline. nil: nobody listens.
	Say func(line string)
	// Progress gets counts while the tree is stored, and how many entries there are in all; may be nil.
	Progress func(done tree.Report, total int)
	// Seed draws which directories and how much money move.
	Seed uint64
	// Ready is called when every check has held and the cluster still runs, with the coordinator's addresses and
	// the cluster's directory. nil: the cluster ends at once.
	Ready func(coordinators []string, directory string)
}

// ErrOptions says that Options make no sense.
var ErrOptions = errors.New("demo: bad options")

// Validate names the first thing that is missing, or returns nil.
func (o *Options) Validate() error {
	if o.Binary == "" || o.Tree == "" {
		return fmt.Errorf("%w: Binary and Tree are needed", ErrOptions)
	}
	if !slices.Contains([]string{"", cluster.BackendVR, cluster.BackendRaft}, o.Backend) {
		return fmt.Errorf("%w: Backend %q, there are vr and raft", ErrOptions, o.Backend)
	}
	return nil
}

// Kill is one primary that was killed.
type Kill struct {
	Node string `json:"node"`
	// NextCommit is how long it took until a transaction that began after the kill, on that group, committed.
	NextCommit time.Duration `json:"next_commit_ns"`
}

// Result is what a demo did.
type Result struct {
	Start  time.Duration `json:"start_ns"`
	Load   tree.Report   `json:"load"`
	Loaded time.Duration `json:"load_ns"`
	// Disturbed is how long moves and transfers went on while primaries were killed.
	Disturbed time.Duration `json:"disturbed_ns"`
	Moves     int           `json:"moves"`
	Commits   uint64        `json:"commits"`
	Conflicts uint64        `json:"conflicts"`
	Kills     []Kill        `json:"kills"`
	Audit     bank.Audit    `json:"audit"`
	Took      time.Duration `json:"took_ns"`
}
