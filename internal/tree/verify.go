package tree

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"

	"github.com/viewline/viewline/clerk"
)

// ErrDiffers is what every verification fails with.
var ErrDiffers = errors.New("tree: stored tree differs")

// differencesMax bounds how many differences an error names.
const differencesMax = 10

// batchMax is how many objects one read of a verification asks for.
const batchMax = 500

// Verify compares a whole tree with what is stored, everything at one snapshot. The error is ErrDiffers when
// they are not the same, and names the first differences.
func (t *Tree) Verify(ctx context.Context, source *Source) (Report, error) {
	check := &verification{tree: t, source: source}
	err := t.clerk.View(ctx, func(s *clerk.Snapshot) error {
		root, err := t.root(ctx, s)
		if err != nil {
			return err
		}
		for level := []place{{id: root}}; len(level) > 0; {
			if level, err = check.level(ctx, s, level); err != nil {
				return err
			}
		}
		return check.objects(ctx, s, 0)
	})
	if err == nil && check.found > 0 {
		err = fmt.Errorf("%w in %d places: %w", ErrDiffers, check.found, errors.Join(check.differences...))
	}
	return check.report, err
}

// verification is the state of one Verify. expected waits to be compared in batches.
type verification struct {
	tree        *Tree
	source      *Source
	report      Report
	expected    []expectation
	differences []error
	found       int
}

type expectation struct {
	at, oid string
	text    []byte
}

func (v *verification) differ(format string, arguments ...any) {
	v.found++
	if len(v.differences) < differencesMax {
		v.differences = append(v.differences, fmt.Errorf(format, arguments...))
	}
}

// level compares all directories of one depth and returns those of the next.
func (v *verification) level(ctx context.Context, s *clerk.Snapshot, directories []place) ([]place, error) {
	var below []place
	for _, at := range directories {
		pages, err := v.tree.pages(ctx, s, at.id)
		if err != nil {
			return nil, err
		}
		if len(pages) == 0 {
			v.differ("directory %q is not stored", at.at)
			continue
		}
		children, err := v.directory(pages, at)
		if err != nil {
			return nil, err
		}
		below = append(below, children...)
		if err := v.objects(ctx, s, batchMax); err != nil {
			return nil, err
		}
	}
	return below, nil
}

// directory compares one directory's entries and notes what its files and links have to be.
func (v *verification) directory(pages []*page, at place) ([]place, error) {
	entries, skipped, err := v.source.list(at.at)
	if err != nil {
		return nil, err
	}
	v.report.Directories++
	v.report.Skipped += skipped
	var below []place
	count := 0
	for _, p := range pages {
		count += len(p.entries)
	}
	for _, want := range entries {
		_, e, ok := lookup(pages, want.name)
		full := path.Join(at.at, want.name)
		switch {
		case !ok:
			v.differ("%q is not stored", full)
			continue
		case e.kind != want.kind:
			v.differ("%q is stored as %c, is %c", full, e.kind, want.kind)
		case e.kind == Directory:
			below = append(below, place{at: full, id: e.id})
		default:
			v.expected = append(v.expected, expectation{at: full, oid: v.tree.oid(e.id), text: want.text})
			if want.kind == File {
				v.report.Files++
				v.report.Bytes += want.size
			} else {
				v.report.Links++
			}
		}
		count--
	}
	if count != 0 {
		v.differ("directory %q has %d stored entries that are not there", at.at, count)
	}
	return below, nil
}

// objects compares what is waiting, once there are that many.
func (v *verification) objects(ctx context.Context, s *clerk.Snapshot, least int) error {
	for len(v.expected) > 0 && len(v.expected) >= least {
		batch := v.expected[:min(batchMax, len(v.expected))]
		v.expected = v.expected[len(batch):]
		oids := make([]string, len(batch))
		for i, want := range batch {
			oids[i] = want.oid
		}
		values, err := s.GetMulti(ctx, oids...)
		if err != nil {
			return err
		}
		for i, want := range batch {
			if !values[i].Present || !bytes.Equal(values[i].Bytes, want.text) {
				v.differ("%q is stored as %.120q, is %.120q", want.at, values[i].Bytes, want.text)
			}
		}
	}
	return nil
}
