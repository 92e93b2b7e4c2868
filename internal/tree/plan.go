package tree

import (
	"context"
	"maps"
	"slices"
)

// plan is what one transaction has to do to a directory: one page of it, with the files of that page.
type plan struct {
	// number is the page's; -1 when the whole directory is as it should be.
	number int
	// pages are all pages as they will be.
	pages []*page
	// writes are the objects to write; nil stands for a delete.
	writes map[string][]byte
	// gone are directories that must be empty and unstored before the page may drop them.
	gone    []string
	removed int
}

// planDirectory compares a stored directory with the wanted entries and plans the first page that differs.
// fresh has an id for every wanted entry, used if it is new.
func (t *Tree) planDirectory(ctx context.Context, r reader, id string, wanted map[string]found, fresh map[string]string) (*plan, error) {
	pages, err := t.pages(ctx, r, id)
	if err != nil {
		return nil, err
	}
	header := len(pages) == 0
	if header {
		pages = []*page{{pages: 1}}
	}
	stood := len(pages)
	dropped, removed := dropGone(pages, wanted)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if _, _, ok := lookup(pages, name); !ok {
			pages, _ = t.insert(pages, entry{name: name, kind: wanted[name].kind, id: fresh[name]})
		}
	}
	for number, p := range pages {
		next := &plan{number: number, pages: pages, writes: map[string][]byte{}}
		if number < len(dropped) {
			next.drop(t, dropped[number])
			next.removed = removed[number]
		}
		if err := t.comparePage(ctx, r, next, p, id, wanted); err != nil {
			return nil, err
		}
		if number >= stood {
			// Later pages of this plan are not written yet: page 0 counts up to this one.
			counted := &page{pages: number + 1, entries: pages[0].entries}
			next.writes[t.pageOID(id, 0)] = counted.encode()
		}
		if len(next.writes) > 0 || len(next.gone) > 0 {
			return next, nil
		}
	}
	return &plan{number: -1, pages: pages}, nil
}

// dropGone takes out of the pages what is not wanted any more, or is of another kind now, and returns it by
// page. removed counts only what has no successor of the same name.
func dropGone(pages []*page, wanted map[string]found) (dropped [][]entry, removed []int) {
	dropped, removed = make([][]entry, len(pages)), make([]int, len(pages))
	for number, p := range pages {
		for _, e := range slices.Clone(p.entries) {
			want, ok := wanted[e.name]
			if ok && want.kind == e.kind {
				continue
			}
			p.remove(e.name)
			dropped[number] = append(dropped[number], e)
			if !ok {
				removed[number]++
			}
		}
	}
	return dropped, removed
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
func (t *Tree) comparePage(ctx context.Context, r reader, next *plan, p *page, id string, wanted map[string]found) error {
	oids := []string{t.pageOID(id, next.number)}
	for _, e := range p.entries {
		oids = append(oids, t.oid(e.id))
	}
	values, err := r.GetMulti(ctx, oids...)
	if err != nil {
		return err
	}
	text := p.encode()
	if next.number == 0 {
		// The count of pages rises only with the page that it counts.
		stored := 1
		if values[0].Present {
			before, err := decodePage(values[0].Bytes)
			if err != nil {
				return err
			}
			stored = before.pages
		}
		text = (&page{pages: stored, entries: p.entries}).encode()
	}
	next.putIfDifferent(oids[0], text, values[0])
	for i, e := range p.entries {
		switch stored := values[i+1]; {
		case e.kind != Directory:
			next.putIfDifferent(oids[i+1], wanted[e.name].text, stored)
		case !stored.Present:
			next.writes[oids[i+1]] = (&page{pages: 1}).encode()
		}
	}
	return nil
}
