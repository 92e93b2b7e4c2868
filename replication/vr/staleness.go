package vr

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/core"
)

// staleRead is a caller of ReadStale that waits.
type staleRead struct {
	atMost time.Duration
	token  uint64           // the owner's
	done   chan staleAnswer // has room for the answer
}

type staleAnswer struct {
	staleness replication.Staleness
	err       error
}

// staleWork is what came to the owner about a stale read: to begin it, or to give it up.
type staleWork struct {
	*staleRead
	cancel bool
}

func (m *mailbox) putStale(work staleWork) error {
	return m.put(func() error {
		// Each caller cancels once at most, which always has room.
		if m.stale >= m.limits.ReadsMax && !work.cancel {
			return replication.ErrOverloaded
		}
		if !work.cancel {
			m.stale++
		}
		m.work.stale = append(m.work.stale, work)
		return nil
	})
}

// releaseStale takes answered stale reads out of the account.
func (m *mailbox) releaseStale(count int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stale -= count
}

// clockMargin is by how much this replica's clock may be slower than another's.
func (o Options) clockMargin() core.ClockMargin { return core.ClockMargin(10 * o.LeaseMarginPercent) }

// elapsed is how long ago, by this replica's clock, the state was as of; false: nothing is known.
func (r *Replica) elapsed() (uint64, bool) {
	asOf := r.asOf.Load()
	if asOf == nil {
		return 0, false
	}
	now := r.clock()
	return now - min(*asOf, now), true
}

// age is how old the state is, by any clock of the group; false: nothing is known.
func (r *Replica) age() (time.Duration, bool) {
	elapsed, known := r.elapsed()
	return r.longest(elapsed), known
}

func (r *Replica) longest(elapsed uint64) time.Duration {
	return time.Duration(min(r.options.clockMargin().Longest(elapsed), math.MaxInt64))
}

// ReadStale implements replication.StaleReader. What the owner has published last is enough for most calls, which then
// wait for nobody.
func (r *Replica) ReadStale(ctx context.Context, atMost time.Duration) (replication.Staleness, error) {
	if r.options.isWitness() {
		return replication.Staleness{}, ErrWitness
	}
	atMost = max(atMost, 0)
	if elapsed, known := r.elapsed(); known && r.options.clockMargin().Within(elapsed, uint64(atMost)) {
		r.counters.staleAtOnce.Add(1)
		return replication.Staleness{Age: r.longest(elapsed)}, nil
	}
	asked := &staleRead{atMost: atMost, done: make(chan staleAnswer, 1)}
	if err := r.mailbox.putStale(staleWork{staleRead: asked}); err != nil {
		r.countRefusal(err)
		return replication.Staleness{}, err
	}
	select {
	case answer := <-asked.done:
		if answer.err == nil {
			r.counters.staleWaited.Add(1)
		}
		return answer.staleness, answer.err
	case <-ctx.Done():
	}
	// A mailbox that is closed needs no cancelling: the owner answers everybody when it ends.
	_ = r.mailbox.putStale(staleWork{staleRead: asked, cancel: true})
	r.counters.staleTooOld.Add(1)
	age, _ := r.age()
	return replication.Staleness{}, fmt.Errorf("%w: %w", &replication.TooStaleError{Age: age, Primary: r.Status().Primary}, context.Cause(ctx))
}

// askStale passes on to the core what was asked about stale reads.
func (o *owner) askStale(asked []staleWork) {
	for _, work := range asked {
		if work.cancel {
			o.core.CancelReadStale(work.token)
			continue
		}
		o.token++
		work.token = o.token
		if err := o.core.ReadStale(work.token, uint64(work.atMost)); err != nil {
			refusal := o.translate(err)
			o.countRefusal(refusal)
			o.mailbox.releaseStale(1)
			work.done <- staleAnswer{err: refusal}
			continue
		}
		o.stale[work.token] = work.staleRead
	}
}

// answerStale answers by token. Who has given up hears nothing of it.
func (o *owner) answerStale(answers []core.StaleRead) {
	for _, answer := range answers {
		asked := o.stale[answer.Token]
		delete(o.stale, answer.Token)
		if answer.OK {
			asked.done <- staleAnswer{staleness: replication.Staleness{Age: time.Duration(answer.Age)}}
		}
	}
	if len(answers) > 0 {
		o.mailbox.releaseStale(len(answers))
	}
}

// publishAge lets callers see how old the state is.
func (o *owner) publishAge() {
	asOf, known := o.core.AsOf()
	if last := o.asOf.Load(); known && (last == nil || *last != asOf) {
		o.asOf.Store(&asOf)
	}
}

// refuseStale answers those who wait when the owner ends.
func (o *owner) refuseStale(rest []staleWork, refusal error) {
	for _, work := range rest {
		if !work.cancel {
			work.done <- staleAnswer{err: refusal}
		}
	}
}
