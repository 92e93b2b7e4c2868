package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/viewline/viewline/txn"
)

// Kind is what each operation of a run does.
type Kind string

// The kinds.
const (
	// Transaction reads some objects and writes some of them, in one update transaction.
	Transaction Kind = "txn"
	// Put writes one object, whatever it held.
	Put Kind = "put"
	// Get reads one object at a fresh snapshot.
	Get Kind = "get"
)

// ErrOptions is what every error of Options.Validate is.
var ErrOptions = errors.New("bench: bad options")

// Options describe one run. The zero value is a useful one.
type Options struct {
	Kind Kind `json:"kind"`
	// Reads and Writes are the objects of one transaction; the writes are the first of the reads, as far as
	// there are so many. Default 2 and 2.
	Reads  int `json:"reads"`
	Writes int `json:"writes"`
	// Shards is how many shards one transaction touches: 1 (default) or 2.
	Shards int `json:"shards"`
	// Callers is how many operations are under way at once (default 64), over Clerks clerks (default 1).
	Callers int `json:"callers"`
	Clerks  int `json:"clerks"`
	// Theta is the skew of the keys, from 0 (uniform).
	Theta float64 `json:"theta"`
	// Keys is the number of objects (default 100,000), ValueBytes the size of each value (default 128).
	Keys       int `json:"keys"`
	ValueBytes int `json:"value_bytes"`
	// Duration of the measured part; default 5 s.
	Duration time.Duration `json:"duration"`
	// Seed draws everything that is drawn.
	Seed uint64 `json:"seed"`
	// RecordMax ends the run early when that many transactions are recorded. Default 2,000,000.
	RecordMax int `json:"record_max"`
}

// WithDefaults fills what is zero.
func (o Options) WithDefaults() Options {
	if o.Kind == "" {
		o.Kind = Transaction
	}
	if o.Kind == Transaction && o.Reads == 0 && o.Writes == 0 {
		o.Reads, o.Writes = 2, 2
	}
	for _, field := range []struct {
		value    *int
		standard int
	}{{&o.Shards, 1}, {&o.Callers, 64}, {&o.Clerks, 1}, {&o.Keys, 100_000}, {&o.ValueBytes, 128}, {&o.RecordMax, 2_000_000}} {
		if *field.value == 0 {
			*field.value = field.standard
		}
	}
	if o.Duration == 0 {
		o.Duration = 5 * time.Second
	}
	return o
}

// Validate names the first thing that is wrong, as an ErrOptions, or returns nil.
func (o Options) Validate() error {
	o = o.WithDefaults()
	objects := max(o.Reads, o.Writes)
	switch {
	case o.Kind != Transaction && o.Kind != Put && o.Kind != Get:
		return fmt.Errorf("%w: kind %q is not txn, put or get", ErrOptions, o.Kind)
	case o.Reads < 0 || o.Writes < 0 || objects > txn.KeysMax:
		return fmt.Errorf("%w: %d reads and %d writes", ErrOptions, o.Reads, o.Writes)
	case o.Shards < 1 || o.Shards > 2:
		return fmt.Errorf("%w: a transaction touches 1 or 2 shards, not %d", ErrOptions, o.Shards)
	case o.Kind == Transaction && o.Shards > objects:
		return fmt.Errorf("%w: %d objects cannot lie on %d shards", ErrOptions, objects, o.Shards)
	case o.Callers < 1 || o.Clerks < 1 || o.Clerks > o.Callers:
		return fmt.Errorf("%w: %d callers over %d clerks", ErrOptions, o.Callers, o.Clerks)
	case o.Keys < 4*objects || o.Keys < 1:
		return fmt.Errorf("%w: %d keys are too few for %d in a transaction", ErrOptions, o.Keys, objects)
	case o.ValueBytes < 0 || o.ValueBytes > txn.ValueBytesMax || objects*o.ValueBytes > txn.TxnBytesMax/2:
		return fmt.Errorf("%w: values of %d bytes", ErrOptions, o.ValueBytes)
	case o.Theta < 0 || o.Duration < 0 || o.RecordMax < 1:
		return fmt.Errorf("%w: theta %g, duration %v, record_max %d", ErrOptions, o.Theta, o.Duration, o.RecordMax)
	}
	return nil
}
