package storage

import (
	"fmt"

	"github.com/viewline/viewline/replication/vr/core"
)

// successor is what a transaction leaves.
type successor struct {
	list segmentList
	is   extent
	// entries go into a new segment behind those of the list.
	entries []core.Entry
}

// current is the successor of nothing changing.
func (l *segmentLog) current() successor {
	next := successor{list: l.list, is: l.is}
	next.list.segments = append([]segment(nil), l.list.segments...)
	if n := len(next.list.segments); l.list.open {
		tail := &next.list.segments[n-1]
		tail.end, tail.last, tail.lastHash = uint64(l.end), l.is.last, l.is.lastHash
	}
	return next
}

// restart drops everything: the log begins anew above base.
func (s *successor) restart(base core.OpNumber, hash core.Hash) {
	s.list.segments, s.list.open = nil, false
	s.list.base, s.list.baseHash = base, hash
	s.is = extent{base: base, baseHash: hash, last: base, lastHash: hash}
}

// plan works out what a change leaves, as logEdit.apply does it.
func (l *segmentLog) plan(next *successor, c *change) error {
	batch := &c.batch
	if c.anew != nil {
		l.keep = 0
		next.restart(c.anew.base, c.anew.baseHash)
	}
	if batch.Truncate && batch.TruncateAbove < next.is.last {
		if err := l.truncateAbove(next, batch.TruncateAbove); err != nil {
			return err
		}
	}
	if batch.TruncateBelow > next.is.last+1 && (len(batch.Entries) == 0 || batch.Entries[0].Op != next.is.last+1) {
		// A log that is removed whole need not join what follows it.
		if base := batch.TruncateBelow - 1; c.checkpoint.Op != base {
			return fmt.Errorf("%w: the log would begin after operation %d, the newest checkpoint is of %d", ErrGap, base, c.checkpoint.Op)
		}
		next.restart(c.checkpoint.Op, c.checkpoint.Hash)
	}
	if err := checkJoin(&next.is, batch.Entries); err != nil {
		return err
	}
	next.entries = batch.Entries
	if batch.TruncateBelow > next.is.last || len(next.entries) > 0 {
		next.list.open = false
	}
	next.is.extend(next.entries)
	if err := l.truncateBelow(next, batch.TruncateBelow); err != nil {
		return err
	}
	next.is.join(c.checkpoint)
	next.list.baseHash = next.is.baseHash
	return nil
}

// truncateBelow drops the segments that hold nothing to keep.
func (l *segmentLog) truncateBelow(next *successor, keep core.OpNumber) error {
	if keep > next.is.last+1 {
		return fmt.Errorf("%w: the log ends at operation %d, it cannot begin at %d", ErrGap, next.is.last, keep)
	}
	if keep == next.is.last+1 {
		next.entries = nil
		next.restart(next.is.last, next.is.lastHash)
		return nil
	}
	l.keep = max(l.keep, keep)
	next.list = next.list.truncateBelow(l.keep)
	next.is.base, next.is.baseHash = next.list.base, next.list.baseHash
	return nil
}

// truncateAbove lets the log end at keep. Segments above it go, and that which holds it counts up to there only.
func (l *segmentLog) truncateAbove(next *successor, keep core.OpNumber) error {
	list := &next.list
	if keep < list.base {
		return fmt.Errorf("%w: the log begins after operation %d, it cannot end at %d", ErrGap, list.base, keep)
	}
	l.keep = 0
	n := 0
	for n < len(list.segments) && list.segments[n].last < keep {
		n++
	}
	switch {
	case keep == list.base:
		next.restart(list.base, list.baseHash)
		return nil
	case list.segments[n].last > keep:
		cut, err := l.cut(&list.segments[n], list.first(n), keep)
		if err != nil {
			return err
		}
		list.segments[n] = cut
	}
	list.segments, list.open = list.segments[:n+1], false
	next.is.last, next.is.lastHash = keep, list.segments[n].lastHash
	return nil
}

// checkJoin refuses entries that do not follow the last one.
func checkJoin(is *extent, entries []core.Entry) error {
	for i := range entries {
		if want := is.last + 1 + core.OpNumber(i); entries[i].Op != want {
			return fmt.Errorf("%w: operation %d where %d belongs", ErrGap, entries[i].Op, want)
		}
	}
	return nil
}
