package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"sync"

	"github.com/viewline/viewline/clerk"
)

// Report counts what a load or a verification did.
type Report struct {
	Directories  int   `json:"directories"`
	Files        int   `json:"files"`
	Links        int   `json:"links"`
	Bytes        int64 `json:"bytes"`
	Skipped      int   `json:"skipped"` // entries of a kind that is not stored
	Removed      int   `json:"removed"` // entries that were stored and are gone from the directory
	Transactions int   `json:"transactions"`
}

// Entries is how many entries were dealt with, the root among them: Source.Count when all were.
func (r Report) Entries() int { return r.Directories + r.Files + r.Links }

func (r *Report) add(other Report) {
	r.Directories += other.Directories
	r.Files += other.Files
	r.Links += other.Links
	r.Bytes += other.Bytes
	r.Skipped += other.Skipped
	r.Removed += other.Removed
	r.Transactions += other.Transactions
}

// LoadOptions configure a load; the zero value is useful.
type LoadOptions struct {
	// Workers is how many directories are stored at once; default 16.
	Workers int
	// Progress gets the counts so far after each directory, from one goroutine at a time; may be nil.
	Progress func(Report)
}

// Load stores a tree as it is in the file system: it writes what differs, removes what is gone, and writes
// nothing when nothing differs. It can be interrupted anywhere and run again.
func (t *Tree) Load(ctx context.Context, source *Source, options LoadOptions) (Report, error) {
	if options.Workers <= 0 {
		options.Workers = 16
	}
	work := &loading{tree: t, source: source, options: options}
	work.turn = sync.NewCond(&work.mu)
	id, err := t.ensureRoot(ctx, &work.report)
	if err != nil {
		return work.report, err
	}
	work.pending = []place{{id: id}}
	var workers sync.WaitGroup
	for range options.Workers {
		workers.Go(func() { work.run(ctx) })
	}
	workers.Wait()
	return work.report, work.err
}

// place is a directory to store: where it lies in the source, and its id.
type place struct{ at, id string }

// loading is the work that the workers of one load share.
type loading struct {
	tree    *Tree
	source  *Source
	options LoadOptions

	mu      sync.Mutex
	turn    *sync.Cond
	pending []place // at most one for each directory of the source
	active  int
	report  Report
	err     error
}

func (l *loading) run(ctx context.Context) {
	for {
		next, ok := l.take()
		if !ok {
			return
		}
		children, report, err := l.tree.storeDirectory(ctx, l.source, next)
		l.finish(children, report, err)
	}
}

func (l *loading) take() (place, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.pending) == 0 && l.active > 0 && l.err == nil {
		l.turn.Wait()
	}
	if len(l.pending) == 0 || l.err != nil {
		return place{}, false
	}
	last := len(l.pending) - 1
	next := l.pending[last]
	l.pending = l.pending[:last]
	l.active++
	return next, true
}

func (l *loading) finish(children []place, report Report, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.active--
	l.pending = append(l.pending, children...)
	l.report.add(report)
	if l.err == nil {
		l.err = err
	}
	if l.options.Progress != nil && err == nil {
		l.options.Progress(l.report)
	}
	l.turn.Broadcast()
}

// storeDirectory brings one stored directory up to the real one, a transaction for each page that differs, and
// returns its subdirectories.
func (t *Tree) storeDirectory(ctx context.Context, source *Source, at place) ([]place, Report, error) {
	entries, skipped, err := source.list(at.at)
	if err != nil {
		return nil, Report{}, err
	}
	report := countEntries(entries)
	report.Directories, report.Skipped = 1, skipped
	want, err := newDesired(entries)
	if err != nil {
		return nil, report, err
	}
	for number := 0; ; {
		var arranged *arrangement
		var next *plan
		err := t.clerk.View(ctx, func(s *clerk.Snapshot) (err error) {
			arranged, number, next, err = t.firstDifference(ctx, s, at.id, number, want)
			return err
		})
		if err != nil {
			return nil, report, fmt.Errorf("tree: %s: %w", at.at, err)
		}
		if next == nil {
			return childrenOf(arranged.pages, at), report, nil
		}
		if err := t.dropDirectories(ctx, next.gone, &report); err != nil {
			return nil, report, err
		}
		err = t.clerk.Update(ctx, func(tx *clerk.Txn) (err error) {
			arranged, next, err = t.storePage(ctx, tx, at.id, number, want)
			return err
		})
		switch {
		case errors.Is(err, errMoved):
			continue
		case err != nil:
			return nil, report, fmt.Errorf("tree: %s: %w", at.at, err)
		}
		if len(next.writes) > 0 {
			report.Transactions++
			report.Removed += next.removed
		}
		if number++; number == len(arranged.pages) {
			return childrenOf(arranged.pages, at), report, nil
		}
	}
}

// countEntries counts files and links; a directory counts itself when its turn comes.
func countEntries(entries []found) Report {
	var report Report
	for _, e := range entries {
		switch e.kind {
		case File:
			report.Files++
			report.Bytes += e.size
		case Link:
			report.Links++
		case Directory:
		}
	}
	return report
}

// firstDifference finds the first page, from one on, that is not as it should be; the plan is nil when there is none.
func (t *Tree) firstDifference(ctx context.Context, r reader, id string, from int, want *desired) (*arrangement, int, *plan, error) {
	arranged, err := t.arrange(ctx, r, id, want)
	if err != nil {
		return nil, from, nil, err
	}
	// Somebody else may have shrunk the directory: pages are added without a gap.
	for number := min(from, arranged.stood); number < len(arranged.pages); number++ {
		next, err := t.planPage(ctx, r, arranged, number, want)
		if err != nil || !next.empty() {
			return arranged, number, next, err
		}
	}
	return arranged, len(arranged.pages), nil, nil
}

func childrenOf(pages []*page, at place) []place {
	var children []place
	for _, p := range pages {
		for _, e := range p.entries {
			if e.kind == Directory {
				children = append(children, place{at: path.Join(at.at, e.name), id: e.id})
			}
		}
	}
	return children
}

// errMoved says that the directory changed between the plan and its transaction in a way that needs a plan
// made anew: a subdirectory would have to go that was not emptied, or the page has no place any more.
var errMoved = errors.New("tree: directory changed meanwhile")

// storePage writes a page that differs, within a transaction, and returns what it did.
func (t *Tree) storePage(ctx context.Context, tx *clerk.Txn, id string, number int, want *desired) (*arrangement, *plan, error) {
	arranged, err := t.arrange(ctx, tx, id, want)
	if err != nil {
		return nil, nil, err
	}
	if number > arranged.stood || number >= len(arranged.pages) {
		return nil, nil, errMoved
	}
	next, err := t.planPage(ctx, tx, arranged, number, want)
	if err != nil {
		return nil, nil, err
	}
	for _, directory := range next.gone {
		values, err := tx.GetMulti(ctx, t.oid(directory))
		if err != nil {
			return nil, nil, err
		}
		if values[0].Present {
			return nil, nil, errMoved
		}
	}
	for _, oid := range slices.Sorted(maps.Keys(next.writes)) {
		if text := next.writes[oid]; text == nil {
			err = errors.Join(err, tx.Delete(oid))
		} else {
			err = errors.Join(err, tx.Put(oid, text))
		}
	}
	return arranged, next, err
}

// putIfDifferent notes a write unless that very text is stored.
func (p *plan) putIfDifferent(oid string, text []byte, stored clerk.Value) {
	if !stored.Present || !bytes.Equal(stored.Bytes, text) {
		p.writes[oid] = text
	}
}
