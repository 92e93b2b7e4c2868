package core

import (
	"crypto/sha256"
	"encoding/binary"
)

// reconfigurationBit is what a RECONFIGURATION's view has beside it where it is hashed; no view comes near it.
const reconfigurationBit = 1 << 63

// chain computes the hash of an entry over that of the entry below it.
func chain(previous Hash, op OpNumber, view ViewNumber, kind EntryKind, payload []byte) Hash {
	if kind == EntryReconfiguration {
		view |= reconfigurationBit
	}
	var buffer [512]byte
	head := binary.BigEndian.AppendUint64(buffer[:0], uint64(previous))
	head = binary.BigEndian.AppendUint64(head, uint64(op))
	head = binary.BigEndian.AppendUint64(head, uint64(view))
	if len(payload) <= len(buffer)-len(head) {
		sum := sha256.Sum256(append(head, payload...))
		return Hash(binary.BigEndian.Uint64(sum[:]))
	}
	digest := sha256.New()
	digest.Write(head)
	digest.Write(payload)
	return Hash(binary.BigEndian.Uint64(digest.Sum(buffer[:0])))
}

// Chained returns an operation's entry with its hash over that of the entry below it.
func Chained(previous Hash, op OpNumber, view ViewNumber, payload []byte) Entry {
	return Entry{Op: op, View: view, Payload: payload, Hash: chain(previous, op, view, EntryOperation, payload)}
}

// Follows reports whether the entry's hash is the one over its content and that of the entry below it.
func (e *Entry) Follows(previous Hash) bool {
	return e.Kind <= EntryReconfiguration && e.Hash == chain(previous, e.Op, e.View, e.Kind, e.Payload)
}

// log is the retained part of a replica's log. Slices of its entries are handed out in messages, so an entry's
// place in the array is never written twice: what is cut off leaves no capacity behind.
type log struct {
	base    CheckpointMeta // the entry below the first retained one
	entries []Entry
	// unstable is the lowest op-number that storage does not have as it is here; persisted is the last that
	// storage has at all.
	// Invariant: unstable <= last+1.
	unstable  OpNumber
	persisted OpNumber
	bytes     int // of all payloads
}

func bytesOf(entries []Entry) (bytes int) {
	for i := range entries {
		bytes += len(entries[i].Payload)
	}
	return bytes
}

// logRoomMin is for how many more entries a log that is made anew has room.
const logRoomMin = 8

func (l *log) last() OpNumber { return l.base.Op + OpNumber(len(l.entries)) }

// at returns a retained entry.
func (l *log) at(op OpNumber) *Entry { return &l.entries[op-l.base.Op-1] }

// hashAt returns the hash at an op-number, if it is retained or the base.
func (l *log) hashAt(op OpNumber) (Hash, bool) {
	switch {
	case op == l.base.Op:
		return l.base.Hash, true
	case op > l.base.Op && op <= l.last():
		return l.at(op).Hash, true
	default:
		return 0, false
	}
}

// slice returns entries first to last, both included.
func (l *log) slice(first, last OpNumber) []Entry {
	if first > last {
		return nil
	}
	from, to := first-l.base.Op-1, last-l.base.Op
	return l.entries[from:to:to]
}

// batch returns entries from first on, within bounds but at least one if there is one.
func (l *log) batch(first OpNumber, entriesMax, bytesMax int) []Entry {
	size := 0
	for op := first; op <= l.last(); op++ {
		size += len(l.at(op).Payload)
		if op > first && (size > bytesMax || int(op-first) >= entriesMax) {
			return l.slice(first, op-1)
		}
	}
	return l.slice(first, l.last())
}

// tail returns the newest entries within bounds, none of them below first.
func (l *log) tail(first OpNumber, entriesMax, bytesMax int) []Entry {
	first = max(first, l.base.Op+1)
	size, from := 0, l.last()+1
	for from > first {
		size += len(l.at(from - 1).Payload)
		if size > bytesMax || int(l.last()-from) >= entriesMax {
			break
		}
		from--
	}
	return l.slice(from, l.last())
}

func (l *log) append(entries ...Entry) {
	l.unstable = min(l.unstable, l.last()+1)
	if l.entries == nil {
		l.entries = make([]Entry, 0, len(entries)+logRoomMin)
	}
	l.entries = append(l.entries, entries...)
	l.bytes += bytesOf(entries)
}

// truncateAbove removes everything above an op-number.
func (l *log) truncateAbove(op OpNumber) {
	keep := op - l.base.Op
	l.bytes -= bytesOf(l.entries[keep:])
	l.entries = l.entries[:keep:keep]
	l.unstable = min(l.unstable, op+1)
}

// dropBelow makes an entry that is retained the base.
func (l *log) dropBelow(base CheckpointMeta) {
	kept := l.entries[base.Op-l.base.Op:]
	l.bytes -= bytesOf(l.entries[:base.Op-l.base.Op])
	// With room for what comes until the next checkpoint: the first append would copy everything once more.
	l.entries = append(make([]Entry, 0, len(kept)+len(kept)/2+logRoomMin), kept...)
	l.base = base
	l.unstable = max(l.unstable, base.Op+1)
}

// reset starts the log anew above a checkpoint.
func (l *log) reset(base CheckpointMeta) {
	l.base, l.entries, l.unstable, l.bytes = base, nil, base.Op+1, 0
}
