package replicationtest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// T is what a case of the suite uses of a *testing.T.
type T interface {
	Helper()
	Logf(format string, arguments ...any)
	Errorf(format string, arguments ...any)
	FailNow()
	Failed() bool
	Cleanup(f func())
	Context() context.Context
	TempDir() string
}

// attempt is a T that remembers how a case fails, and does not fail the test that it belongs to.
type attempt struct {
	outer  *testing.T
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex // guards what follows
	failures []string
	cleanups []func()
}

// Try runs one case and returns what it says in failing; nothing: it has passed. It is for those who want to know that
// the suite sees a mistake.
func Try(t *testing.T, b Backend, name string) string {
	t.Helper()
	all := b.cases()
	at := slices.IndexFunc(all, func(c testCase) bool { return c.name == name })
	if at < 0 {
		t.Fatalf("there is no case %q", name)
	}
	a := &attempt{outer: t}
	a.ctx, a.cancel = context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { // FailNow ends the goroutine
		defer close(ended)
		defer a.clean()
		all[at].run(a, b)
	}()
	<-ended
	return strings.Join(a.failures, "\n")
}

// clean runs what is to be done at the end, the newest first.
func (a *attempt) clean() {
	a.cancel()
	for {
		a.mu.Lock()
		last := len(a.cleanups) - 1
		if last < 0 {
			a.mu.Unlock()
			return
		}
		f := a.cleanups[last]
		a.cleanups = a.cleanups[:last]
		a.mu.Unlock()
		f()
	}
}

// Helper has nothing to do.
func (*attempt) Helper() {}

// Logf says nothing: a case that fails is what is hoped for.
func (*attempt) Logf(string, ...any) {}

// Errorf remembers.
func (a *attempt) Errorf(format string, arguments ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failures = append(a.failures, fmt.Sprintf(format, arguments...))
}

// FailNow ends the case.
func (a *attempt) FailNow() { runtime.Goexit() }

// Failed reports whether it has.
func (a *attempt) Failed() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.failures) > 0
}

// Cleanup comes after the case.
func (a *attempt) Cleanup(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cleanups = append(a.cleanups, f)
}

// Context ends with the case, before what Cleanup was given.
func (a *attempt) Context() context.Context { return a.ctx }

// TempDir is the test's own.
func (a *attempt) TempDir() string { return a.outer.TempDir() }
