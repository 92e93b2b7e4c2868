package cluster_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
)

// lines is what nodes log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// Write takes what a handler writes, a line at a time.
func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

// count counts the lines with all of some texts in them.
func (l *lines) count(texts ...string) (count int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		has := true
		for _, text := range texts {
			has = has && strings.Contains(line, text)
		}
		if has {
			count++
		}
	}
	return count
}

func (l *lines) has(texts ...string) bool { return l.count(texts...) > 0 }
