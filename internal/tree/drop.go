package tree

import (
	"context"
	"errors"
	"fmt"

	"github.com/viewline/viewline/clerk"
)

// dropDirectories removes stored directories with all that lies below, deepest first, so that an interrupted
// run leaves nothing that cannot be reached from the root any more.
func (t *Tree) dropDirectories(ctx context.Context, ids []string, report *Report) error {
	for _, id := range ids {
		var pages []*page
		err := t.clerk.View(ctx, func(s *clerk.Snapshot) (err error) {
			pages, err = t.pages(ctx, s, id)
			return err
		})
		if err != nil {
			return err
		}
		var below []string
		for _, p := range pages {
			for _, e := range p.entries {
				if e.kind == Directory {
					below = append(below, e.id)
				}
			}
		}
		if err := t.dropDirectories(ctx, below, report); err != nil {
			return err
		}
		// The last page goes first: page 0 knows how many there are.
		for number := len(pages) - 1; number >= 0; number-- {
			if err := t.clerk.Update(ctx, func(tx *clerk.Txn) error { return t.dropPage(ctx, tx, id, number) }); err != nil {
				return err
			}
			report.Transactions++
		}
	}
	return nil
}

// dropPage removes a directory's last page and the files on it.
func (t *Tree) dropPage(ctx context.Context, tx *clerk.Txn, id string, number int) error {
	pages, err := t.pages(ctx, tx, id)
	if err != nil || number >= len(pages) {
		return err
	}
	if number != len(pages)-1 {
		return fmt.Errorf("tree: directory %s grew while it was removed", id)
	}
	for _, e := range pages[number].entries {
		if e.kind != Directory {
			err = errors.Join(err, tx.Delete(t.oid(e.id)))
		}
	}
	if number > 0 {
		pages[0].pages = number
		err = errors.Join(err, tx.Put(t.pageOID(id, 0), pages[0].encode()))
	}
	return errors.Join(err, tx.Delete(t.pageOID(id, number)))
}
