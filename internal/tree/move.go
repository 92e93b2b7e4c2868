package tree

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/viewline/viewline/clerk"
)

// Errors of Move.
var (
	// ErrNoEntry: a path leads nowhere.
	ErrNoEntry = errors.New("tree: no such entry")
	// ErrExists: the new name is taken.
	ErrExists = errors.New("tree: entry exists")
	// ErrIntoItself: a directory cannot be moved below itself.
	ErrIntoItself = errors.New("tree: cannot move a directory into itself")
)

// Move gives an entry another parent, another name, or both, in one transaction that changes the two parents
// and nothing else. Paths are relative to the root, with slashes.
func (t *Tree) Move(ctx context.Context, from, to string) error {
	if to == from || strings.HasPrefix(to, from+"/") {
		return fmt.Errorf("%w: %s to %s", ErrIntoItself, from, to)
	}
	return t.clerk.Update(ctx, func(tx *clerk.Txn) error {
		source, err := t.walk(ctx, tx, parent(from))
		if err != nil {
			return err
		}
		target, err := t.walk(ctx, tx, parent(to))
		if err != nil {
			return err
		}
		number, moved, ok := lookup(source.pages, path.Base(from))
		if !ok {
			return fmt.Errorf("%w: %s", ErrNoEntry, from)
		}
		if source.id == target.id {
			target = source
		}
		if _, _, taken := lookup(target.pages, path.Base(to)); taken {
			return fmt.Errorf("%w: %s", ErrExists, to)
		}
		source.pages[number].remove(moved.name)
		if err := t.put(tx, source, number); err != nil {
			return err
		}
		moved.name = path.Base(to)
		target.pages, number = t.insert(target.pages, moved)
		return errors.Join(t.put(tx, target, 0), t.put(tx, target, number))
	})
}

// stored is a directory as a transaction sees it.
type stored struct {
	id    string
	pages []*page
}

func (t *Tree) put(tx *clerk.Txn, d *stored, number int) error {
	return tx.Put(t.pageOID(d.id, number), d.pages[number].encode())
}

// walk follows a path from the root to a directory.
func (t *Tree) walk(ctx context.Context, r reader, at string) (*stored, error) {
	id, err := t.root(ctx, r)
	if err != nil {
		return nil, err
	}
	pages, err := t.pages(ctx, r, id)
	if err != nil {
		return nil, err
	}
	if at == "" {
		return &stored{id, pages}, nil
	}
	for _, name := range strings.Split(at, "/") {
		_, e, ok := lookup(pages, name)
		if !ok || e.kind != Directory {
			return nil, fmt.Errorf("%w: %s is no directory of %s", ErrNoEntry, name, at)
		}
		id = e.id
		if pages, err = t.pages(ctx, r, id); err != nil {
			return nil, err
		}
		if len(pages) == 0 {
			return nil, fmt.Errorf("%w: directory %s is not stored", ErrFormat, at)
		}
	}
	return &stored{id, pages}, nil
}
