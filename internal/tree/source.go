package tree

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// ErrSource says that something of a real directory could not be read.
var ErrSource = errors.New("tree: cannot read the directory")

func unreadable(err error) error { return fmt.Errorf("%w: %w", ErrSource, err) }

// found is one entry of a real directory, with the text to store for it.
type found struct {
	name string
	kind Kind
	text []byte // of a file or a link
	size int64
}

// Source is a directory tree to store or to compare with.
type Source struct {
	root  string
	moves []Moved
}

// Moved says that a directory which lies at From in the real tree is expected at To. Paths are relative to the
// root, with slashes; the parent of To exists.
type Moved struct{ From, To string }

// Open gives the tree below a directory of the file system.
func Open(root string) (*Source, error) {
	info, err := os.Stat(root)
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %s is not a directory", ErrSource, root)
	}
	return &Source{root: root}, nil
}

// WithMoves gives the same tree as it should look after the moves. A directory is moved at
// most once and none into another that moved.
func (s *Source) WithMoves(moves []Moved) *Source { return &Source{root: s.root, moves: moves} }

// real gives the place in the file system of what is expected at a path.
func (s *Source) real(at string) string {
	for _, move := range s.moves {
		if at == move.To || strings.HasPrefix(at, move.To+"/") {
			return filepath.Join(s.root, filepath.FromSlash(move.From+strings.TrimPrefix(at, move.To)))
		}
	}
	return filepath.Join(s.root, filepath.FromSlash(at))
}

// list reads one directory, ascending by name, and says how many entries are of a kind that is not stored.
func (s *Source) list(at string) (entries []found, skipped int, err error) {
	place := s.real(at)
	names, err := os.ReadDir(place)
	if err != nil {
		return nil, 0, unreadable(err)
	}
	for _, name := range names {
		if s.movedAway(path.Join(at, name.Name())) {
			continue
		}
		e, ok, err := inspect(filepath.Join(place, name.Name()), name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went since the directory was read
		}
		if err != nil {
			return nil, 0, err
		}
		if !ok {
			skipped++
			continue
		}
		entries = append(entries, e)
	}
	for _, move := range s.moves {
		if parent(move.To) == at {
			entries = append(entries, found{name: path.Base(move.To), kind: Directory})
		}
	}
	slices.SortFunc(entries, func(a, b found) int { return strings.Compare(a.name, b.name) })
	return entries, skipped, nil
}

// children names the directories in a real directory.
func (s *Source) children(at string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(s.root, filepath.FromSlash(at)))
	if err != nil {
		return nil, unreadable(err)
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// Count is how many entries there are to store, the root among them. Nothing is opened but directories.
func (s *Source) Count() (int, error) {
	count := 0
	err := filepath.WalkDir(s.root, func(_ string, e fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case e.IsDir(), e.Type() == 0, e.Type() == fs.ModeSymlink:
			count++
		}
		return nil
	})
	if err != nil {
		return 0, unreadable(err)
	}
	return count, nil
}

func (s *Source) movedAway(at string) bool {
	return slices.ContainsFunc(s.moves, func(m Moved) bool { return m.From == at })
}

// parent is the directory that holds a path; the root is the empty path.
func parent(at string) string {
	if directory := path.Dir(at); directory != "." {
		return directory
	}
	return ""
}

func inspect(place string, name fs.DirEntry) (found, bool, error) {
	e := found{name: name.Name()}
	switch name.Type() {
	case fs.ModeDir:
		e.kind = Directory
	case fs.ModeSymlink:
		target, err := os.Readlink(place)
		if err != nil {
			return e, false, unreadable(err)
		}
		e.kind, e.text = Link, linkText(target)
	case 0:
		info, err := name.Info()
		if err != nil {
			return e, false, unreadable(err)
		}
		sum, size, err := hash(place)
		if err != nil {
			return e, false, err
		}
		e.kind, e.size, e.text = File, size, fileText(size, uint32(info.Mode().Perm()), sum)
	default:
		return e, false, nil
	}
	return e, true, nil
}

func hash(place string) (sum string, size int64, err error) {
	file, err := os.Open(place)
	if err != nil {
		return "", 0, unreadable(err)
	}
	defer func() { _ = file.Close() }()
	digest := sha256.New()
	size, err = io.Copy(digest, file)
	if err != nil {
		return "", 0, unreadable(err)
	}
	return hex.EncodeToString(digest.Sum(nil)), size, nil
}
