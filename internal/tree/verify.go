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

// VerifyOptions configure a verification; the zero value is useful.
type VerifyOptions struct {
	// Progress gets the counts so far after each directory; may be nil.
	Progress func(Report)
}

// Verify compares a whole tree with what is stored, everything at one snapshot. The error is ErrDiffers when
// they are not the same, and names the first differences.
func (t *Tree) Verify(ctx context.Context, source *Source, options VerifyOptions) (Report, error) {
	check := &verification{tree: t, source: source}
	err := t.clerk.View(ctx, func(s *clerk.Snapshot) error {
		root, err := t.root(ctx, s)
		if err != nil {
			return err
		}
		for level := []place{{id: root}}; len(level) > 0; {
			if level, err = check.level(ctx, s, level, options.Progress); err != nil {
				return err
			}
		}
		return check.objects(ctx, s, 0)
	})
	if err == nil && check.found > 0 {
		err = check.failure()
	}
	return check.report, err
}

// verification is the state of one Verify. expected waits to be compared in batches.
type verification struct {
	tree        *Tree
	source      *Source
	report      Report
	expected    []expectation
	differences []string
	found       int
}

type expectation struct {
	at, oid string
	text    []byte
}

// failure names the first differences, each on a line.
func (v *verification) failure() error {
	places := "1 place"
	if v.found != 1 {
		places = fmt.Sprintf("%d places", v.found)
	}
	text := ""
	for _, difference := range v.differences {
		text += "\n  " + difference
	}
	if more := v.found - len(v.differences); more > 0 {
		text += fmt.Sprintf("\n  and %d more", more)
	}
	return fmt.Errorf("%w in %s:%s", ErrDiffers, places, text)
}

func (v *verification) differ(format string, arguments ...any) {
	v.found++
	if len(v.differences) < differencesMax {
		v.differences = append(v.differences, fmt.Sprintf(format, arguments...))
	}
}

// level compares all directories of one depth and returns those of the next.
func (v *verification) level(ctx context.Context, s *clerk.Snapshot, directories []place, progress func(Report)) ([]place, error) {
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
		if progress != nil {
			progress(v.report)
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
	wanted := make(map[string]bool, len(entries))
	for _, want := range entries {
		wanted[want.name] = true
		_, e, ok := lookup(pages, want.name)
		full := path.Join(at.at, want.name)
		switch {
		case !ok:
			v.differ("%q is not stored", full)
		case e.kind != want.kind:
			v.differ("%q is stored as %v and is %v", full, e.kind, want.kind)
		case e.kind == Directory:
			below = append(below, place{at: full, id: e.id})
		default:
			v.expected = append(v.expected, expectation{at: full, oid: v.tree.oid(e.id), text: want.text})
			v.report.add(countEntries([]found{want}))
		}
	}
	for _, p := range pages {
		for _, e := range p.entries {
			if !wanted[e.name] {
				v.differ("%q is stored and is not there", path.Join(at.at, e.name))
			}
		}
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
			switch {
			case !values[i].Present:
				v.differ("%q has its name stored and no content", want.at)
			case !bytes.Equal(values[i].Bytes, want.text):
				v.differ("%q is stored as %.120q and is %.120q", want.at, shown(values[i].Bytes), shown(want.text))
			}
		}
	}
	return nil
}

// shown is an object's text without its newline.
func shown(text []byte) []byte { return bytes.TrimSuffix(text, []byte("\n")) }
