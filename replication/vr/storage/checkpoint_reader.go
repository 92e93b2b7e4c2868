package storage

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

const checkpointPrefix = "checkpoint-"

// checkpointName is as wide as the largest op-number, so that names sort as numbers do.
func checkpointName(op core.OpNumber) string {
	return fmt.Sprintf("%s%020d", checkpointPrefix, uint64(op))
}

// checkpointNames lists the finished checkpoints of a directory, oldest first.
func checkpointNames(directory string) ([]string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, entry := range entries {
		if _, ok := checkpointOp(entry.Name()); ok {
			names = append(names, entry.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

func checkpointOp(name string) (core.OpNumber, bool) {
	digits, ok := strings.CutPrefix(name, checkpointPrefix)
	if !ok || len(digits) != 20 {
		return 0, false
	}
	op, err := strconv.ParseUint(digits, 10, 64)
	return core.OpNumber(op), err == nil
}

// newestCheckpoint reads the header of the newest checkpoint, and removes what an interrupted writer left. An
// older checkpoint stays until the next Commit. A *DamageError when that file is damaged.
func newestCheckpoint(directory string) (core.CheckpointMeta, error) {
	leftovers, err := filepath.Glob(filepath.Join(directory, checkpointPrefix+"*"+temporaryName))
	if err != nil {
		return core.CheckpointMeta{}, fmt.Errorf("storage: %w", err)
	}
	for _, path := range leftovers {
		if err := os.Remove(path); err != nil {
			return core.CheckpointMeta{}, fmt.Errorf("storage: %w", err)
		}
	}
	names, err := checkpointNames(directory)
	if err != nil {
		return core.CheckpointMeta{}, fmt.Errorf("storage: %w", err)
	}
	if len(names) == 0 {
		return core.CheckpointMeta{}, nil
	}
	name := names[len(names)-1]
	op, _ := checkpointOp(name)
	reader, err := openCheckpoint(filepath.Join(directory, name), op)
	if err != nil {
		return core.CheckpointMeta{}, err
	}
	return reader.meta, reader.Close()
}

// OpenCheckpoint opens the newest checkpoint. What Read returns is verified chunk by chunk; only io.EOF says
// that the whole is verified. A checkpoint that is replaced meanwhile can be read to its end.
func (d *Disk) OpenCheckpoint() (core.CheckpointMeta, io.ReadCloser, error) {
	reader, err := d.openNewest()
	if err != nil {
		return core.CheckpointMeta{}, nil, err
	}
	return reader.meta, reader, nil
}

func (d *Disk) openNewest() (*checkpointReader, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, ErrClosed
	}
	if d.checkpoint.Op == 0 {
		return nil, vr.ErrNoCheckpoint
	}
	path := filepath.Join(d.directory, checkpointName(d.checkpoint.Op))
	reader, err := openCheckpoint(path, d.checkpoint.Op)
	if err != nil {
		return nil, err
	}
	if reader.meta != d.checkpoint {
		return nil, errors.Join(
			damaged(path, d.checkpoint.Op, "its header says %+v, it was written as %+v", reader.meta, d.checkpoint), reader.Close())
	}
	d.reading(path)
	reader.ended = sync.OnceFunc(func() { d.read(path) })
	return reader, nil
}

// openCheckpoint opens a file that must be the checkpoint of op.
func openCheckpoint(path string, op core.OpNumber) (*checkpointReader, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	reader := &checkpointReader{decoder: checkpointDecoder{source: bufio.NewReaderSize(file, chunkBytesMax)}, path: path, file: file, source: file}
	if reader.meta, err = reader.decoder.header(); err == nil && reader.meta.Op != op {
		err = fmt.Errorf("its header says operation %d", reader.meta.Op)
	}
	if err != nil {
		return nil, errors.Join(reader.explain(op, err), file.Close())
	}
	return reader, nil
}

// checkpointReader reads one checkpoint file and names it when it is damaged.
type checkpointReader struct {
	decoder checkpointDecoder
	meta    core.CheckpointMeta
	path    string
	file    io.Closer
	source  *os.File // file, unless that is in memory
	ended   func()   // called by Close; may be nil
}

// Read returns verified bytes.
func (r *checkpointReader) Read(data []byte) (int, error) {
	n, err := r.decoder.Read(data)
	if err != nil && err != io.EOF { //nolint:errorlint // io.EOF itself is the reader's contract
		err = r.explain(r.meta.Op, err)
	}
	return n, err
}

// Close closes the file.
func (r *checkpointReader) Close() error {
	if r.ended != nil {
		r.ended()
	}
	return r.file.Close()
}

func (r *checkpointReader) explain(op core.OpNumber, err error) error {
	var format *FormatError
	var path *os.PathError
	switch {
	case errors.As(err, &format):
		format.File = r.path
		return format
	case errors.As(err, &path):
		return fmt.Errorf("storage: %w", err)
	}
	damage := damaged(r.path, op, "the checkpoint")
	damage.Err = err
	return damage
}

// checkpointDecoder verifies a checkpoint's bytes and takes the state out of them.
type checkpointDecoder struct {
	source  *bufio.Reader
	version uint32
	whole   uint32
	chunks  uint32
	bytes   uint64
	sum     uint32 // of the last chunk
	chunk   []byte
	left    []byte // of chunk, verified and not yet returned
	err     error
}

func (d *checkpointDecoder) header() (core.CheckpointMeta, error) {
	data := make([]byte, checkpointHeaderBytes)
	if err := d.take(data); err != nil {
		return core.CheckpointMeta{}, err
	}
	if string(data[:len(checkpointMagic)]) != checkpointMagic {
		return core.CheckpointMeta{}, errMagic
	}
	if err := checkSum(data, checkpointHeaderBytes); err != nil {
		return core.CheckpointMeta{}, err
	}
	d.version = binary.LittleEndian.Uint32(data[8:])
	if d.version < checkpointVersionOldest || d.version > checkpointVersion {
		return core.CheckpointMeta{}, &FormatError{Found: d.version, Want: checkpointVersion}
	}
	meta := core.CheckpointMeta{
		Op:   core.OpNumber(binary.LittleEndian.Uint64(data[12:])),
		View: core.ViewNumber(binary.LittleEndian.Uint64(data[20:])),
		Hash: core.Hash(binary.LittleEndian.Uint64(data[28:])),
	}
	if d.version == checkpointVersionOldest {
		return meta, nil
	}
	var err error
	meta.Membership, err = d.membership()
	return meta, err
}

// membershipBytesMax is more than any membership has.
const membershipBytesMax = 1 << 16

// membership reads what follows the header in version 2.
func (d *checkpointDecoder) membership() (core.EncodedMembership, error) {
	length := make([]byte, 4)
	if err := d.take(length); err != nil {
		return "", err
	}
	size := binary.LittleEndian.Uint32(length)
	if size == 0 || size > membershipBytesMax {
		return "", fmt.Errorf("a membership of %d bytes", size)
	}
	data := append(length, make([]byte, size+4)...)
	if err := d.take(data[4:]); err != nil {
		return "", err
	}
	if err := checkSum(data, len(data)); err != nil {
		return "", err
	}
	membership := core.EncodedMembership(data[4 : 4+size])
	_, err := membership.Decode()
	return membership, err
}

// Read returns bytes of the state, each only after its chunk was verified.
func (d *checkpointDecoder) Read(data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	for len(d.left) == 0 && d.err == nil {
		d.err = d.next()
	}
	if len(d.left) == 0 {
		return 0, d.err
	}
	n := copy(data, d.left)
	d.left = d.left[n:]
	return n, nil
}

// next reads one chunk, or the end, which returns io.EOF.
func (d *checkpointDecoder) next() error {
	before := d.whole
	header := make([]byte, chunkHeaderBytes)
	if err := d.take(header); err != nil {
		return err
	}
	length, index := binary.LittleEndian.Uint32(header), binary.LittleEndian.Uint32(header[4:])
	if index != d.chunks {
		return fmt.Errorf("chunk %d where chunk %d belongs", index, d.chunks)
	}
	if length == 0 {
		return d.end(header, before)
	}
	if length > chunkBytesMax {
		return fmt.Errorf("chunk %d has %d bytes", index, length)
	}
	if d.chunk == nil {
		d.chunk = make([]byte, chunkBytesMax)
	}
	data := d.chunk[:length]
	if err := d.take(data); err != nil {
		return err
	}
	if d.sum = binary.LittleEndian.Uint32(header[8:]); d.sum != chunkSum(index, data) {
		return fmt.Errorf("chunk %d: %w", index, errChecksum)
	}
	d.chunks++
	d.bytes += uint64(length)
	d.left = data
	return nil
}

// end verifies the last record, of which start was read already, and that nothing follows it.
func (d *checkpointDecoder) end(start []byte, whole uint32) error {
	data := append(make([]byte, 0, checkpointEndBytes), start...)[:checkpointEndBytes]
	if err := d.take(data[len(start):]); err != nil {
		return err
	}
	if err := checkSum(data, checkpointEndBytes); err != nil {
		return err
	}
	if binary.LittleEndian.Uint64(data[8:]) != d.bytes || binary.LittleEndian.Uint32(data[16:]) != whole ||
		binary.LittleEndian.Uint32(data[20:]) != d.version {
		return errChecksum
	}
	if _, err := d.source.ReadByte(); err == nil {
		return errors.New("bytes after its end")
	} else if !errors.Is(err, io.EOF) {
		return err
	}
	return io.EOF
}

// take fills data and adds it to the checksum of the whole.
func (d *checkpointDecoder) take(data []byte) error {
	if _, err := io.ReadFull(d.source, data); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return errShort
		}
		return err
	}
	d.whole = crc32.Update(d.whole, castagnoli, data)
	return nil
}
