package shardserver

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// How much of the history one scan looks at.
const (
	unendedScanMax   = 1024
	redriveScanEvery = 10 // scans of the line for each scan of the commits without an END
	hurriedMax       = 1024
)

// terminator finishes what clerks have left behind. Its goroutine owns everything but the mailbox.
type terminator struct {
	server *Server
	wake   chan struct{}

	mu      sync.Mutex // guards mailbox and hurried
	mailbox []arrival
	hurried map[txn.Attempt]struct{}

	// seen is when this process first saw what is prepared now, on every replica, so that an attempt is as old
	// as it is when another primary takes over.
	seen    map[txn.Attempt]time.Time
	running map[txn.Attempt]*termination
	timers  timerHeap
	scans   uint64
	early   rateLimit
	due     map[txn.Attempt]time.Time // commits without an END, when they are to be taken up
}

// arrival is an event for a termination.
type arrival struct {
	to    *termination
	event terminate.Event
}

func newTerminator(s *Server) *terminator {
	return &terminator{
		server: s, wake: make(chan struct{}, 1), hurried: map[txn.Attempt]struct{}{}, seen: map[txn.Attempt]time.Time{},
		running: map[txn.Attempt]*termination{}, due: map[txn.Attempt]time.Time{},
		early: rateLimit{perSecond: s.options.EarlyTerminationsPerSecond},
	}
}

// hurry asks for an early end of attempts, as far as they are prepared and the rate allows it.
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

func (t *terminator) take() (arrivals []arrival, hurried map[txn.Attempt]struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	arrivals, t.mailbox = t.mailbox, nil
	if len(t.hurried) > 0 {
		hurried, t.hurried = t.hurried, map[txn.Attempt]struct{}{}
	}
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
			if t.running[arrival.to.attempt] == arrival.to {
				t.act(arrival.to, arrival.to.machine.Step(arrival.event))
			}
		}
		t.fire(time.Now())
		if scanNow || len(hurried) > 0 && t.early.left(time.Now()) {
			t.scan(time.Now(), hurried)
		}
		timer.Reset(t.timers.wait(time.Now()))
	}
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
func (t *terminator) scan(now time.Time, hurried map[txn.Attempt]struct{}) {
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
		t.due = nil
		return
	}
	for _, entry := range prepared {
		_, hurry := hurried[entry.Attempt]
		inDoubt := now.Sub(seen[entry.Attempt]) >= t.server.options.InDoubtAge
		if t.free(entry.Attempt) && (inDoubt || hurry && t.early.allow(now)) {
			if inDoubt {
				seen[entry.Attempt] = now // if this one gives up, the next one comes after another such age
			}
			t.begin(entry.Attempt, entry.Participants, terminate.New)
		}
	}
	if t.scans%redriveScanEvery == 0 {
		t.redrive(now)
	}
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

// redrive takes up commits that nobody has ended, the oldest of them only: those that this process has seen so
// for an age, and has not taken up for another one. Whoever has been due for longest comes first.
func (t *terminator) redrive(now time.Time) {
	s := t.server
	s.mu.Lock()
	unended := s.state.Unended(math.MaxUint64, unendedScanMax)
	s.mu.Unlock()
	due := make(map[txn.Attempt]time.Time, len(unended))
	for _, commit := range unended {
		at, known := t.due[commit.Attempt]
		if !known {
			at = now.Add(s.options.RedriveAge)
		}
		due[commit.Attempt] = at
	}
	t.due = due
	slices.SortStableFunc(unended, func(a, b history.Unended) int { return due[a.Attempt].Compare(due[b.Attempt]) })
	for _, commit := range unended {
		if due[commit.Attempt].After(now) {
			return
		}
		if t.free(commit.Attempt) {
			due[commit.Attempt] = now.Add(s.options.RedriveAge)
			t.begin(commit.Attempt, commit.Participants, terminate.NewRedrive)
		}
	}
}

// free reports whether a termination of the attempt may begin.
func (t *terminator) free(attempt txn.Attempt) bool {
	return t.running[attempt] == nil && len(t.running) < t.server.options.TerminationsMax
}

// dropAll ends all terminations: the next primary has its own.
func (t *terminator) dropAll() {
	if len(t.running) > 0 {
		t.running = map[txn.Attempt]*termination{}
	}
	t.timers = t.timers[:0]
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
