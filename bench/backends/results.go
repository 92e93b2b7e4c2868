package backends

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// ErrResults is what every error about a file of results is.
var ErrResults = errors.New("backends: results cannot be used")

// Place is where and when a run was.
type Place struct {
	At  time.Time `json:"at"`
	Go  string    `json:"go"`
	OS  string    `json:"os"`
	CPU int       `json:"cpu"`
	// Revision is that of the program's source, with a + when it was changed since; empty where it was not built in.
	Revision string `json:"revision,omitempty"`
	// Load is the machine's load average before the run, which is of what else it has to do; empty where it is not told.
	Load string `json:"load,omitempty"`
}

// String is the machine and the program.
func (p Place) String() string {
	text := fmt.Sprintf("%d cores, %s, %s", p.CPU, p.OS, p.Go)
	if p.Revision != "" {
		text += ", revision " + p.Revision
	}
	return text
}

func here() Place {
	p := Place{At: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), OS: runtime.GOOS + "/" + runtime.GOARCH, CPU: runtime.NumCPU(), Revision: revision()}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		p.Load, _, _ = strings.Cut(string(text), " ")
	}
	return p
}

func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	setting := func(name string) string {
		at := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == name })
		if at < 0 {
			return ""
		}
		return info.Settings[at].Value
	}
	short := setting("vcs.revision")
	short = short[:min(len(short), 12)]
	if setting("vcs.modified") == "true" {
		short += "+"
	}
	return short
}

// Record is one run. One of Speed, Outage and Return is set, as its scenario has it.
type Record struct {
	Cell
	Backend string `json:"backend"`
	// Run counts from 1. The runs of all backends with the same number were made one after the other.
	Run int `json:"run"`
	// Void is how many runs were made in vain before it.
	Void     int           `json:"void"`
	Duration time.Duration `json:"duration_ns"`
	Warmup   time.Duration `json:"warmup_ns"`
	Behind   int64         `json:"behind_bytes,omitempty"`
	Terms    Terms         `json:"terms"`
	Place    Place         `json:"place"`
	Policy   Policy        `json:"policy"`
	Speed    *Speed        `json:"speed,omitempty"`
	Outage   *Outage       `json:"outage,omitempty"`
	Return   *Return       `json:"return,omitempty"`
}

// key is which run it is.
type key struct {
	cell    Cell
	backend string
	run     int
}

func (r *Record) key() key { return key{r.Cell, r.Backend, r.Run} }

// terms are what has to be the same for records to be held against each other.
type terms struct {
	duration, warmup time.Duration
	behind           int64
	terms            Terms
}

func (r *Record) terms() terms { return terms{r.Duration, r.Warmup, r.Behind, r.Terms} }

// results are the records of a file, and the file, which more are added to.
type results struct {
	records []Record
	file    *os.File // nil: they are kept nowhere
}

// openResults reads a file, which is made if it is not there. A last line that was not written whole is cut off.
func openResults(path string) (*results, error) {
	if path == "" {
		return &results{}, nil
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResults, err)
	}
	r := &results{file: file}
	whole, err := r.read()
	if err == nil {
		err = file.Truncate(whole)
	}
	if err == nil {
		_, err = file.Seek(whole, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrResults, path, err), file.Close())
	}
	return r, nil
}

// ReadResults reads the records of a file.
func ReadResults(path string) ([]Record, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrResults, err)
	}
	r := &results{file: file}
	_, err = r.read()
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrResults, path, err)
	}
	return r.records, nil
}

// read reads all whole lines, and returns where they end.
func (r *results) read() (whole int64, err error) {
	text, err := io.ReadAll(r.file)
	if err != nil {
		return 0, err
	}
	for number := 1; ; number++ {
		line, rest, found := bytes.Cut(text[whole:], []byte("\n"))
		if !found {
			return whole, nil
		}
		var record Record
		if err := json.Unmarshal(line, &record); err != nil {
			return 0, fmt.Errorf("line %d: %w", number, err)
		}
		if record.Backend == "" || record.Run < 1 || record.Speed == nil && record.Outage == nil && record.Return == nil {
			return 0, fmt.Errorf("line %d is no record of a run", number)
		}
		r.records = append(r.records, record)
		whole = int64(len(text) - len(rest))
	}
}

// has finds a run that was made before. It is an error when runs of its scenario were made on other terms: they would not
// compare.
func (r *results) has(want *Record) (found *Record, err error) {
	for i := range r.records {
		have := &r.records[i]
		if err := have.like(want); err != nil {
			return nil, err
		}
		if have.key() == want.key() {
			found = have
		}
	}
	return found, nil
}

// like returns an ErrResults when two runs of one scenario were made on different terms.
func (r *Record) like(other *Record) error {
	if r.Scenario != other.Scenario || r.terms() == other.terms() {
		return nil
	}
	return fmt.Errorf("%w: run %d of %s (%v) was made on other terms than run %d of %s (%v), %+v and %+v: use another file",
		ErrResults, r.Run, r.Backend, r.Cell, other.Run, other.Backend, other.Cell, r.terms(), other.terms())
}

// add keeps a record.
func (r *results) add(record *Record) error {
	r.records = append(r.records, *record)
	if r.file == nil {
		return nil
	}
	line, err := json.Marshal(record)
	if err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrResults, err)
	}
	return nil
}

func (r *results) close() error {
	if r.file == nil {
		return nil
	}
	return r.file.Close()
}
