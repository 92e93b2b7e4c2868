package transport

import (
	"log/slog"
	"sync"
	"time"
)

const (
	noticeInterval = time.Minute
	// noticesMax bounds what is remembered; beyond it every complaint is new.
	noticesMax = 1024
)

// notices logs each complaint at most once a minute, and says how often it was left out.
type notices struct {
	logger *slog.Logger

	mu   sync.Mutex
	said map[string]*notice // by complaint and subject; guarded by mu
}

type notice struct {
	at      time.Time
	omitted int
}

// warn logs a complaint about a subject, given by its name and value.
func (n *notices) warn(complaint, subject string, value any, more ...any) {
	text, _ := value.(string)
	omitted, due := n.due(complaint+"\x00"+text, time.Now())
	if !due {
		return
	}
	arguments := append([]any{subject, value}, more...)
	if omitted > 0 {
		arguments = append(arguments, "omitted", omitted)
	}
	n.logger.Warn(complaint, arguments...)
}

// due reports whether a complaint is to be made now, and how often it was not since the last time.
func (n *notices) due(name string, now time.Time) (omitted int, due bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	last := n.said[name]
	if last != nil && now.Sub(last.at) < noticeInterval {
		last.omitted++
		return 0, false
	}
	if n.said == nil || len(n.said) >= noticesMax {
		n.said = map[string]*notice{}
	}
	n.said[name] = &notice{at: now}
	if last != nil {
		omitted = last.omitted
	}
	return omitted, true
}
