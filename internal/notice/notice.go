// Package notice logs what outsiders bring about, so that they cannot flood the log: each complaint about each subject
// at most once a minute, with how often it was held back since. What it remembers is bounded.
package notice

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// interval is the least time between two of the same.
	interval = time.Minute
	// subjectsMax bounds what is remembered. Beyond it, subjects that are new share a notice for each complaint.
	subjectsMax = 1024
	others      = "others"
)

// Log complains. It may be used from many goroutines.
type Log struct {
	logger *slog.Logger

	mu       sync.Mutex
	said     map[about]*notice // guarded by mu
	forgetAt time.Time         // when the next may be forgotten, if none could be before; guarded by mu
}

type about struct{ complaint, subject string }

type notice struct {
	at       time.Time
	heldBack int
}

// New makes a Log that writes to a logger.
func New(logger *slog.Logger) *Log { return &Log{logger: logger, said: map[about]*notice{}} }

// Warn complains about a subject, unless it has within the last minute. A complaint is one of a few texts that the
// program has; only the subject and the attributes may come from outside.
func (l *Log) Warn(complaint, subject string, attributes ...any) {
	heldBack, due := l.due(about{complaint, subject}, time.Now())
	if !due {
		return
	}
	if heldBack > 0 {
		attributes = append(attributes[:len(attributes):len(attributes)], "held_back", heldBack)
	}
	l.logger.Warn(complaint, attributes...)
}

// due reports whether a complaint is to be made now, and how often it was not since the last time.
func (l *Log) due(a about, now time.Time) (heldBack int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.said[a]
	if last == nil && len(l.said) >= subjectsMax {
		l.forget(now)
	}
	if last == nil && len(l.said) >= subjectsMax {
		a.subject = others
		last = l.said[a]
	}
	if last != nil && now.Sub(last.at) < interval {
		last.heldBack++
		return 0, false
	}
	if last != nil {
		heldBack = last.heldBack
	}
	l.said[a] = &notice{at: now}
	return heldBack, true
}

// forget lets go what might be said again now.
func (l *Log) forget(now time.Time) {
	if now.Before(l.forgetAt) {
		return
	}
	l.forgetAt = now.Add(interval)
	for a, n := range l.said {
		next := n.at.Add(interval)
		switch {
		case !now.Before(next):
			delete(l.said, a)
		case next.Before(l.forgetAt):
			l.forgetAt = next
		}
	}
}
