package vr

import (
	"fmt"
	"runtime"
	"time"

	"github.com/viewline/viewline/replication/vr/core"
)

// Bounds of what is written behind the owner: a primary whose disk is much slower than those of its backups waits for it
// when there is more.
const (
	behindMax      = 64
	behindBytesMax = 8 << 20
)

// behind writes a primary's entries while the owner goes on: the next operations are on their way to the backups
// meanwhile, and all that was given to it through one fsync is one write. All but run belongs to the owner.
type behind struct {
	storage Storage
	// There is room in both for all that may be under way, so that nobody waits.
	given chan Batch
	done  chan wrote

	underWay []late // in the order in which they were given
	bytes    int
	durable  uint64 // the number of the last deferred Ready that is durable
}

// late is a batch that was given and not written yet.
type late struct {
	number  uint64 // of the deferred Ready
	last    core.OpNumber
	entries int
	bytes   int
}

// wrote tells that so many of the batches that were given are durable.
type wrote struct {
	batches int
	took    time.Duration
	err     error
}

func newBehind(storage Storage) behind {
	return behind{storage: storage, given: make(chan Batch, behindMax), done: make(chan wrote, behindMax)}
}

func (b *behind) hasRoom() bool { return len(b.underWay) < behindMax && b.bytes < behindBytesMax }

func (b *behind) give(batch Batch) {
	l := late{last: batch.Entries[len(batch.Entries)-1].Op, entries: len(batch.Entries)}
	for i := range batch.Entries {
		l.bytes += len(batch.Entries[i].Payload)
	}
	b.underWay, b.bytes = append(b.underWay, l), b.bytes+l.bytes
	b.given <- batch
}

// run writes what is given, until the owner is gone. After an error nothing is written any more.
func (b *behind) run() {
	var failure error
	var entries []core.Entry
	for batch := range b.given {
		// The yield: the messages that carry these entries leave before this thread waits for the disk, and more may come.
		runtime.Gosched()
		count, more := 1, len(b.given)
		if more > 0 {
			entries = append(entries[:0], batch.Entries...)
			for ; more > 0; more-- {
				next := <-b.given
				entries, batch.HardState, count = append(entries, next.Entries...), next.HardState, count+1
			}
			batch.Entries = entries
		}
		began := time.Now()
		if failure == nil {
			failure = b.storage.Write(batch)
		}
		clear(entries)
		b.done <- wrote{batches: count, took: time.Since(began), err: failure}
	}
}

// wrote takes note of what has been written behind the owner.
func (o *owner) wrote(w wrote) error {
	if w.err != nil {
		return fmt.Errorf("vr: write: %w", w.err)
	}
	b := &o.behind
	for i := range b.underWay[:w.batches] {
		o.counters.entriesPersisted.Add(uint64(b.underWay[i].entries))
		b.bytes -= b.underWay[i].bytes
	}
	last := b.underWay[w.batches-1]
	b.underWay, b.durable = b.underWay[:copy(b.underWay, b.underWay[w.batches:])], last.number
	o.counters.durableWrites.Add(w.took)
	o.trace(TraceEvent{Kind: TraceDurable, Durable: last.last})
	return nil
}

// settle waits until nothing is written behind the owner any more.
func (o *owner) settle() error {
	for len(o.behind.underWay) > 0 {
		if err := o.wrote(<-o.behind.done); err != nil {
			return err
		}
	}
	return nil
}

// advance tells the core that a Ready is done, and what is durable of those that were deferred.
func (o *owner) advance(deferred bool) {
	if deferred {
		o.behind.underWay[len(o.behind.underWay)-1].number = o.core.Defer()
	} else {
		o.core.Advance()
	}
	o.core.Durable(o.behind.durable)
}
