package tree

import (
	"context"
	"slices"
)

// desired is what a directory should hold.
type desired struct {
	names   []string // ascending
	entries map[string]found
	fresh   map[string]string // an id for each, should it be new
}

func newDesired(entries []found) (*desired, error) {
	d := &desired{entries: make(map[string]found, len(entries)), fresh: make(map[string]string, len(entries))}
	for _, e := range entries {
		id, err := newID()
		if err != nil {
			return nil, err
		}
		d.names = append(d.names, e.name)
		d.entries[e.name], d.fresh[e.name] = e, id
	}
	slices.Sort(d.names)
	return d, nil
}

// arrangement is a directory with its pages as they should be, and what has to go for that.
type arrangement struct {
	id    string
	pages []*page
	// stood is how many pages are stored; first are the entries of page 0 as they are stored.
	stood int
	first []entry
	// dropped and removed are by page; removed counts only what has no successor of the same name.
	dropped [][]entry
	removed []int
}

// arrange reads a directory's pages, but not its files, takes out what is not wanted any more or is of another kind
// now, and puts in what is new.
func (t *Tree) arrange(ctx context.Context, r reader, id string, want *desired) (*arrangement, error) {
	pages, err := t.pages(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if len(pages) == 0 {
		pages = []*page{{pages: 1}}
	}
	a := &arrangement{id: id, pages: pages, stood: len(pages), first: slices.Clone(pages[0].entries)}
	a.dropped, a.removed = make([][]entry, len(pages)), make([]int, len(pages))
	stays := map[string]bool{}
	for number, p := range pages {
		p.entries = slices.DeleteFunc(slices.Clone(p.entries), func(e entry) bool {
			wanted, ok := want.entries[e.name]
			if ok && wanted.kind == e.kind {
				stays[e.name] = true
				return false
			}
			a.dropped[number] = append(a.dropped[number], e)
			if !ok {
				a.removed[number]++
			}
			return true
		})
	}
	for _, name := range want.names {
		if !stays[name] {
			a.pages, _ = t.insert(a.pages, entry{name: name, kind: want.entries[name].kind, id: want.fresh[name]})
		}
	}
	return a, nil
}

// plan is what one transaction has to do to a directory: one page of it, with the files of that page.
type plan struct {
	// writes are the objects to write; nil stands for a delete.
	writes map[string][]byte
	// gone are directories that must be empty and unstored before the page may drop them.
	gone    []string
	removed int
}

func (p *plan) empty() bool { return len(p.writes) == 0 && len(p.gone) == 0 }

// planPage compares one page, its files and its links with what is stored. It reads only these: a transaction takes
// no more keys than one page has, however large the directory.
func (t *Tree) planPage(ctx context.Context, r reader, a *arrangement, number int, want *desired) (*plan, error) {
	next := &plan{writes: map[string][]byte{}}
	if number < a.stood {
		next.drop(t, a.dropped[number])
		next.removed = a.removed[number]
	}
	if err := t.comparePage(ctx, r, next, a, number, want); err != nil {
		return nil, err
	}
	if number >= a.stood {
		// Page 0 counts up to the page that is added, and is otherwise as it is.
		counted := &page{pages: number + 1, entries: a.first}
		next.writes[t.pageOID(a.id, 0)] = counted.encode()
	}
	return next, nil
}

func (p *plan) drop(t *Tree, entries []entry) {
	for _, e := range entries {
		if e.kind == Directory {
			p.gone = append(p.gone, e.id)
		} else {
			p.writes[t.oid(e.id)] = nil
		}
	}
}

// comparePage notes what of one page, its files, links and new directories is not stored as it should be.
func (t *Tree) comparePage(ctx context.Context, r reader, next *plan, a *arrangement, number int, want *desired) error {
	p := a.pages[number]
	oids := []string{t.pageOID(a.id, number)}
	for _, e := range p.entries {
		oids = append(oids, t.oid(e.id))
	}
	values, err := r.GetMulti(ctx, oids...)
	if err != nil {
		return err
	}
	text := p.encode()
	if number == 0 {
		// The count of pages rises only with the page that it counts.
		text = (&page{pages: a.stood, entries: p.entries}).encode()
	}
	next.putIfDifferent(oids[0], text, values[0])
	for i, e := range p.entries {
		switch stored := values[i+1]; {
		case e.kind != Directory:
			next.putIfDifferent(oids[i+1], want.entries[e.name].text, stored)
		case !stored.Present:
			next.writes[oids[i+1]] = (&page{pages: 1}).encode()
		}
	}
	return nil
}
