package backends

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// ErrOptions is what every error of Options.Validate is.
var ErrOptions = errors.New("backends: bad options")

// The scenarios.
const (
	// Throughput measures a group that is whole.
	Throughput = "throughput"
	// Failover measures the time from the death of a primary under load to the next commit.
	Failover = "failover"
	// Catchup measures how a replica comes back that was down while others wrote.
	Catchup = "catchup"
)

// Bounds of Options.
const (
	ReplicasMax   = 7
	ProposersMax  = 4096
	ValueBytesMax = 1 << 20
	RunsMax       = 1000
)

// Options say what is compared. Command has to be set; the rest has useful zero values.
type Options struct {
	// Command starts a replica's process: a program that calls Serve with its standard input and output.
	Command []string
	// Backends are compared, the first with each of the others; one whose log is of another kind than theirs is measured
	// beside them. Default vr alone.
	Backends  []string
	Scenarios []string // default Throughput
	// What is run is every combination of these. Replicas are 3 to 7 and odd, defaults 3; 16; 128; Sync.
	Replicas     []int
	Proposers    []int
	ValueBytes   []int
	Durabilities []string
	// Runs is how often each combination is run with each backend, in turn (default 5); Kills is the same for Failover
	// (default 20).
	Runs, Kills int
	// Duration is what is measured of a run (default 5 s), after Warmup (default 1 s).
	Duration, Warmup time.Duration
	// BehindBytes is what is written while a replica is down (default 256 MiB).
	BehindBytes int64
	// Results is a file that every run is added to, and from which a run that is there is taken. "": none.
	Results string
	// Directory is where the replicas' directories are made; "": where temporary files go.
	Directory string
	// Profiles is a directory for a CPU profile of every process of every Throughput run; "": none.
	Profiles string
	Terms    Terms
	// Progress is told what is going on; nil: nobody is.
	Progress func(what string)

	known []backend // other than the registry in tests only
}

// WithDefaults fills what is zero.
func (o Options) WithDefaults() Options {
	if o.known == nil {
		o.known = registry()
	}
	for _, field := range []struct {
		names    *[]string
		standard string
	}{{&o.Backends, "vr"}, {&o.Scenarios, Throughput}, {&o.Durabilities, Sync}} {
		if len(*field.names) == 0 {
			*field.names = []string{field.standard}
		}
	}
	for _, field := range []struct {
		numbers  *[]int
		standard int
	}{{&o.Replicas, 3}, {&o.Proposers, 16}, {&o.ValueBytes, 128}} {
		if len(*field.numbers) == 0 {
			*field.numbers = []int{field.standard}
		}
	}
	setDefault(&o.Runs, 5)
	setDefault(&o.Kills, 20)
	setDefault(&o.Duration, 5*time.Second)
	setDefault(&o.Warmup, time.Second)
	setDefault(&o.BehindBytes, 256<<20)
	o.Terms = o.Terms.WithDefaults()
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return o
}

// Validate names the first thing that is wrong, as an ErrOptions, or returns nil.
func (o Options) Validate() error {
	o = o.WithDefaults()
	if len(o.Command) == 0 {
		return fmt.Errorf("%w: no Command", ErrOptions)
	}
	if err := o.validateNames(); err != nil {
		return err
	}
	for _, field := range []struct {
		name        string
		values      []int
		least, most int
	}{
		{"replicas", o.Replicas, 3, ReplicasMax},
		{"proposers", o.Proposers, 1, ProposersMax},
		{"bytes of a value", o.ValueBytes, 0, ValueBytesMax},
		{"runs", []int{o.Runs}, 1, RunsMax},
		{"kills", []int{o.Kills}, 1, RunsMax},
	} {
		for i, value := range field.values {
			if value < field.least || value > field.most {
				return fmt.Errorf("%w: %d %s, need %d to %d", ErrOptions, value, field.name, field.least, field.most)
			}
			if slices.Contains(field.values[:i], value) {
				return fmt.Errorf("%w: %d %s twice", ErrOptions, value, field.name)
			}
		}
	}
	for _, n := range o.Replicas {
		if n%2 == 0 {
			return fmt.Errorf("%w: %d replicas, need an odd number", ErrOptions, n)
		}
	}
	if o.Duration < 0 || o.Warmup < 0 || o.BehindBytes < 1<<20 {
		return fmt.Errorf("%w: %v after %v, and %d bytes behind (at least 1 MiB)", ErrOptions, o.Duration, o.Warmup, o.BehindBytes)
	}
	if o.Terms.ViewChangeTimeout < 2*o.Terms.Heartbeat {
		return fmt.Errorf("%w: a primary is taken for lost after %v, need twice the heartbeat, %v", ErrOptions, o.Terms.ViewChangeTimeout, 2*o.Terms.Heartbeat)
	}
	return o.validateDirectories()
}

func (o Options) validateNames() error {
	for i, name := range o.Backends {
		if _, known := find(o.known, name); !known {
			return fmt.Errorf("%w: no backend %q, there are %s", ErrOptions, name, namesOf(o.known))
		}
		if slices.Contains(o.Backends[:i], name) {
			return fmt.Errorf("%w: backend %s twice", ErrOptions, name)
		}
	}
	for _, field := range []struct {
		name         string
		given, known []string
	}{
		{"scenario", o.Scenarios, []string{Throughput, Failover, Catchup}},
		{"durability", o.Durabilities, []string{Sync, Memory}},
	} {
		for i, given := range field.given {
			if !slices.Contains(field.known, given) {
				return fmt.Errorf("%w: no %s %q, there are %v", ErrOptions, field.name, given, field.known)
			}
			if slices.Contains(field.given[:i], given) {
				return fmt.Errorf("%w: %s %s twice", ErrOptions, field.name, given)
			}
		}
	}
	for _, name := range o.Backends {
		chosen, _ := find(o.known, name)
		if !slices.ContainsFunc(o.Durabilities, func(d string) bool { return slices.Contains(chosen.durabilities, d) }) {
			return fmt.Errorf("%w: %s has durability %v, not %v", ErrOptions, name, chosen.durabilities, o.Durabilities)
		}
	}
	return nil
}

func (o Options) validateDirectories() error {
	for _, directory := range []string{o.Directory, o.Profiles} {
		if directory == "" {
			continue
		}
		if info, err := os.Stat(directory); err != nil {
			return fmt.Errorf("%w: %w", ErrOptions, err)
		} else if !info.IsDir() {
			return fmt.Errorf("%w: %s is not a directory", ErrOptions, directory)
		}
	}
	return nil
}

// Cell is one combination.
type Cell struct {
	Scenario   string `json:"scenario"`
	Durability string `json:"durability"`
	Replicas   int    `json:"replicas"`
	ValueBytes int    `json:"value_bytes"`
	Proposers  int    `json:"proposers"`
}

// String names the cell in progress and errors.
func (c Cell) String() string {
	return fmt.Sprintf("%s, %s, %d replicas, %d bytes, %d proposers", c.Scenario, c.Durability, c.Replicas, c.ValueBytes, c.Proposers)
}

// cells are all combinations, in the order in which they are run and shown.
func (o Options) cells() (cells []Cell) {
	for _, scenario := range o.Scenarios {
		for _, durability := range o.Durabilities {
			for _, replicas := range o.Replicas {
				for _, bytes := range o.ValueBytes {
					for _, proposers := range o.Proposers {
						cells = append(cells, Cell{scenario, durability, replicas, bytes, proposers})
					}
				}
			}
		}
	}
	return cells
}

// runs is how often a cell is run with each backend.
func (o Options) runs(c Cell) int {
	if c.Scenario == Failover {
		return o.Kills
	}
	return o.Runs
}

// having are the backends that have a durability.
func (o Options) having(durability string) (names []string) {
	for _, name := range o.Backends {
		if chosen, _ := find(o.known, name); slices.Contains(chosen.durabilities, durability) {
			names = append(names, name)
		}
	}
	return names
}
