package tree

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// ErrFormat says that a stored object is not what its place in the tree calls for.
var ErrFormat = errors.New("tree: malformed object")

// Kind is the kind of an entry.
type Kind byte

// The kinds that are stored.
const (
	Directory Kind = 'd'
	File      Kind = 'f'
	Link      Kind = 'l'
)

// String names the kind.
func (k Kind) String() string {
	switch k {
	case Directory:
		return "a directory"
	case File:
		return "a file"
	case Link:
		return "a link"
	default:
		return fmt.Sprintf("kind %q", byte(k))
	}
}

// idBytes is the number of random bytes in an object's id.
const idBytes = 16

// pageEntriesMax is how many entries one page of a directory takes. A name has up to 255 bytes, of which quoting makes
// four times as many, and a link's target up to 4,095: so a page stays below the 1 MiB of a value, and a page of links
// with them below the 16 MiB of a transaction.
const pageEntriesMax = 900

// entry is one line of a directory.
type entry struct {
	name string
	kind Kind
	id   string
}

// page is a part of a directory's entries, ascending by name. Only page 0 knows how many pages there are.
type page struct {
	pages   int
	entries []entry
}

func (p *page) find(name string) (int, bool) {
	return slices.BinarySearchFunc(p.entries, name, func(e entry, name string) int { return strings.Compare(e.name, name) })
}

func (p *page) add(e entry) {
	at, _ := p.find(e.name)
	p.entries = slices.Insert(p.entries, at, e)
}

func (p *page) remove(name string) {
	if at, found := p.find(name); found {
		p.entries = slices.Delete(p.entries, at, at+1)
	}
}

// encode writes "directory PAGES" and a line for each entry: kind, id, quoted name.
func (p *page) encode() []byte {
	text := fmt.Appendf(nil, "directory %d\n", p.pages)
	for _, e := range p.entries {
		text = fmt.Appendf(text, "%c %s %s\n", byte(e.kind), e.id, strconv.Quote(e.name))
	}
	return text
}

func decodePage(text []byte) (*page, error) {
	lines := strings.Split(string(text), "\n")
	if len(lines) < 2 || lines[len(lines)-1] != "" {
		return nil, fmt.Errorf("%w: a directory's text is cut short", ErrFormat)
	}
	count, ok := strings.CutPrefix(lines[0], "directory ")
	pages, err := strconv.Atoi(count)
	if !ok || err != nil || pages < 0 {
		return nil, fmt.Errorf("%w: %.40q is not a directory", ErrFormat, lines[0])
	}
	p := &page{pages: pages}
	for _, line := range lines[1 : len(lines)-1] {
		e, err := decodeEntry(line)
		if err != nil {
			return nil, err
		}
		if last := len(p.entries) - 1; last >= 0 && p.entries[last].name >= e.name {
			return nil, fmt.Errorf("%w: the names of a directory do not ascend at %.80q", ErrFormat, e.name)
		}
		p.entries = append(p.entries, e)
	}
	return p, nil
}

func decodeEntry(line string) (entry, error) {
	fields := strings.SplitN(line, " ", 3)
	if len(fields) != 3 || len(fields[0]) != 1 || !strings.Contains("dfl", fields[0]) {
		return entry{}, fmt.Errorf("%w: entry %.80q", ErrFormat, line)
	}
	name, err := strconv.Unquote(fields[2])
	if id, bad := hex.DecodeString(fields[1]); bad != nil || len(id) != idBytes || err != nil || name == "" {
		return entry{}, fmt.Errorf("%w: entry %.80q", ErrFormat, line)
	}
	return entry{name: name, kind: Kind(fields[0][0]), id: fields[1]}, nil
}

// fileText is the stored form of a file.
func fileText(size int64, mode uint32, sum string) []byte {
	return fmt.Appendf(nil, "file %d %04o %s\n", size, mode, sum)
}

// linkText is the stored form of a symbolic link.
func linkText(target string) []byte { return fmt.Appendf(nil, "link %s\n", strconv.Quote(target)) }

// rootText is the stored form of a tree's root: the id of its first directory.
func rootText(id string) []byte { return fmt.Appendf(nil, "root %s\n", id) }

func decodeRoot(text []byte) (string, error) {
	id, ok := strings.CutPrefix(strings.TrimSuffix(string(text), "\n"), "root ")
	if raw, err := hex.DecodeString(id); !ok || err != nil || len(raw) != idBytes {
		return "", fmt.Errorf("%w: %.40q is not a root", ErrFormat, text)
	}
	return id, nil
}
