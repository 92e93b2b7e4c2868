package tree

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/viewline/viewline/clerk"
)

// Tree is one stored tree, by name.
type Tree struct {
	clerk *clerk.Clerk
	name  string
	// pageEntries is pageEntriesMax, but in tests.
	pageEntries int
}

// ErrName says that a tree cannot have that name.
var ErrName = errors.New("tree: bad name")

// New gives the tree of that name, stored or not. A name has 1 to 100 bytes and no slash.
func New(c *clerk.Clerk, name string) (*Tree, error) {
	if name == "" || len(name) > 100 || strings.Contains(name, "/") {
		return nil, fmt.Errorf("%w: %.120q: 1 to 100 bytes and no slash", ErrName, name)
	}
	return &Tree{clerk: c, name: name, pageEntries: pageEntriesMax}, nil
}

func (t *Tree) rootOID() string { return "tree/" + t.name }

func (t *Tree) oid(id string) string { return "tree/" + t.name + "/" + id }

// pageOID is where page number n of a directory lies; page 0 is the directory itself.
func (t *Tree) pageOID(id string, n int) string {
	if n == 0 {
		return t.oid(id)
	}
	return fmt.Sprintf("%s/%d", t.oid(id), n)
}

// reader is a transaction or a snapshot.
type reader interface {
	GetMulti(ctx context.Context, oids ...string) ([]clerk.Value, error)
}

// pagesAtOnce is how many pages one read asks for, each up to 1 MiB: an answer has to fit into one message.
const pagesAtOnce = 16

// pages reads all pages of a directory; none when it is not stored.
func (t *Tree) pages(ctx context.Context, r reader, id string) ([]*page, error) {
	values, err := r.GetMulti(ctx, t.pageOID(id, 0))
	if err != nil || !values[0].Present {
		return nil, err
	}
	first, err := decodePage(values[0].Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.oid(id), err)
	}
	pages := []*page{first}
	for n := 1; n < first.pages; n += pagesAtOnce {
		var oids []string
		for number := n; number < min(n+pagesAtOnce, first.pages); number++ {
			oids = append(oids, t.pageOID(id, number))
		}
		if pages, err = appendPages(ctx, r, pages, oids); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

func appendPages(ctx context.Context, r reader, pages []*page, oids []string) ([]*page, error) {
	values, err := r.GetMulti(ctx, oids...)
	if err != nil {
		return nil, err
	}
	for i, value := range values {
		if !value.Present {
			return nil, fmt.Errorf("%w: page %s is missing", ErrFormat, oids[i])
		}
		next, err := decodePage(value.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", oids[i], err)
		}
		pages = append(pages, next)
	}
	return pages, nil
}

// lookup finds an entry among a directory's pages.
func lookup(pages []*page, name string) (number int, e entry, ok bool) {
	for number, p := range pages {
		if at, found := p.find(name); found {
			return number, p.entries[at], true
		}
	}
	return 0, entry{}, false
}

// insert puts an entry into the first page with room, and returns the page's number. A new page changes
// page 0 too, which counts them.
func (t *Tree) insert(pages []*page, e entry) ([]*page, int) {
	for number, p := range pages {
		if len(p.entries) < t.pageEntries {
			p.add(e)
			return pages, number
		}
	}
	pages = append(pages, &page{entries: []entry{e}})
	pages[0].pages = len(pages)
	return pages, len(pages) - 1
}

func newID() (string, error) {
	var id [idBytes]byte
	if _, err := rand.Read(id[:]); err != nil {
		return "", fmt.Errorf("tree: %w", err)
	}
	return hex.EncodeToString(id[:]), nil
}

// ErrNoTree says that no tree of that name is stored.
var ErrNoTree = errors.New("tree: no such tree")

// root reads the id of the tree's first directory.
func (t *Tree) root(ctx context.Context, r reader) (string, error) {
	values, err := r.GetMulti(ctx, t.rootOID())
	if err != nil {
		return "", err
	}
	if !values[0].Present {
		return "", fmt.Errorf("%w: %q", ErrNoTree, t.name)
	}
	return decodeRoot(values[0].Bytes)
}

// ensureRoot stores an empty first directory unless there is one.
func (t *Tree) ensureRoot(ctx context.Context, count *Report) (string, error) {
	var id string
	err := t.clerk.View(ctx, func(s *clerk.Snapshot) (err error) {
		id, err = t.root(ctx, s)
		return err
	})
	if !errors.Is(err, ErrNoTree) {
		return id, err
	}
	fresh, err := newID()
	if err != nil {
		return "", err
	}
	err = t.clerk.Update(ctx, func(tx *clerk.Txn) (err error) {
		if id, err = t.root(ctx, tx); !errors.Is(err, ErrNoTree) {
			return err // somebody else was faster
		}
		id = fresh
		empty := page{pages: 1}
		return errors.Join(tx.Put(t.rootOID(), rootText(id)), tx.Put(t.oid(id), empty.encode()))
	})
	if id == fresh && err == nil {
		count.Transactions++
	}
	return id, err
}

// With gives the same tree through another clerk.
func (t *Tree) With(c *clerk.Clerk) *Tree {
	return &Tree{clerk: c, name: t.name, pageEntries: t.pageEntries}
}
