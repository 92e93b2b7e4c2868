package storage

import (
	"fmt"
	"math"
	"time"

	"go.etcd.io/bbolt"
)

// markLater has the mark written when nothing more comes, or soon.
func (l *segmentLog) markLater() {
	l.appended = time.Now()
	if l.armed {
		return
	}
	l.armed = true
	if l.timer == nil {
		l.timer = time.AfterFunc(math.MaxInt64, l.markNow)
	}
	l.timer.Reset(l.options.idle)
}

// markNow is the timer's.
func (l *segmentLog) markNow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	now := time.Now()
	if wait := l.options.idle - now.Sub(l.appended); wait > 0 && now.Sub(l.marked) < l.options.markLatest && !l.closed {
		l.armed = true
		l.timer.Reset(wait)
		return
	}
	if l.closed || l.disk.usable() != nil {
		return
	}
	if err := l.mark(); err != nil {
		_ = l.disk.fail(fmt.Errorf("storage: mark in %s: %w", l.base.path, err)) // the next call tells of it
	}
}

// mark writes down how far the log is, and drops what need not be kept.
func (l *segmentLog) mark() error {
	if l.broken || !l.settled {
		return nil
	}
	next := l.current()
	next.list = next.list.truncateBelow(l.keep)
	next.is.base, next.is.baseHash = next.list.base, next.list.baseHash
	if len(next.list.segments) == len(l.list.segments) && l.markedAll() {
		return nil
	}
	state := l.hardState
	err := l.commit(&next, state, func(bucket *bbolt.Bucket) error { return bucket.Put([]byte(keyHardState), encodeHardState(state)) })
	l.broken = err != nil
	return err
}

// markedAll: replica.db says exactly how far the last segment goes.
func (l *segmentLog) markedAll() bool {
	n := len(l.list.segments)
	return !l.list.open || l.list.segments[n-1].end == uint64(l.end)
}
