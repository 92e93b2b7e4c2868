package replicationtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/viewline/viewline/replication"
)

// served is a replica in a process of its own, as its parent calls it. Every method is one of net/rpc's, and the parent
// calls several at a time.
type served struct {
	replica replication.Replicator
	journal *journal
	end     func() error

	mu         sync.Mutex // guards complaints
	complaints []string
}

// The arguments and answers of the calls to a process of the suite. They are exported because net/rpc asks for it.
type (
	// Asked is what a call is about.
	Asked struct {
		View      replication.ViewNumber
		Operation []byte
		To        replication.ReplicaID
	}
	// Answered is an outcome.
	Answered struct {
		Result replication.Result // but for its Err
		Err    refusal
	}
	// Reported is how a replica and its state machine are.
	Reported struct {
		Status     replication.Status // but for its Failure
		Failure    string
		Complaints []string
		Applied    uint64
		Hash       uint64
	}
)

func (s *served) complain(format string, arguments ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.complaints = append(s.complaints, fmt.Sprintf(format, arguments...))
}

// Propose proposes an operation and waits for its outcome.
func (s *served) Propose(in Asked, out *Answered) error {
	result := replication.Propose(context.Background(), s.replica, in.View, in.Operation)
	out.Err = refuse(result.Err)
	result.Err = nil
	out.Result = result
	return nil
}

// Barrier waits for a read barrier.
func (s *served) Barrier(in Asked, out *Answered) error {
	out.Err = refuse(replication.AwaitReadBarrier(context.Background(), s.replica, in.View))
	return nil
}

// Checkpoint writes one.
func (s *served) Checkpoint(_ Asked, out *Answered) error {
	out.Err = refuse(s.replica.Checkpoint(context.Background()))
	return nil
}

// Report tells how the replica and its state are.
func (s *served) Report(_ Asked, out *Reported) error {
	out.Status = s.replica.Status()
	if failure := out.Status.Failure; failure != nil {
		out.Failure, out.Status.Failure = failure.Error(), nil
	}
	out.Applied, out.Hash = s.journal.state()
	s.mu.Lock()
	defer s.mu.Unlock()
	out.Complaints = slices.Clone(s.complaints)
	return nil
}

// Operations are all that were applied, in their order.
func (s *served) Operations(_ Asked, out *[]string) error {
	*out = s.journal.all()
	return nil
}

// Close ends the replica in order.
func (s *served) Close(_ Asked, out *Answered) error {
	out.Err = refuse(s.end())
	return nil
}

// refusal is an error that travels: its text, and which of the contract's errors it is. Without a text it is none.
type refusal struct {
	Text string
	Is   []int
}

// contractErrors are those that a refusal keeps.
func contractErrors() []error {
	return []error{
		replication.ErrOutcomeUnknown, replication.ErrOverloaded, replication.ErrClosed, replication.ErrTooLarge, replication.ErrNotPrimary,
	}
}

func refuse(err error) (r refusal) {
	if err == nil {
		return r
	}
	r.Text = err.Error()
	for i, each := range contractErrors() {
		if errors.Is(err, each) {
			r.Is = append(r.Is, i)
		}
	}
	return r
}

func (r refusal) err() error {
	if r.Text == "" {
		return nil
	}
	return &refusedThere{r}
}

// refusedThere is the error of another process.
type refusedThere struct{ refusal }

// Error is its text.
func (e *refusedThere) Error() string { return strings.TrimSpace("in its process: " + e.Text) }

// Unwrap makes it the contract's errors that it was.
func (e *refusedThere) Unwrap() (is []error) {
	for _, i := range e.Is {
		is = append(is, contractErrors()[i])
	}
	return is
}
