package backends

import (
	"errors"
	"sync"
)

// errNoAudit: the kernel cannot be asked for this process's fsyncs.
var errNoAudit = errors.New("backends: the kernel does not tell of fsyncs here")

// span is from when an operation was proposed to when it was acknowledged, by the clock of monotonic.
type span struct {
	Began uint64 `json:"began"`
	Ended uint64 `json:"ended"`
}

// audit holds when the process has begun fsyncs, by the kernel's word, in ascending order.
type audit struct {
	mu    sync.Mutex
	began []uint64
}

// add notes a moment, of the one goroutine that does so.
func (a *audit) add(moment uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.began = append(a.began, moment)
}

// all are the moments so far; none where there is no audit.
func (a *audit) all() []uint64 {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.began[:len(a.began):len(a.began)]
}
