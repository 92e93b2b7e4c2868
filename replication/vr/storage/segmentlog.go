package storage

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr/core"
)

const (
	// segmentBytesMax is when the next batch begins a new segment. It is also how much of the log is removed at a time.
	segmentBytesMax = 8 << 20
	// growBytes is by how much a segment is filled with zeros ahead of what is written to it: an fsync of bytes that a
	// file has already is about half as long as one of bytes that make it longer.
	growBytes = 256 << 10
	// markIdle and markLatest are how soon replica.db says how far the log is: after so long without a batch, and after
	// so long with batches all the time.
	markIdle   = 20 * time.Millisecond
	markLatest = time.Second
)

// segmentOptions are the measures of a segmentLog; zero: those above.
type segmentOptions struct {
	files            files
	bytes, grow      int64
	idle, markLatest time.Duration
}

func (o segmentOptions) orDefaults() segmentOptions {
	if o.files == nil {
		o.files = osFiles{}
	}
	if o.bytes == 0 {
		o.bytes = segmentBytesMax
	}
	if o.grow == 0 {
		o.grow = growBytes
	}
	if o.idle == 0 {
		o.idle = markIdle
	}
	if o.markLatest == 0 {
		o.markLatest = markLatest
	}
	return o
}

var _ entryLog = (*segmentLog)(nil)

// segmentLog keeps entries in segments. A batch that only adds entries is appended to the last segment, with one fsync.
// Whatever else happens, happens in one transaction of replica.db, which changes the list of segments: entries that belong
// to it are written to a new segment before, and files that it drops are removed after. Nothing that was written is ever
// written over, so whatever a crash tears was not acknowledged.
//
// The list also says how far the last segment certainly goes. That is written a moment later, and tells damage from what
// a crash has torn: see load.
type segmentLog struct {
	directory string
	base      *database
	disk      *Disk // for usable and fail
	options   segmentOptions

	mu        sync.Mutex // guards what follows: the mark is written beside Write
	list      segmentList
	is        extent
	hardState core.HardState // as the last change left it
	keep      core.OpNumber  // the first operation to keep, as far as was said
	buffer    []byte
	found     found // load's, for the change that settles it
	loaded    bool
	settled   bool // what load found is durable; with damage it is not, until the log is replaced
	broken    bool // a write failed
	closed    bool

	// The last segment, while list.open.
	tail file
	salt uint64
	end  int64 // where the next batch goes
	size int64 // how long the file is

	timer    *time.Timer
	armed    bool
	appended time.Time // the last batch
	marked   time.Time // the last transaction
}

func newSegmentLog(disk *Disk, options segmentOptions) *segmentLog {
	return &segmentLog{directory: disk.directory, base: disk.database, disk: disk, options: options.orDefaults()}
}

func (l *segmentLog) kind() Log { return LogWAL }

func (l *segmentLog) version() uint32 { return segmentLogVersion }

func (l *segmentLog) read(state *bbolt.Bucket) (err error) {
	if l.list, err = decodeSegmentList(state.Get([]byte(keySegments))); err != nil {
		return damagedRecord(l.base.path, keySegments, err)
	}
	l.is = l.list.extent()
	return nil
}

func (l *segmentLog) extent() extent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.is
}

func (l *segmentLog) write(c *change, put func(state *bbolt.Bucket) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		return errNotLoaded
	}
	err := l.perform(c, put)
	l.broken = l.broken || err != nil && !errors.Is(err, ErrGap)
	return err
}

func (l *segmentLog) perform(c *change, put func(state *bbolt.Bucket) error) error {
	if l.plain(c) {
		return l.append(c)
	}
	next, err := l.successor(c)
	if err != nil {
		return err
	}
	if err := l.commit(&next, c.hardState, put); err != nil {
		return err
	}
	l.settled = l.settled || c.settle || c.anew != nil
	return nil
}

// successor is what a change leaves that is not plain.
func (l *segmentLog) successor(c *change) (successor, error) {
	next := successor{list: l.list, is: l.is}
	switch {
	case c.settle:
		next = l.current()
		return next, l.settle(&next)
	case l.settled:
		next = l.current()
		return next, l.plan(&next, c)
	case c.anew != nil:
		return next, errors.Join(l.sweep(), l.plan(&next, c))
	case len(c.batch.Entries) > 0 || c.batch.Truncate:
		return next, errUnsettled
	default:
		return next, nil // what is damaged stays as it is, and so does the rest
	}
}

// plain: the batch can be appended. It adds entries, or tells the commit-number, and takes nothing away at once.
func (l *segmentLog) plain(c *change) bool {
	cuts := c.batch.Truncate && c.batch.TruncateAbove < l.is.last
	return !c.promise && c.anew == nil && !cuts && c.batch.TruncateBelow <= l.is.last && l.tail != nil &&
		l.end < l.options.bytes && len(frames(c.batch.Entries)) == 1
}

// append writes a batch behind the others. When it returns, the batch is durable.
func (l *segmentLog) append(c *change) error {
	entries := c.batch.Entries
	if err := checkJoin(&l.is, entries); err != nil {
		return err
	}
	l.keep = max(l.keep, c.batch.TruncateBelow)
	if len(entries) == 0 && c.hardState == l.hardState {
		return nil
	}
	header := batchHeader{salt: l.salt, first: l.is.last + 1, commit: c.hardState.Commit}
	l.buffer = appendBatch(l.buffer[:0], header, entries)
	written, size, err := l.extend(l.tail, l.buffer, l.end, l.size)
	if err != nil {
		return err
	}
	if cap(l.buffer) > bufferBytesMax {
		l.buffer = nil
	}
	l.end, l.size = written, size
	l.is.extend(entries)
	l.hardState = c.hardState
	l.markLater()
	return nil
}

// extend writes data at the end of a file and makes it durable. When the file is not long enough, it is filled with zeros
// first: a full disk is met before anything is written that could be taken for a batch.
func (l *segmentLog) extend(to file, data []byte, end, size int64) (newEnd, newSize int64, err error) {
	newEnd, newSize = end+int64(len(data)), size
	if newEnd > size {
		newSize = int64(roundUp(int(newEnd), int(l.options.grow)))
		if _, err := to.WriteAt(make([]byte, newSize-size), size); err != nil {
			return end, size, err
		}
	}
	if _, err := to.WriteAt(data, end); err != nil {
		return end, size, err
	}
	l.base.syncs.Add(1)
	return newEnd, newSize, to.Sync()
}

// commit makes a successor what there is: first the new segment, then the transaction, then the files that are not
// needed any more.
func (l *segmentLog) commit(next *successor, state core.HardState, put func(state *bbolt.Bucket) error) error {
	var tail file
	var salt uint64
	var end, size int64
	if len(next.entries) > 0 {
		header := segmentHeader{id: next.list.next, salt: newSalt(), first: next.entries[0].Op}
		var err error
		if tail, end, size, err = l.create(header, state.Commit, next.entries); err != nil {
			return err
		}
		salt = header.salt
		next.list.segments = append(next.list.segments, segment{id: header.id, end: uint64(end), last: next.is.last, lastHash: next.is.lastHash})
		next.list.next, next.list.open = header.id+1, true
	}
	err := l.base.update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket([]byte(bucketState))
		return errors.Join(put(bucket), bucket.Put([]byte(keySegments), encodeSegmentList(&next.list)))
	})
	if err != nil {
		return errors.Join(err, closeFile(tail))
	}
	before := l.list
	if tail != nil || !next.list.open {
		if err := closeFile(l.tail); err != nil {
			return err
		}
		l.tail, l.salt, l.end, l.size = tail, salt, end, size
	}
	l.list, l.is, l.hardState, l.found, l.marked = next.list, next.is, state, found{}, time.Now()
	return l.clear(&before)
}

// create makes a segment with entries in it, which is not in the list yet.
func (l *segmentLog) create(header segmentHeader, commit core.OpNumber, entries []core.Entry) (to file, end, size int64, err error) {
	data := encodeSegmentHeader(header)
	for _, frame := range frames(entries) {
		data = appendBatch(data, batchHeader{salt: header.salt, first: frame[0].Op, commit: commit}, frame)
	}
	if to, err = l.options.files.create(segmentPath(l.directory, header.id)); err != nil {
		return nil, 0, 0, err
	}
	if end, size, err = l.extend(to, data, 0, 0); err == nil {
		l.base.syncs.Add(1)
		err = l.options.files.syncDirectory(l.directory)
	}
	if err != nil {
		return nil, 0, 0, errors.Join(err, to.Close())
	}
	return to, end, size, nil
}

// clear removes the files that were in the list and are not any more, and from those that still are what is behind their
// ends, but for the one that is written to. A crash on the way costs space, until the next Load or for as long as the
// segment is there.
func (l *segmentLog) clear(before *segmentList) error {
	ends := map[uint64]uint64{}
	for _, s := range l.list.segments {
		ends[s.id] = s.end
	}
	removed := false
	for n, s := range before.segments {
		end, stays := ends[s.id]
		written := before.open && n == len(before.segments)-1
		var err error
		if path := segmentPath(l.directory, s.id); !stays {
			removed, err = true, l.options.files.remove(path)
		} else if !l.isTail(s.id) && (written || end != s.end) {
			err = l.options.files.truncate(path, int64(end))
		}
		if err != nil {
			return err
		}
	}
	if !removed {
		return nil
	}
	l.base.syncs.Add(1)
	return l.options.files.syncDirectory(l.directory)
}

func (l *segmentLog) isTail(id uint64) bool {
	n := len(l.list.segments)
	return l.list.open && l.list.segments[n-1].id == id
}

func closeFile(open file) error {
	if open == nil {
		return nil
	}
	return open.Close()
}

func newSalt() uint64 {
	var salt [8]byte
	_, _ = rand.Read(salt[:]) // it does not fail
	return binary.LittleEndian.Uint64(salt[:])
}

// close writes the mark, unless something has failed, and closes the last segment.
func (l *segmentLog) close(whole bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
	}
	var err error
	if whole {
		err = l.mark()
	}
	err = errors.Join(err, closeFile(l.tail))
	l.tail = nil
	return err
}
