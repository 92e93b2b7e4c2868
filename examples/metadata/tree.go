package metadata

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/viewline/viewline/replication"
)

// KeyBytesMax is the length of the longest key, in bytes.
const KeyBytesMax = 512

// Why a request changed nothing.
var (
	ErrAlreadyPresent = errors.New("metadata: key is present already")
	ErrNotPresent     = errors.New("metadata: key is not present")
	ErrNoParent       = errors.New("metadata: key has no parent")
	ErrHasChildren    = errors.New("metadata: key has children")
	ErrMalformed      = errors.New("metadata: key is no path of at most 512 bytes")
	// ErrRequest: the group could not read the request.
	ErrRequest = errors.New("metadata: malformed request")
)

// refusals gives each of them a number, which a result carries.
func refusals() []error {
	return []error{nil, ErrAlreadyPresent, ErrNotPresent, ErrNoParent, ErrHasChildren, ErrMalformed, ErrRequest}
}

// request is one operation, as JSON.
type request struct {
	Kind  string `json:"kind"` // create, set, get, list or remove
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// result is what came of it. Refused is a place in refusals.
type result struct {
	Refused  int      `json:"refused,omitempty"`
	Value    string   `json:"value,omitempty"`
	Children []string `json:"children,omitempty"`
}

// Tree is the state machine. It belongs to its replica.
type Tree struct{ values map[string]string }

// NewTree returns a tree with nothing but its root.
func NewTree() *Tree { return &Tree{values: map[string]string{"/": ""}} }

// Apply executes requests; one that makes no sense changes nothing and says so.
func (t *Tree) Apply(_ replication.OpNumber, operations [][]byte) [][]byte {
	results := make([][]byte, len(operations))
	for i, operation := range operations {
		answer, err := result{}, ErrRequest
		var asked request
		if json.Unmarshal(operation, &asked) == nil {
			answer, err = t.execute(asked)
		}
		answer.Refused = slices.Index(refusals(), err)
		results[i], _ = json.Marshal(answer) // strings and numbers: it cannot fail
	}
	return results
}

func (t *Tree) execute(asked request) (result, error) {
	parent, ok := parentOf(asked.Key)
	if !ok {
		return result{}, ErrMalformed
	}
	value, present := t.values[asked.Key]
	_, parentPresent := t.values[parent]
	switch {
	case asked.Kind == "create" && present:
		return result{}, ErrAlreadyPresent
	case asked.Kind == "create" && !parentPresent:
		return result{}, ErrNoParent
	case asked.Kind != "create" && !present:
		return result{}, ErrNotPresent
	}
	switch asked.Kind {
	case "create", "set":
		t.values[asked.Key] = asked.Value
	case "get":
		return result{Value: value}, nil
	case "list":
		return result{Children: t.children(asked.Key)}, nil
	case "remove":
		if asked.Key == "/" || len(t.children(asked.Key)) > 0 {
			return result{}, ErrHasChildren
		}
		delete(t.values, asked.Key)
	default:
		return result{}, ErrRequest
	}
	return result{}, nil
}

// children are the names one level below a key, in order.
func (t *Tree) children(key string) []string {
	prefix := strings.TrimSuffix(key, "/") + "/"
	var names []string
	for path := range t.values {
		if name, below := strings.CutPrefix(path, prefix); below && name != "" && !strings.Contains(name, "/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// parentOf returns a key's parent; the root is its own. Not ok: the key is malformed.
func parentOf(key string) (parent string, ok bool) {
	if key == "/" {
		return "/", true
	}
	if len(key) > KeyBytesMax || !strings.HasPrefix(key, "/") || strings.ContainsRune(key, 0) {
		return "", false
	}
	for _, name := range strings.Split(key[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return "", false
		}
	}
	return key[:max(1, strings.LastIndexByte(key, '/'))], true
}

// Snapshot copies the map and shares the strings.
func (t *Tree) Snapshot() (replication.Snapshot, error) { return frozen(maps.Clone(t.values)), nil }

// Restore replaces the tree by what WriteTo wrote.
func (t *Tree) Restore(r io.Reader) error {
	t.values = nil
	if err := json.NewDecoder(r).Decode(&t.values); err != nil {
		return fmt.Errorf("metadata: checkpoint: %w", err)
	}
	_, err := io.Copy(io.Discard, r) // the line's end
	return err
}

// frozen is the snapshot: a JSON object, whose keys are in order.
type frozen map[string]string

func (f frozen) WriteTo(w io.Writer) (int64, error) {
	text, err := json.Marshal(map[string]string(f))
	if err != nil {
		return 0, fmt.Errorf("metadata: checkpoint: %w", err)
	}
	n, err := w.Write(text)
	return int64(n), err
}

func (frozen) Release() {}
