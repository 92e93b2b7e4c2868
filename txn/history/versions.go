package history

import (
	"strings"

	"github.com/tidwall/btree"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// write is what a version holds. It is never changed; a fold replaces it.
type write struct {
	installed txn.OpNumber
	kind      txn.WriteKind
	value     []byte
}

// version is one write of one object. A tree of them is ordered by oid, and newest first within an object,
// so the newest version at or below a timestamp is the first at or after (oid, timestamp).
type version struct {
	oid string
	ts  txn.Timestamp
	*write
}

// versionStore keeps the versions of all objects.
//
// Invariant: at or below horizon every object has at most one version, and that is no tombstone; recent holds
// exactly the versions above horizon.
type versionStore struct {
	all     *btree.BTreeG[version]
	recent  *btree.BTreeG[stamp] // by timestamp, for folding
	horizon txn.Timestamp
	omit    omit.Set
}

func newVersionStore(omitted omit.Set) versionStore {
	return versionStore{all: newTree(versionLess), recent: newTree(stampLessByTS), omit: omitted}
}

func versionLess(a, b version) bool {
	if c := strings.Compare(a.oid, b.oid); c != 0 {
		return c < 0
	}
	return a.ts > b.ts
}

// each calls fn for the versions of an object at or below ts, newest first, until it returns false.
func (s *versionStore) each(oid string, ts txn.Timestamp, fn func(version) bool) {
	s.all.Ascend(version{oid: oid, ts: ts}, func(v version) bool { return v.oid == oid && fn(v) })
}

// at returns the newest version of an object at or below ts.
func (s *versionStore) at(oid string, ts txn.Timestamp) (found version, ok bool) {
	s.each(oid, ts, func(v version) bool {
		found, ok = v, true
		return false
	})
	return found, ok
}

// install adds a version. Nothing may be installed at or below the horizon: the threshold is not below it,
// and a prepared transaction holds it back.
func (s *versionStore) install(oid string, ts txn.Timestamp, w *write) {
	s.all.Set(version{oid: oid, ts: ts, write: w})
	if ts > s.horizon {
		s.recent.Set(stamp{oid: oid, ts: ts})
	}
}

// fold raises the horizon. Of an object's versions at or below it only the newest stays, as a Put with the
// largest install op-number of them all: a reader who read before that one was installed cannot tell any
// more what it missed. A tombstone goes altogether, since absence reads the same.
func (s *versionStore) fold(horizon txn.Timestamp) {
	s.horizon = horizon
	for {
		next, ok := s.recent.Min()
		if !ok || next.ts > horizon {
			return
		}
		s.recent.PopMin()
		s.foldAt(next.oid, next.ts)
	}
}

// foldAt makes the version (oid, ts) the oldest of its object. fold goes up by timestamp, so it meets the
// newest version at or below the horizon last.
func (s *versionStore) foldAt(oid string, ts txn.Timestamp) {
	newest, ok := s.all.Get(version{oid: oid, ts: ts})
	if !ok {
		return
	}
	installed := newest.installed
	for {
		older, ok := s.at(oid, ts-1)
		if !ok {
			break
		}
		installed = max(installed, older.installed)
		s.all.Delete(older)
	}
	switch {
	case newest.kind == txn.Delete:
		s.all.Delete(newest)
	case installed != newest.installed && !s.omit.Has(RuleFoldKeepsInstalled):
		s.all.Set(version{oid: oid, ts: ts, write: &write{installed: installed, kind: newest.kind, value: newest.value}})
	}
}

// value turns a version into what a read answers.
func (v version) read() Value {
	if v.write == nil {
		return Value{}
	}
	if v.kind == txn.Delete {
		return Value{Version: v.ts}
	}
	return Value{Present: true, Value: v.value, Version: v.ts}
}
