package vr

import (
	"sync"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// proposal is an operation on its way to the core.
type proposal struct {
	view      core.ViewNumber
	operation []byte
	done      func(replication.Result)
}

// read is a read barrier on its way to the core.
type read struct {
	view core.ViewNumber
	done func(error)
}

// work is what waited in the mailbox.
type work struct {
	messages    []core.Message
	proposals   []proposal
	reads       []read
	checkpoints []chan<- error // callers of Checkpoint; each has room for its answer
	handovers   []handoverWork
	stale       []staleWork
	// reconfigurations are callers of Reconfigure.
	reconfigurations []*reconfiguration
	finished         *finishedJob // at most one job runs at a time
	damage           error
}

// clear keeps the memory and lets go what it refers to.
func (w *work) clear() {
	clear(w.messages)
	clear(w.proposals)
	clear(w.reads)
	clear(w.checkpoints)
	clear(w.handovers)
	clear(w.stale)
	clear(w.reconfigurations)
	*w = work{
		messages: w.messages[:0], proposals: w.proposals[:0], reads: w.reads[:0], checkpoints: w.checkpoints[:0], handovers: w.handovers[:0],
		reconfigurations: w.reconfigurations[:0],
		stale:            w.stale[:0],
	}
}

// mailbox holds what came for the owner while it was busy: everything that waited through one fsync is the
// next batch. Putting never blocks.
type mailbox struct {
	// wake has a token whenever something waits that the owner has not taken.
	wake chan struct{}

	limits Options

	mu     sync.Mutex // guards what follows
	closed error
	work   work
	awake  bool
	// Unanswered operations, their bytes, and reads: those in work and those that the owner has taken.
	operations, operationBytes, reads, stale int
	messageBytes                             int
}

func newMailbox(limits Options) *mailbox {
	return &mailbox{wake: make(chan struct{}, 1), limits: limits}
}

// put runs change under the lock and wakes the owner if it succeeds.
func (m *mailbox) put(change func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		return m.closed
	}
	if err := change(); err != nil {
		return err
	}
	m.signal()
	return nil
}

// signal needs mu.
func (m *mailbox) signal() {
	if !m.awake {
		m.awake = true
		select {
		case m.wake <- struct{}{}:
		default: // the token of before is still there
		}
	}
}

// putProposal is Submit's, and written out because it is hot. An error is certain.
func (m *mailbox) putProposal(p proposal) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		return m.closed
	}
	if m.operations >= m.limits.QueueMax || m.operationBytes+len(p.operation) > m.limits.QueueBytesMax {
		return replication.ErrOverloaded
	}
	m.operations++
	m.operationBytes += len(p.operation)
	m.work.proposals = append(m.work.proposals, p)
	m.signal()
	return nil
}

func (m *mailbox) putRead(r read) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed != nil {
		return m.closed
	}
	if m.reads >= m.limits.ReadsMax {
		return replication.ErrOverloaded
	}
	m.reads++
	m.work.reads = append(m.work.reads, r)
	m.signal()
	return nil
}

// putMessage reports whether there was room for a message of so many bytes.
func (m *mailbox) putMessage(message core.Message, size int) bool {
	return m.put(func() error {
		if len(m.work.messages) >= m.limits.MessagesMax || m.messageBytes > 0 && m.messageBytes+size > m.limits.MessagesBytesMax {
			return replication.ErrOverloaded
		}
		m.messageBytes += size
		m.work.messages = append(m.work.messages, message)
		return nil
	}) == nil
}

// checkpointsMax bounds the callers of Checkpoint that wait in the mailbox.
const checkpointsMax = 1024

func (m *mailbox) putCheckpoint(done chan<- error) error {
	return m.put(func() error {
		if len(m.work.checkpoints) >= checkpointsMax {
			return replication.ErrOverloaded
		}
		m.work.checkpoints = append(m.work.checkpoints, done)
		return nil
	})
}

// putFinished tells of the one background job. After close nobody wants to know.
func (m *mailbox) putFinished(job finishedJob) {
	_ = m.put(func() error {
		m.work.finished = &job
		return nil
	})
}

// putDamage tells of a checkpoint that was found damaged outside the owner.
func (m *mailbox) putDamage(err error) {
	_ = m.put(func() error {
		m.work.damage = err
		return nil
	})
}

// take exchanges everything that waits for an empty work.
func (m *mailbox) take(empty work) work {
	m.mu.Lock()
	defer m.mu.Unlock()
	taken := m.work
	m.work, m.awake, m.messageBytes = empty, false, 0
	return taken
}

// release takes answered operations and reads out of the account.
func (m *mailbox) release(operations, bytes, reads int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.operations -= operations
	m.operationBytes -= bytes
	m.reads -= reads
}

// close refuses everything from now on with err and returns what still waits.
func (m *mailbox) close(err error) work {
	m.mu.Lock()
	defer m.mu.Unlock()
	rest := m.work
	m.work = work{}
	if m.closed == nil {
		m.closed = err
	}
	return rest
}
