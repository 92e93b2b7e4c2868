package storage

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/viewline/viewline/replication/vr/core"
)

// found is what load has found out about the last segment.
type found struct {
	// unproven is the last batch, when replica.db does not know it: the process before this one may have ended before
	// it was durable. Those before it are, since each was made durable before the next was begun.
	unproven *batchAt
	// before is the log without it.
	before extent
	// torn: something is behind the last batch that is none.
	torn bool
}

// batchAt is a batch and where it lies.
type batchAt struct {
	at, end int64
	header  batchHeader
	entries []core.Entry
}

// load reads all segments and verifies all that counts: headers, checksums, numbering, the chain of hashes, and that each
// ends where the list says. In the last one, which may go on, what follows the last batch that is whole is
//
//   - damage, if a batch of this segment lies behind it: it would not have been begun before the one that is missing was
//     durable;
//   - damage, if replica.db knows of more than there is;
//   - torn otherwise: the last batch, which a crash came before the end of. It is not told from one that was acknowledged
//     and damaged since, in the moment before replica.db knew of it.
func (l *segmentLog) load() ([]core.Entry, []*DamageError, core.OpNumber, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.loaded {
		// Once more in the same life: replica.db knows all there is from now on.
		if err := l.mark(); err != nil {
			return nil, nil, 0, err
		}
	}
	if err := closeFile(l.tail); err != nil {
		return nil, nil, 0, err
	}
	l.tail, l.loaded, l.settled, l.found, l.is = nil, false, false, found{}, l.list.extent()
	if err := l.checkAge(); err != nil {
		return nil, nil, 0, err
	}
	entries, err := l.loadSegments()
	var damage *DamageError
	switch {
	case errors.As(err, &damage):
		l.loaded, l.found = true, found{}
		return entries, damagedLog(l.is, damage), 0, nil
	case err != nil:
		return nil, nil, 0, err
	}
	l.is.extend(entries)
	l.loaded = true
	if l.found.unproven == nil {
		return entries, nil, 0, nil
	}
	return entries, nil, l.found.unproven.header.commit, nil
}

// loadSegments returns what is sound below the first damage, and that damage.
func (l *segmentLog) loadSegments() (entries []core.Entry, err error) {
	follow := hashChain{previous: l.list.baseHash, next: l.list.base + 1}
	for n := range l.list.segments {
		if l.list.open && n == len(l.list.segments)-1 {
			entries, err = l.loadLast(entries, &follow)
		} else {
			entries, err = l.loadClosed(n, entries, &follow)
		}
		if err != nil {
			return entries, err
		}
	}
	return entries, nil
}

// readSegment reads a file whose first operation is this one, and verifies its header.
func readSegment(path string, id uint64, first core.OpNumber) ([]byte, segmentHeader, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, segmentHeader{}, damaged(path, first, "the file is gone")
	} else if err != nil {
		return nil, segmentHeader{}, fmt.Errorf("storage: load: %w", err)
	}
	header, err := decodeSegmentHeader(data)
	if err == nil && (header.id != id || header.first != first) {
		err = fmt.Errorf("it is of segment %d from operation %d", header.id, header.first)
	}
	if err != nil {
		damage := damaged(path, first, "its header")
		damage.Err = err
		return nil, header, damage
	}
	return data, header, nil
}

// scanBatches takes batches off data, from the end of the header up to limit, and says why it ends before.
func scanBatches(data []byte, salt uint64, limit int64) (batches []batchAt, end int64, err error) {
	end = sectorBytes
	for end < limit {
		header, entries, size, err := decodeBatch(data[end:limit], salt)
		if err != nil {
			return batches, end, err
		}
		batches = append(batches, batchAt{at: end, end: end + int64(size), header: header, entries: entries})
		end += int64(size)
	}
	return batches, end, nil
}

// loadClosed reads a segment that is exactly what the list says.
func (l *segmentLog) loadClosed(n int, entries []core.Entry, follow *hashChain) ([]core.Entry, error) {
	s, before := &l.list.segments[n], len(entries)
	follow.file = segmentPath(l.directory, s.id)
	data, header, err := readSegment(follow.file, s.id, follow.next)
	if err != nil {
		return entries, err
	}
	batches, end, stopped := scanBatches(data, header.salt, min(int64(s.end), int64(len(data))))
	for i := range batches {
		if entries, err = follow.addBatch(entries, &batches[i], s.last); err != nil {
			return entries, err
		}
	}
	if stopped != nil || end != int64(s.end) {
		return entries, damagedBatch(follow, end, stopped)
	}
	if follow.next-1 != s.last || follow.previous != s.lastHash {
		return entries[:before], l.anotherSegment(n, follow)
	}
	return entries, nil
}

// loadLast reads the segment that is written to.
func (l *segmentLog) loadLast(entries []core.Entry, follow *hashChain) ([]core.Entry, error) {
	n, before := len(l.list.segments)-1, len(entries)
	s := &l.list.segments[n]
	follow.file = segmentPath(l.directory, s.id)
	data, header, err := readSegment(follow.file, s.id, l.list.first(n))
	if err != nil {
		return entries, err
	}
	batches, end, stopped := scanBatches(data, header.salt, int64(len(data)))
	rest := data[end:]
	later, last := laterBatch(rest, header.salt)
	l.is.last = max(l.is.last, last)
	known := false
	for i := range batches {
		l.found.before = extent{last: follow.next - 1, lastHash: follow.previous}
		if entries, err = follow.addBatch(entries, &batches[i], math.MaxUint64); err != nil {
			return entries, err
		}
		if batches[i].end == int64(s.end) {
			known = follow.next-1 == s.last && follow.previous == s.lastHash
		}
	}
	switch {
	case end >= int64(s.end) && !known:
		return entries[:before], l.anotherSegment(n, follow)
	case !known || later:
		return entries, damagedBatch(follow, end, stopped)
	}
	l.found.torn = !zero(rest)
	if end > int64(s.end) {
		l.found.unproven = &batches[len(batches)-1]
	}
	l.salt, l.end, l.size = header.salt, end, int64(len(data))
	return entries, nil
}

// addBatch adds the entries of a batch up to last; what follows it was cut off.
func (c *hashChain) addBatch(entries []core.Entry, batch *batchAt, last core.OpNumber) ([]core.Entry, error) {
	if batch.header.first != c.next && c.next <= last {
		return entries, damaged(c.file, c.next, "a batch from operation %d follows", batch.header.first)
	}
	for i := range batch.entries {
		if c.next > last {
			break
		}
		if broken := c.add(&batch.entries[i]); broken != nil {
			return entries, broken
		}
		entries = append(entries, batch.entries[i])
	}
	return entries, nil
}

// anotherSegment is damage of a segment that is sound in itself, and not what was written last: none of it is to be
// believed.
func (l *segmentLog) anotherSegment(n int, follow *hashChain) *DamageError {
	return damaged(follow.file, l.list.first(n), "it has operation %d where operation %d was the last one written", follow.next-1, l.list.segments[n].last)
}

// laterBatch says whether there is a batch behind the first sector, which belongs to none, and the last operation of them.
func laterBatch(data []byte, salt uint64) (found bool, last core.OpNumber) {
	for at := sectorBytes; at < len(data); at += sectorBytes {
		if header, entries, _, err := decodeBatch(data[at:], salt); err == nil {
			found, last = true, header.first-1+core.OpNumber(len(entries))
		}
	}
	return found, last
}

func damagedBatch(follow *hashChain, at int64, err error) *DamageError {
	damage := damaged(follow.file, follow.next, "log entry (of the batch at byte %d)", at)
	damage.Err = err
	return damage
}

// settle works out how the log goes on after load. A last batch that may not be durable is written again, in a new
// segment; what was torn is left behind in one that ends before it; and only a segment that ends as replica.db says, with
// nothing behind it, is written to again.
func (l *segmentLog) settle(next *successor) error {
	if err := l.sweep(); err != nil {
		return err
	}
	if !l.list.open {
		return nil
	}
	n := len(next.list.segments) - 1
	last := &next.list.segments[n]
	switch {
	case l.found.unproven != nil:
		last.end, last.last, last.lastHash = uint64(l.found.unproven.at), l.found.before.last, l.found.before.lastHash
		next.entries = l.found.unproven.entries
		next.list.open = false
	case l.found.torn:
		next.list.open = false
	default:
		var err error
		l.tail, err = l.options.files.open(segmentPath(l.directory, last.id))
		return err
	}
	return nil
}

// checkAge refuses segments of a later time than replica.db: an old copy of it says nothing of what was promised since.
func (l *segmentLog) checkAge() error {
	names, err := segmentNames(l.directory)
	if err != nil {
		return fmt.Errorf("storage: load: %w", err)
	}
	for _, name := range names {
		if id, _ := segmentID(name); id > l.list.next {
			return damaged(filepath.Join(l.directory, name), 0, "it is of a later time than %s, whose next segment would be %d", databaseName, l.list.next)
		}
	}
	return nil
}

// sweep removes what a crash left: a segment that did not get into the list, and those that left it.
func (l *segmentLog) sweep() error {
	names, err := segmentNames(l.directory)
	if err != nil {
		return err
	}
	listed := map[uint64]bool{}
	for _, s := range l.list.segments {
		listed[s.id] = true
	}
	for _, name := range names {
		if id, _ := segmentID(name); !listed[id] {
			err = errors.Join(err, l.options.files.remove(filepath.Join(l.directory, name)))
		}
	}
	return err
}

// cut is a segment that holds keep, up to there.
func (l *segmentLog) cut(s *segment, first, keep core.OpNumber) (segment, error) {
	path := segmentPath(l.directory, s.id)
	data, header, err := readSegment(path, s.id, first)
	if err != nil {
		return segment{}, err
	}
	batches, end, err := scanBatches(data, header.salt, min(int64(s.end), int64(len(data))))
	for i := range batches {
		for j := range batches[i].entries {
			if entry := &batches[i].entries[j]; entry.Op == keep {
				return segment{id: s.id, end: uint64(batches[i].end), last: keep, lastHash: entry.Hash}, nil
			}
		}
	}
	return segment{}, damagedBatch(&hashChain{file: path, next: keep}, end, err)
}
