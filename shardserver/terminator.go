package shardserver

import (
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// hurriedMax bounds the attempts that wait for an early termination. One beyond it waits for its age.
const hurriedMax = 1024

// terminator finishes what clerks have left behind. Its goroutine owns everything but the mailbox.
type terminator struct {
	server *Server
	wake   chan struct{}

	mu      sync.Mutex // guards mailbox and hurried
	mailbox []arrival
	hurried map[txn.Attempt]struct{}

	// seen is when this process first saw what is prepared now, on every replica, so that an attempt is as old
	// as it is when another primary takes over; or when it was last taken up.
	seen     map[txn.Attempt]time.Time
	running  map[txn.Attempt]*termination
	timers   timerHeap
	scans    uint64
	early    rateLimit
	waiting  map[txn.Attempt]struct{} // hurried ones that the rate did not allow yet; at most hurriedMax
	redriver redriver
}

// arrival is an event for a termination.
type arrival struct {
	to    *termination
	event terminate.Event
}

func newTerminator(s *Server) *terminator {
	return &terminator{
		server: s, wake: make(chan struct{}, 1), hurried: map[txn.Attempt]struct{}{}, seen: map[txn.Attempt]time.Time{},
		running: map[txn.Attempt]*termination{}, waiting: map[txn.Attempt]struct{}{},
		early:    rateLimit{perSecond: s.options.EarlyTerminationsPerSecond},
		redriver: redriver{age: s.options.RedriveAge, max: (s.options.TerminationsMax + 1) / 2, silent: map[txn.ShardID]time.Time{}},
	}
}

// hurry asks for an early end of attempts, as far as they are prepared, as soon as the rate allows it.
func (t *terminator) hurry(attempts []txn.Attempt) {
	t.mu.Lock()
	for _, attempt := range attempts {
		if len(t.hurried) < hurriedMax {
			t.hurried[attempt] = struct{}{}
		}
	}
	t.mu.Unlock()
	t.nudge()
}

func (t *terminator) nudge() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// deliver puts an event into the mailbox. It does not block; what is outstanding bounds the mailbox.
func (t *terminator) deliver(to *termination, event terminate.Event) {
	t.mu.Lock()
	t.mailbox = append(t.mailbox, arrival{to: to, event: event})
	t.mu.Unlock()
	t.nudge()
}

// take returns the events that have come, and lets the hurried attempts wait for the next scan. It reports whether
// there were any.
func (t *terminator) take() (arrivals []arrival, hurried bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	arrivals, t.mailbox = t.mailbox, nil
	hurried = len(t.hurried) > 0
	for attempt := range t.hurried {
		if len(t.waiting) < hurriedMax {
			t.waiting[attempt] = struct{}{}
		}
	}
	clear(t.hurried)
	return arrivals, hurried
}

// run is the terminator's goroutine.
func (t *terminator) run() {
	scan := time.NewTicker(t.server.options.ScanInterval)
	defer scan.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		scanNow := false
		select {
		case <-t.wake:
		case <-timer.C:
		case <-scan.C:
			scanNow = true
		case <-t.server.ctx.Done():
			return
		}
		arrivals, hurried := t.take()
		for _, arrival := range arrivals {
			t.arrive(arrival, time.Now())
		}
		t.fire(time.Now())
		if scanNow || hurried && t.early.left(time.Now()) {
			t.scan(time.Now())
		}
		timer.Reset(t.timers.wait(time.Now()))
	}
}

// arrive hands an event to its machine.
func (t *terminator) arrive(arrival arrival, now time.Time) {
	if t.running[arrival.to.attempt] != arrival.to {
		return
	}
	switch event := arrival.event.(type) {
	case terminate.Reply:
		t.redriver.heard(event.Send.Shard, true, now)
	case terminate.Failed:
		t.redriver.heard(event.Send.Shard, false, now)
	}
	t.act(arrival.to, arrival.to.machine.Step(arrival.event))
}

// fire hands due timers to their machines.
func (t *terminator) fire(now time.Time) {
	for {
		due, ok := t.timers.take(now)
		if !ok {
			return
		}
		if t.running[due.to.attempt] == due.to {
			t.act(due.to, due.to.machine.Step(terminate.Timer{Token: due.token}))
		}
	}
}

// scan looks through the line and begins with what is in doubt.
func (t *terminator) scan(now time.Time) {
	t.scans++
	serving, prepared := t.line()
	seen := make(map[txn.Attempt]time.Time, len(prepared))
	for _, entry := range prepared {
		since, ok := t.seen[entry.Attempt]
		if !ok {
			since = now
		}
		seen[entry.Attempt] = since
	}
	t.seen = seen
	if !serving {
		t.dropAll()
		return
	}
	t.end(now, t.due(now, prepared))
	if t.scans%redriveScanEvery == 0 || t.redriver.more {
		t.redrive(now)
	}
}

// due returns those that are in doubt or that somebody waits for. Those that were taken up before and could not be
// finished come behind the others.
func (t *terminator) due(now time.Time, prepared []*txn.Transaction) []*txn.Transaction {
	due := slices.DeleteFunc(prepared, func(entry *txn.Transaction) bool {
		_, hurried := t.waiting[entry.Attempt]
		return t.running[entry.Attempt] != nil || !hurried && !t.inDoubt(now, entry.Attempt)
	})
	slices.SortStableFunc(due, func(a, b *txn.Transaction) int { return t.seen[a.Attempt].Compare(t.seen[b.Attempt]) })
	return due
}

func (t *terminator) inDoubt(now time.Time, attempt txn.Attempt) bool {
	return now.Sub(t.seen[attempt]) >= t.server.options.InDoubtAge
}

// end begins with as many as it may. Hurried ones that it may not begin with yet go on waiting.
func (t *terminator) end(now time.Time, due []*txn.Transaction) {
	waiting := make(map[txn.Attempt]struct{}, len(t.waiting))
	for _, entry := range due {
		_, hurried := t.waiting[entry.Attempt]
		inDoubt := t.inDoubt(now, entry.Attempt)
		if t.room() && (inDoubt || hurried && t.early.allow(now)) {
			if inDoubt {
				t.seen[entry.Attempt] = now // if this one gives up, the next one comes after another such age
			}
			t.begin(&termination{attempt: entry.Attempt}, entry.Participants, terminate.New)
		} else if hurried {
			waiting[entry.Attempt] = struct{}{}
		}
	}
	t.waiting = waiting
}

// line returns the transactions prepared here, by ascending timestamp, and whether this replica serves.
func (t *terminator) line() (serving bool, prepared []*txn.Transaction) {
	s := t.server
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.Prepared(func(entry history.Prepared) bool {
		prepared = append(prepared, entry.Txn)
		return true
	})
	_, serving = s.serving()
	return serving, prepared
}

// room reports whether another termination may begin.
func (t *terminator) room() bool { return len(t.running) < t.server.options.TerminationsMax }

// dropAll ends all terminations: the next primary has its own.
func (t *terminator) dropAll() {
	if len(t.running) > 0 {
		t.running = map[txn.Attempt]*termination{}
	}
	t.timers = t.timers[:0]
	clear(t.waiting)
	t.redriver.forget()
}

// rateLimit allows so much in each second, counted from the first.
type rateLimit struct {
	perSecond int
	window    time.Time
	used      int
}

// left reports whether anything is left of this second's.
func (r *rateLimit) left(now time.Time) bool {
	if now.Sub(r.window) >= time.Second {
		r.window, r.used = now, 0
	}
	return r.used < r.perSecond
}

func (r *rateLimit) allow(now time.Time) bool {
	allowed := r.left(now)
	if allowed {
		r.used++
	}
	return allowed
}
