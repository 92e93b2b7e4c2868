package vr

import (
	"fmt"
	"io"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// isWitness reports whether this replica has no state machine.
func (o Options) isWitness() bool { return o.Witness != 0 && o.Witness == o.Self }

// firstWitness is the witness among the group's first members, of whom one that joins knows nothing.
func (o Options) firstWitness() replication.ReplicaID {
	if o.Joining {
		return 0
	}
	return o.Witness
}

// validateState wants a state machine of everybody but of a witness.
func (o Options) validateState() error {
	switch {
	case o.StateMachine == nil && !o.isWitness():
		return fmt.Errorf("%w: no StateMachine", ErrOptions)
	case o.StateMachine != nil && o.isWitness():
		return fmt.Errorf("%w: a StateMachine, of which a witness has none", ErrOptions)
	}
	return nil
}

// nothing is what a witness has in the place of a state: its checkpoints are places in the log.
type nothing struct{}

// Apply is never called: a witness is given nothing to apply.
func (nothing) Apply(replication.OpNumber, [][]byte) [][]byte { return nil }

// Snapshot is of nothing.
func (nothing) Snapshot() (replication.Snapshot, error) { return nothing{}, nil }

// Restore refuses what is more than nothing.
func (nothing) Restore(from io.Reader) error {
	if read, err := io.Copy(io.Discard, from); err != nil {
		return err
	} else if read > 0 {
		return fmt.Errorf("a witness's checkpoint has a state of %d bytes", read)
	}
	return nil
}

// WriteTo writes nothing.
func (nothing) WriteTo(io.Writer) (int64, error) { return 0, nil }

// Release has nothing to release.
func (nothing) Release() {}

// passOver lets a witness go past what is committed, of which it is given nothing to apply.
func (o *owner) passOver() {
	if o.options.isWitness() {
		o.applied = o.core.Applied()
	}
}

// checkpointTo is the operation that a checkpoint would be of which is made now: the last one applied, or, for a witness,
// the last one that all active members have a checkpoint above. That costs nothing, so that each is taken.
func (o *owner) checkpointTo() core.OpNumber {
	if !o.options.isWitness() {
		return o.applied
	}
	if meta, ok := o.core.WitnessBase(); ok {
		return meta.Op
	}
	return o.checkpointed
}

// takePlace is a witness's fetch of a checkpoint: it needs the place in the log alone.
func (r *Replica) takePlace(wanted *core.FetchCheckpoint) finishedJob {
	job := finishedJob{fetched: true, meta: wanted.Meta, from: wanted.From}
	job.err = r.writeCheckpoint(wanted.Meta, nothing{})
	return job
}
