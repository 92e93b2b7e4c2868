package backends

import (
	"fmt"
	"time"
)

// Terms are what is the same for every backend.
type Terms struct {
	// Heartbeat is how often an idle primary gives a sign of life. Raft draws it between 0.6 times this and 1.2 times.
	Heartbeat time.Duration `json:"heartbeat_ns"`
	// ViewChangeTimeout is the shortest time after which a backup takes the primary for lost; it draws one up to twice as
	// long.
	ViewChangeTimeout time.Duration `json:"view_change_timeout_ns"`
	// BatchEntriesMax and BatchBytesMax bound a message of entries, InFlightMax the messages that a backup has not answered.
	BatchEntriesMax int `json:"batch_entries_max"`
	BatchBytesMax   int `json:"batch_bytes_max"`
	InFlightMax     int `json:"in_flight_max"`
	// A checkpoint is written after so many operations or bytes.
	CheckpointEvery uint64 `json:"checkpoint_every"`
	CheckpointBytes int    `json:"checkpoint_bytes"`
	// Registers is how many the state machine has.
	Registers int `json:"registers"`
}

// StandardTerms are those that stand for fields that are 0.
func StandardTerms() Terms {
	return Terms{
		Heartbeat: 50 * time.Millisecond, ViewChangeTimeout: 300 * time.Millisecond,
		BatchEntriesMax: 512, BatchBytesMax: 1 << 20, InFlightMax: 16,
		CheckpointEvery: 1 << 16, CheckpointBytes: 64 << 20, Registers: 4096,
	}
}

// WithDefaults fills what is zero.
func (t Terms) WithDefaults() Terms {
	standard := StandardTerms()
	setDefault(&t.Heartbeat, standard.Heartbeat)
	setDefault(&t.ViewChangeTimeout, standard.ViewChangeTimeout)
	setDefault(&t.BatchEntriesMax, standard.BatchEntriesMax)
	setDefault(&t.BatchBytesMax, standard.BatchBytesMax)
	setDefault(&t.InFlightMax, standard.InFlightMax)
	setDefault(&t.CheckpointEvery, standard.CheckpointEvery)
	setDefault(&t.CheckpointBytes, standard.CheckpointBytes)
	setDefault(&t.Registers, standard.Registers)
	return t
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// String is the terms in one sentence, for whoever reads the figures.
func (t Terms) String() string {
	return fmt.Sprintf("heartbeat %v, view change after %v to %v, at most %d entries and %d KiB in a message, %d messages in flight, "+
		"a checkpoint every %d operations or %d MiB", t.Heartbeat, t.ViewChangeTimeout, 2*t.ViewChangeTimeout, t.BatchEntriesMax,
		t.BatchBytesMax>>10, t.InFlightMax, t.CheckpointEvery, t.CheckpointBytes>>20)
}
