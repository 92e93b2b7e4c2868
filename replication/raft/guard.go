package raft

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	hraft "github.com/hashicorp/raft"
)

// guard stands between hashicorp/raft and the stores. That library takes the process down when its stable store does not
// take the term, or its log store does not give an entry that it should have. Nothing that depends on either may happen
// then; so the guard ends the replica, which cuts it off from the others and from its state machine at that very moment,
// and only then lets the library go on, with an answer that it can live with. It also verifies each entry that it reads,
// and keeps the newest in memory.
type guard struct {
	stores    *Storage
	fail      func(error) // ends the replica; does not block
	forgotten *forgotten
	counters  *counters

	halted atomic.Bool // nothing is written any more

	voteTerm atomic.Uint64 // of the vote that is kept next

	writing sync.Mutex // held while the log is changed: its beginning and its end are by two goroutines

	mu          sync.RWMutex // guards what follows
	first, last uint64       // of the log; 0: it is empty
	cache       entryCache
}

// newGuard is for stores that nothing else uses any more.
func newGuard(stores *Storage, cacheBytesMax int, forgotten *forgotten, counters *counters, fail func(error)) (*guard, error) {
	g := &guard{stores: stores, fail: fail, forgotten: forgotten, counters: counters, cache: entryCache{bytesMax: cacheBytesMax}}
	err := protect(func() (err error) {
		if g.first, err = stores.logs.FirstIndex(); err == nil {
			g.last, err = stores.logs.LastIndex()
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("raft: bounds of the log: %w", err)
	}
	if term, err := g.GetUint64([]byte(keyCurrentTerm)); err == nil { // there may be none yet
		counters.lastTerm.Store(term)
	}
	return g, nil
}

// protect turns a panic of the database, which is its answer to a damaged page, into an error.
func protect(do func() error) (err error) {
	defer func() {
		if why := recover(); why != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, why)
		}
	}()
	return do()
}

// failed ends the replica and returns why.
func (g *guard) failed(what string, err error) error {
	err = fmt.Errorf("raft: %s: %w", what, err)
	g.fail(err)
	return err
}

// FirstIndex returns the index of the oldest entry; 0: there is none.
func (g *guard) FirstIndex() (uint64, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.first, nil
}

// LastIndex returns the index of the newest entry; 0: there is none.
func (g *guard) LastIndex() (uint64, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.last, nil
}

// end is index and term of the newest entry, of the log or of the newest snapshot.
func (g *guard) end() (index, term uint64) {
	index, term = g.stores.snapshots.end()
	var entry hraft.Log
	if _, last := g.bounds(); last >= index && last > 0 && g.GetLog(last, &entry) == nil {
		return last, entry.Term
	}
	return index, term
}

func (g *guard) bounds() (first, last uint64) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return g.first, g.last
}

// lookup takes an entry out of the cache, and reports whether the log has one there.
func (g *guard) lookup(index uint64) (cached *hraft.Log, there bool) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if index == 0 || index < g.first || index > g.last {
		return nil, false
	}
	return g.cache.get(index), true
}

// GetLog reads an entry. One that the log has and that cannot be read ends the replica; the library is given a no-op in
// its place, which goes nowhere.
func (g *guard) GetLog(index uint64, log *hraft.Log) error {
	cached, there := g.lookup(index)
	if !there {
		return hraft.ErrLogNotFound
	}
	if cached != nil {
		*log = *cached
		return nil
	}
	err := protect(func() error { return g.stores.logs.GetLog(index, log) })
	if err == nil && g.stores.sealed && !unseal(index, log) {
		err = fmt.Errorf("%w: entry %d of the log does not have its checksum", ErrDamaged, index)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, hraft.ErrLogNotFound) {
		if _, there := g.lookup(index); !there {
			return hraft.ErrLogNotFound // it was taken away meanwhile
		}
		err = fmt.Errorf("%w: entry %d of the log is gone", ErrDamaged, index)
	}
	_ = g.failed("read the log", err)
	*log = hraft.Log{Index: index, Type: hraft.LogNoop}
	return nil
}

// StoreLog stores one entry.
func (g *guard) StoreLog(log *hraft.Log) error { return g.StoreLogs([]*hraft.Log{log}) }

// StoreLogs appends entries. A gap before them is where a snapshot has taken the place of what was there: all that is
// below it goes.
func (g *guard) StoreLogs(logs []*hraft.Log) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.halted.Load() {
		return errHalted
	}
	first, last := g.bounds()
	if next := logs[0].Index; last > 0 && next != last+1 {
		if next <= last || next > g.stores.snapshots.newestIndex()+1 {
			return g.failed("write the log", fmt.Errorf("%w: entry %d after %d", ErrDamaged, next, last))
		}
		if err := g.remove(first, last); err != nil {
			return err
		}
	}
	if err := g.stores.arrives(); err != nil {
		return g.failed("mark the storage", err)
	}
	stored := logs
	if g.stores.sealed {
		stored = make([]*hraft.Log, len(logs))
		for i, log := range logs {
			stored[i] = seal(log)
		}
	}
	g.stores.countWrite(false)
	begun := time.Now()
	if err := protect(func() error { return g.stores.logs.StoreLogs(stored) }); err != nil {
		return g.failed("write the log", err)
	}
	g.counters.entriesPersisted.Add(uint64(len(logs)))
	if g.stores.sealed {
		g.counters.durableWrites.Add(time.Since(begun))
	}
	newest := logs[len(logs)-1]
	g.mu.Lock()
	if g.first == 0 {
		g.first = logs[0].Index
	}
	g.last = newest.Index
	g.cache.add(logs)
	g.mu.Unlock()
	g.forgotten.learned(newest.Term)
	return nil
}

// DeleteRange takes the beginning of the log away, or its end. Of the beginning it leaves what is above the snapshot before
// the newest, so that who lacks a little is sent entries.
func (g *guard) DeleteRange(from, to uint64) error {
	g.writing.Lock()
	defer g.writing.Unlock()
	if g.halted.Load() {
		return errHalted
	}
	first, last := g.bounds()
	if newest, previous := g.stores.snapshots.indexes(); from <= newest {
		if to > newest {
			return g.failed("shorten the log", fmt.Errorf("%w: another leader has other entries from %d, and up to %d they are committed", ErrDamaged, from, newest))
		}
		from, to = first, min(to, previous)
	}
	if last == 0 || to < first {
		return nil
	}
	return g.remove(from, to)
}

// remove needs writing. It makes sure that the store has done it.
func (g *guard) remove(from, to uint64) error {
	g.mu.Lock()
	beginning := from <= g.first
	if beginning {
		g.first = to + 1
	} else {
		g.last = from - 1
	}
	if beginning && to >= g.last {
		g.first, g.last = 0, 0
	}
	first, last := g.first, g.last
	g.cache.remove(from, to)
	g.mu.Unlock()
	g.stores.countWrite(false)
	err := protect(func() error {
		if err := g.stores.logs.DeleteRange(from, to); err != nil {
			return err
		}
		oldest, err1 := g.stores.logs.FirstIndex()
		newest, err2 := g.stores.logs.LastIndex()
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if oldest != first || newest != last {
			return fmt.Errorf("%w: entries %d to %d are there, not %d to %d", ErrDamaged, oldest, newest, first, last)
		}
		return nil
	})
	if err != nil {
		return g.failed("shorten the log", err)
	}
	return nil
}
