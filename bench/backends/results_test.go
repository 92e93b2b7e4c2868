package backends

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// recorded is a run of a cell.
func recorded(backend string, run int, perSecond, cpu float64) Record {
	return Record{
		Cell: Cell{Throughput, Sync, 3, 128, 64}, Backend: backend, Run: run, Duration: time.Second, Terms: StandardTerms(),
		Place: Place{CPU: 2, Go: "go", OS: "os", Load: "1.5"}, Policy: Policy{Backend: backend, Durability: Sync, Replicas: 3, Operations: 200, SyncedCopies: 2, Audited: true},
		Speed: &Speed{Operations: 10, PerSecond: perSecond, CPUMicros: cpu},
	}
}

func TestResultsGoOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	one, two := recorded("vr", 1, 10, 1), recorded("vr", 2, 20, 2)
	kept, err := openResults(path)
	require.NoError(t, err)
	require.NoError(t, kept.add(&one))
	require.NoError(t, kept.close())
	first, err := os.ReadFile(path)
	require.NoError(t, err)

	// A run that was interrupted while it was written was not made.
	require.NoError(t, os.WriteFile(path, append(first, `{"scenario":"thr`...), 0o600))
	kept, err = openResults(path)
	require.NoError(t, err)
	have, err := kept.has(&one)
	require.NoError(t, err)
	require.Equal(t, &one, have)
	have, err = kept.has(&two)
	require.NoError(t, err)
	require.Nil(t, have)
	require.NoError(t, kept.add(&two))
	require.NoError(t, kept.close())
	records, err := ReadResults(path)
	require.NoError(t, err)
	require.Equal(t, []Record{one, two}, records)

	other := one
	other.Terms.Heartbeat++
	other.Run = 3
	_, err = (&results{records: records}).has(&other)
	require.ErrorIs(t, err, ErrResults, "it would stand beside those in a table")
	other.Scenario = Failover
	_, err = (&results{records: records}).has(&other)
	require.NoError(t, err)
}

func TestResultsThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": "perhaps\n", "no run": "{}\n", "no figures": `{"backend":"vr","run":1}` + "\n",
		"in between": "\n" + `{"backend":"vr","run":1,"speed":{}}` + "\n",
	} {
		path := filepath.Join(t.TempDir(), "results")
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := openResults(path)
		require.ErrorIs(t, err, ErrResults, name)
		_, err = ReadResults(path)
		require.ErrorIs(t, err, ErrResults, name)
		left, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, text, string(left), "what is not understood is left alone")
	}
	_, err := openResults(t.TempDir())
	require.ErrorIs(t, err, ErrResults)
}

func TestSpeed(t *testing.T) {
	before := []Meter{{CPUSeconds: 1, Fsyncs: 10, Frames: 5, Bytes: 100}, {CPUSeconds: 2}}
	after := []Meter{{CPUSeconds: 1.5, Fsyncs: 40, Frames: 25, Bytes: 900, Log: "bbolt"}, {CPUSeconds: 2.5, Fsyncs: 10, Frames: 20, Flushes: 10, Bytes: 200}}
	s, err := speedOf(before, after, []Lap{{Acknowledged: 20, Seconds: 2}, {Seconds: 2}})
	require.NoError(t, err)
	require.Equal(t, &Speed{
		Operations: 20, Seconds: 2, PerSecond: 10, CPUSeconds: 1, CPUMicros: 50_000, Fsyncs: 2, Messages: 2, Flushes: 0.5, Bytes: 50, Log: "bbolt",
	}, s)
	for name, laps := range map[string][]Lap{"nothing": {{}, {}}, "two primaries": {{Acknowledged: 1, Seconds: 1}, {Acknowledged: 1, Seconds: 1}}} {
		_, err := speedOf(before, after, laps)
		require.ErrorIs(t, err, ErrVoid, name)
	}
	_, err = speedOf(before, before, []Lap{{Acknowledged: 20, Seconds: 2}, {Seconds: 2}})
	require.ErrorIs(t, err, ErrVoid, "the meter stands still")
}

func TestOptionsAreChecked(t *testing.T) {
	good := Options{Command: []string{"x"}}
	require.NoError(t, good.Validate())
	for name, change := range map[string]func(*Options){
		"no command":        func(o *Options) { o.Command = nil },
		"backend":           func(o *Options) { o.Backends = []string{"paxos"} },
		"twice":             func(o *Options) { o.Backends = []string{"vr", "vr"} },
		"scenario":          func(o *Options) { o.Scenarios = []string{"sleep"} },
		"durability":        func(o *Options) { o.Durabilities = []string{"async"} },
		"none has it":       func(o *Options) { o.Backends, o.Durabilities = []string{"vr", "vr/wal"}, []string{Memory} },
		"even":              func(o *Options) { o.Replicas = []int{4} },
		"one replica":       func(o *Options) { o.Replicas = []int{1} },
		"no proposers":      func(o *Options) { o.Proposers = []int{0} },
		"proposers twice":   func(o *Options) { o.Proposers = []int{1, 1} },
		"many proposers":    func(o *Options) { o.Proposers = []int{5000} },
		"large values":      func(o *Options) { o.ValueBytes = []int{2 << 20} },
		"negative runs":     func(o *Options) { o.Runs = -1 },
		"negative kills":    func(o *Options) { o.Kills = -1 },
		"time":              func(o *Options) { o.Duration = -1 },
		"soon lost":         func(o *Options) { o.Terms.ViewChangeTimeout = time.Millisecond },
		"hardly behind":     func(o *Options) { o.BehindBytes = 1 },
		"no directory":      func(o *Options) { o.Directory = "/does/not/exist" },
		"profile to a file": func(o *Options) { o.Profiles = "/dev/null" },
	} {
		o := good
		change(&o)
		require.ErrorIs(t, o.Validate(), ErrOptions, name)
	}
}
