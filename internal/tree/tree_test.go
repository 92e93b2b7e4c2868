package tree

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/txn"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// files makes a directory tree: a name that ends in / is a directory, a text that starts with -> a link.
func files(t *testing.T, contents map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range contents {
		write(t, root, name, text)
	}
	return root
}

func write(t *testing.T, root, name, text string) {
	t.Helper()
	place := filepath.Join(root, name)
	require.NoError(t, os.MkdirAll(filepath.Dir(place), 0o755))
	target, link := strings.CutPrefix(text, "->")
	switch {
	case strings.HasSuffix(name, "/"):
		require.NoError(t, os.MkdirAll(place, 0o755))
	case link:
		require.NoError(t, os.Symlink(target, place))
	default:
		require.NoError(t, os.WriteFile(place, []byte(text), 0o644))
	}
}

func small(t *testing.T) string {
	return files(t, map[string]string{
		"a.txt": "alpha", "b/c.txt": "gamma", "b/d/e.txt": "epsilon", "b/d/link": "->../c.txt", "empty/": "", "f/g/h/i.txt": "iota", "f/nothing": "",
	})
}

// suite is a cluster and a clerk for all tests of this package.
type suite struct {
	clerk *clerk.Clerk
	trees int
}

func (s *suite) tree(t *testing.T) *Tree {
	t.Helper()
	s.trees++
	tree, err := New(s.clerk, fmt.Sprintf("tree%d", s.trees))
	require.NoError(t, err)
	return tree
}

func TestOnACluster(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Replicas: 1})
	s := &suite{clerk: clustertest.Clerk(t, c)}
	for _, part := range []struct {
		name string
		test func(*testing.T, *suite)
	}{
		{"load and verify", testLoadAndVerify},
		{"load again", testLoadAgain},
		{"what changes is found and mended", testChanges},
		{"interrupted", testInterrupted},
		{"pages", testPages},
		{"pages shrink", testPagesShrink},
		{"more entries than a transaction has keys", testVeryLarge},
		{"content gone", testContentGone},
		{"moves", testMoves},
		{"moves refused", testMovesRefused},
		{"planned moves", testPlannedMoves},
		{"several loads at once", testConcurrentLoads},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, s) })
	}
}

func open(t *testing.T, root string) *Source {
	t.Helper()
	source, err := Open(root)
	require.NoError(t, err)
	return source
}

func load(t *testing.T, tree *Tree, root string) Report {
	t.Helper()
	report, err := tree.Load(t.Context(), open(t, root), LoadOptions{})
	require.NoError(t, err)
	return report
}

func verify(t *testing.T, tree *Tree, source *Source) Report {
	t.Helper()
	var last Report
	report, err := tree.Verify(t.Context(), source, VerifyOptions{Progress: func(r Report) { last = r }})
	require.NoError(t, err)
	require.Equal(t, report.Directories, last.Directories)
	if source.moves == nil {
		count, err := source.Count()
		require.NoError(t, err)
		require.Equal(t, count, report.Entries())
	}
	return report
}

func testLoadAndVerify(t *testing.T, s *suite) {
	tree, root := s.tree(t), small(t)
	_, err := tree.Verify(t.Context(), open(t, root), VerifyOptions{})
	require.ErrorIs(t, err, ErrNoTree)
	require.NoError(t, syscall.Mkfifo(filepath.Join(root, "pipe"), 0o600))
	shown := 0
	report, err := tree.Load(t.Context(), open(t, root), LoadOptions{Workers: 3, Progress: func(Report) { shown++ }})
	require.NoError(t, err)
	// One write for the root, and one for each directory that holds anything.
	require.Equal(t, Report{Directories: 7, Files: 5, Links: 1, Bytes: 21, Skipped: 1, Transactions: 7}, report)
	require.Equal(t, 7, shown)
	require.Equal(t, Report{Directories: 7, Files: 5, Links: 1, Bytes: 21, Skipped: 1}, verify(t, tree, open(t, root)))
}

func testLoadAgain(t *testing.T, s *suite) {
	tree, root := s.tree(t), small(t)
	load(t, tree, root)
	again := load(t, tree, root)
	require.Zero(t, again.Transactions)
	require.Zero(t, again.Removed)
	require.Equal(t, 5, again.Files)
}

func testChanges(t *testing.T, s *suite) {
	remove := func(name string) func(*testing.T, string) {
		return func(t *testing.T, root string) { require.NoError(t, os.RemoveAll(filepath.Join(root, name))) }
	}
	for name, c := range map[string]struct {
		change  func(*testing.T, string)
		at      string
		removed int
	}{
		"a file's text":        {func(t *testing.T, root string) { write(t, root, "b/c.txt", "delta") }, `"b/c.txt"`, 0},
		"a file's mode":        {func(t *testing.T, root string) { require.NoError(t, os.Chmod(filepath.Join(root, "a.txt"), 0o600)) }, `"a.txt"`, 0},
		"a new file":           {func(t *testing.T, root string) { write(t, root, "empty/new", "new") }, `"empty/new"`, 0},
		"a new tree":           {func(t *testing.T, root string) { write(t, root, "x/y/z", "new") }, `"x"`, 0},
		"a file gone":          {remove("a.txt"), `"a.txt" is stored and is not there`, 1},
		"an empty directory":   {remove("empty"), `"empty" is stored and is not there`, 1},
		"a tree gone":          {remove("f"), `"f" is stored and is not there`, 1},
		"a link's target":      {func(t *testing.T, root string) { remove("b/d/link")(t, root); write(t, root, "b/d/link", "->e.txt") }, `"b/d/link"`, 0},
		"a file for a tree":    {func(t *testing.T, root string) { remove("b")(t, root); write(t, root, "b", "text") }, `"b" is stored as a directory and is a file`, 0},
		"a tree for a file":    {func(t *testing.T, root string) { remove("a.txt")(t, root); write(t, root, "a.txt/in", "text") }, `"a.txt"`, 0},
		"a link for a file":    {func(t *testing.T, root string) { remove("a.txt")(t, root); write(t, root, "a.txt", "->b") }, `"a.txt"`, 0},
		"a link for directory": {func(t *testing.T, root string) { remove("f")(t, root); write(t, root, "f", "->b") }, `"f"`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			tree, root := s.tree(t), small(t)
			load(t, tree, root)
			c.change(t, root)
			_, err := tree.Verify(t.Context(), open(t, root), VerifyOptions{})
			require.ErrorIs(t, err, ErrDiffers)
			require.ErrorContains(t, err, c.at)
			report := load(t, tree, root)
			require.Positive(t, report.Transactions)
			require.Equal(t, c.removed, report.Removed)
			verify(t, tree, open(t, root))
			require.Zero(t, load(t, tree, root).Transactions)
			requireNothingElse(t, tree)
		})
	}
}

// requireNothingElse loads an empty directory over the tree: everything but the root and its first directory has to
// be gone from the store then.
func requireNothingElse(t *testing.T, tree *Tree) {
	t.Helper()
	before := reach(t, tree)
	load(t, tree, t.TempDir())
	after := reach(t, tree)
	require.Len(t, after, 2)
	for oid := range before {
		if !after[oid] {
			_, err := tree.clerk.Get(t.Context(), oid)
			require.ErrorIs(t, err, clerk.ErrNotFound, oid)
		}
	}
}

// reach gives the oids of all objects that the root leads to.
func reach(t *testing.T, tree *Tree) map[string]bool {
	t.Helper()
	all := map[string]bool{tree.rootOID(): true}
	require.NoError(t, tree.clerk.View(t.Context(), func(s *clerk.Snapshot) error {
		root, err := tree.root(t.Context(), s)
		if err != nil {
			return err
		}
		for level := []string{root}; len(level) > 0; {
			id := level[0]
			level = level[1:]
			pages, err := tree.pages(t.Context(), s, id)
			if err != nil {
				return err
			}
			for number, p := range pages {
				all[tree.pageOID(id, number)] = true
				for _, e := range p.entries {
					all[tree.oid(e.id)] = true
					if e.kind == Directory {
						level = append(level, e.id)
					}
				}
			}
		}
		return nil
	}))
	return all
}

func testInterrupted(t *testing.T, s *suite) {
	tree, root := s.tree(t), files(t, map[string]string{"x": ""})
	for n := range 60 {
		write(t, root, fmt.Sprintf("d%d/e/f", n), "text")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := tree.Load(ctx, open(t, root), LoadOptions{Workers: 2, Progress: func(r Report) {
		if r.Directories == 20 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = tree.Verify(t.Context(), open(t, root), VerifyOptions{})
	require.ErrorIs(t, err, ErrDiffers)
	rest := load(t, tree, root)
	require.Less(t, rest.Transactions, 121, "what was stored is not stored again")
	verify(t, tree, open(t, root))
	require.Zero(t, load(t, tree, root).Transactions)
}

func testPages(t *testing.T, s *suite) {
	tree := s.tree(t)
	tree.pageEntries = 7
	root := t.TempDir()
	for n := range 50 {
		write(t, root, fmt.Sprintf("big/%02d", n), fmt.Sprint(n))
		write(t, root, fmt.Sprintf("big/dir%02d/file", n), fmt.Sprint(n))
	}
	report := load(t, tree, root)
	require.Equal(t, 100, report.Files)
	verify(t, tree, open(t, root))
	require.Zero(t, load(t, tree, root).Transactions)

	for n := range 20 {
		require.NoError(t, os.Remove(filepath.Join(root, fmt.Sprintf("big/%02d", 2*n))))
		write(t, root, fmt.Sprintf("big/new%02d", n), "new")
	}
	require.Equal(t, 20, load(t, tree, root).Removed)
	verify(t, tree, open(t, root))
	require.Zero(t, load(t, tree, root).Transactions)
}

func testPagesShrink(t *testing.T, s *suite) {
	tree := s.tree(t)
	tree.pageEntries = 3
	root := t.TempDir()
	for n := range 20 {
		write(t, root, fmt.Sprintf("big/%02d", n), fmt.Sprint(n))
		write(t, root, fmt.Sprintf("keep/%02d/x", n), fmt.Sprint(n))
	}
	load(t, tree, root)
	require.NoError(t, os.RemoveAll(filepath.Join(root, "big")))
	load(t, tree, root)
	verify(t, tree, open(t, root))
	requireNothingElse(t, tree)
}

// testVeryLarge: each page is a transaction that reads and writes no more than the page, however large the directory.
func testVeryLarge(t *testing.T, s *suite) {
	if testing.Short() {
		t.Skip("it takes long under the race detector")
	}
	tree, root := s.tree(t), t.TempDir()
	count := txn.KeysMax + pageEntriesMax
	for n := range count {
		require.NoError(t, os.Symlink("x", filepath.Join(root, fmt.Sprintf("%05d", n))))
	}
	// The root, and each page.
	require.Equal(t, 1+(count+pageEntriesMax-1)/pageEntriesMax, load(t, tree, root).Transactions)
	require.Equal(t, count, verify(t, tree, open(t, root)).Links)
	write(t, root, "added", "text")
	require.NoError(t, os.Remove(filepath.Join(root, "05000")))
	require.Equal(t, Report{Directories: 1, Files: 1, Links: count - 1, Bytes: 4, Removed: 1, Transactions: 1}, load(t, tree, root))
	verify(t, tree, open(t, root))
	for n := range count / 2 {
		_ = os.Remove(filepath.Join(root, fmt.Sprintf("%05d", 2*n)))
	}
	require.Equal(t, count/2-1, load(t, tree, root).Removed)
	verify(t, tree, open(t, root))
	require.Zero(t, load(t, tree, root).Transactions)
}

func testContentGone(t *testing.T, s *suite) {
	tree, root := s.tree(t), small(t)
	load(t, tree, root)
	require.NoError(t, tree.clerk.Update(t.Context(), func(tx *clerk.Txn) error {
		directory, err := tree.walk(t.Context(), tx, "b")
		if err != nil {
			return err
		}
		_, e, _ := lookup(directory.pages, "c.txt")
		return tx.Delete(tree.oid(e.id))
	}))
	_, err := tree.Verify(t.Context(), open(t, root), VerifyOptions{})
	require.ErrorIs(t, err, ErrDiffers)
	require.ErrorContains(t, err, `"b/c.txt" has its name stored and no content`)
	require.Equal(t, 1, load(t, tree, root).Transactions)
	verify(t, tree, open(t, root))
}

func testMoves(t *testing.T, s *suite) {
	tree, root := s.tree(t), small(t)
	tree.pageEntries = 2
	load(t, tree, root)
	before := reach(t, tree)
	moves := []Moved{{"b/d", "f/g/renamed"}, {"f/g/h", "empty/h"}, {"empty", "b/empty2"}}
	for i, move := range moves[:2] {
		require.NoError(t, tree.Move(t.Context(), move.From, move.To))
		verify(t, tree, open(t, root).WithMoves(moves[:i+1]))
		_, err := tree.Verify(t.Context(), open(t, root).WithMoves(moves[:i]), VerifyOptions{})
		require.ErrorIs(t, err, ErrDiffers)
	}
	for _, move := range moves[:2] {
		require.NoError(t, tree.Move(t.Context(), move.To, move.From))
	}
	verify(t, tree, open(t, root))
	require.NoError(t, tree.Move(t.Context(), "empty", "b/empty2"))
	verify(t, tree, open(t, root).WithMoves(moves[2:]))
	require.NoError(t, tree.Move(t.Context(), "b/empty2", "empty"))
	after := reach(t, tree)
	for oid := range before {
		require.Contains(t, after, oid, "a move leaves all objects where they are")
	}
}

func testMovesRefused(t *testing.T, s *suite) {
	tree, root := s.tree(t), small(t)
	load(t, tree, root)
	for _, c := range []struct {
		from, to string
		want     error
	}{
		{"b", "b", ErrIntoItself},
		{"b", "b/d/x", ErrIntoItself},
		{"b/d", "f/nothing", ErrExists},
		{"b/d", "nowhere/d", ErrNoEntry},
		{"b/x", "f/x", ErrNoEntry},
		{"b/d", "a.txt/d", ErrNoEntry},
	} {
		require.ErrorIs(t, tree.Move(t.Context(), c.from, c.to), c.want, "%s to %s", c.from, c.to)
	}
	verify(t, tree, open(t, root))
}

func testPlannedMoves(t *testing.T, s *suite) {
	tree, root := s.tree(t), t.TempDir()
	for n := range 40 {
		write(t, root, fmt.Sprintf("p%d/q%d/r%d/file", n%3, n%7, n), fmt.Sprint(n))
	}
	source := open(t, root)
	moves, err := source.PlanMoves(12, 5)
	require.NoError(t, err)
	require.Greater(t, len(moves), 4)
	same, err := source.PlanMoves(12, 5)
	require.NoError(t, err)
	require.Equal(t, moves, same)
	load(t, tree, root)
	for _, move := range moves {
		require.NoError(t, tree.Move(t.Context(), move.From, move.To))
	}
	verify(t, tree, source.WithMoves(moves))
	for _, move := range moves {
		require.NoError(t, tree.Move(t.Context(), move.To, move.From))
	}
	verify(t, tree, source)
}

func testConcurrentLoads(t *testing.T, s *suite) {
	tree, root := s.tree(t), small(t)
	results := make(chan error, 4)
	for range cap(results) {
		go func() {
			_, err := tree.Load(t.Context(), &Source{root: root}, LoadOptions{})
			results <- err
		}()
	}
	for range cap(results) {
		select {
		case err := <-results:
			require.NoError(t, err)
		case <-time.After(30 * time.Second):
			t.Fatal("a load does not end")
		}
	}
	verify(t, tree, open(t, root))
}

func TestNamesAndSources(t *testing.T) {
	for _, name := range []string{"", "a/b", strings.Repeat("x", 101)} {
		_, err := New(nil, name)
		require.ErrorIs(t, err, ErrName)
	}
	_, err := Open(filepath.Join(t.TempDir(), "nothing"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorIs(t, err, ErrSource)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Open(file)
	require.Error(t, err)
}

// TestPageFits: the largest page that a file system can bring about fits into a value, and one of links with its
// links into a transaction.
func TestPageFits(t *testing.T) {
	p := &page{pages: pageEntriesMax}
	bytes := 0
	for n := range pageEntriesMax {
		p.add(entry{name: strings.Repeat("\x01", 251) + fmt.Sprintf("%04d", n), kind: Link, id: id(1)})
		bytes += len(linkText(strings.Repeat("\x01", 4095))) + txn.OIDBytesMax/16
	}
	require.LessOrEqual(t, len(p.encode()), txn.ValueBytesMax)
	require.LessOrEqual(t, bytes+len(p.encode()), txn.TxnBytesMax)
}
