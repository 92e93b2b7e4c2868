package raft

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	hraft "github.com/hashicorp/raft"
)

// A snapshot's file is: the magic; a header, its length and checksum before it; blocks of the state, each with its
// length, index and checksum before it; and a block without bytes, whose index is their number. docs/FORMATS.md has it.
const (
	snapshotMagic     = "VLRAFT01"
	snapshotPrefix    = "snapshot-"
	temporarySuffix   = ".tmp"
	snapshotBlockMax  = 256 << 10
	snapshotHeaderMax = 1 << 20
)

// snapshotHeader is the description of a snapshot in its file.
type snapshotHeader struct {
	Index              uint64 `json:"index"`
	Term               uint64 `json:"term"`
	Configuration      []byte `json:"configuration"` // as hashicorp/raft encodes it
	ConfigurationIndex uint64 `json:"configuration_index"`
}

// fileKeeper keeps snapshots in a directory.
type fileKeeper struct {
	directory string
	storage   *Storage
}

func (k *fileKeeper) path(id string) string { return filepath.Join(k.directory, snapshotPrefix+id) }

type fileDraft struct {
	keeper *fileKeeper
	id     string
	file   *os.File
	out    *bufio.Writer
	block  []byte
	index  uint32
}

func (k *fileKeeper) create(meta hraft.SnapshotMeta) (draft, error) {
	header, err := json.Marshal(snapshotHeader{
		Index: meta.Index, Term: meta.Term, Configuration: hraft.EncodeConfiguration(meta.Configuration), ConfigurationIndex: meta.ConfigurationIndex,
	})
	if err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(k.directory, snapshotPrefix+meta.ID+".*"+temporarySuffix)
	if err != nil {
		return nil, err
	}
	d := &fileDraft{keeper: k, id: meta.ID, file: file, out: bufio.NewWriterSize(file, snapshotBlockMax)}
	head := binary.LittleEndian.AppendUint32([]byte(snapshotMagic), uint32(len(header)))
	head = binary.LittleEndian.AppendUint32(head, crc32.Checksum(header, castagnoli))
	if _, err := d.out.Write(append(head, header...)); err != nil {
		d.drop()
		return nil, err
	}
	return d, nil
}

// Write collects blocks.
func (d *fileDraft) Write(data []byte) (int, error) {
	written := 0
	for len(data) > 0 {
		n := min(len(data), snapshotBlockMax-len(d.block))
		d.block, data = append(d.block, data[:n]...), data[n:]
		if written += n; len(d.block) == snapshotBlockMax {
			if err := d.flush(); err != nil {
				return written, err
			}
		}
	}
	return written, nil
}

// flush writes the block that was collected.
func (d *fileDraft) flush() error {
	head := blockHead(len(d.block), d.index)
	sum := crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, d.block)
	_, err := d.out.Write(binary.LittleEndian.AppendUint32(head, sum))
	if err == nil {
		_, err = d.out.Write(d.block)
	}
	d.block, d.index = d.block[:0], d.index+1
	return err
}

func blockHead(length int, index uint32) []byte {
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(make([]byte, 0, 12), uint32(length)), index)
}

// commit makes the file the newest snapshot, and removes those before it.
func (d *fileDraft) commit() error {
	var err error
	if len(d.block) > 0 {
		err = d.flush()
	}
	if err == nil {
		err = d.flush() // the end
	}
	if err == nil {
		err = d.out.Flush()
	}
	if err == nil {
		err = d.file.Sync()
	}
	if err = errors.Join(err, d.file.Close()); err == nil {
		err = os.Rename(d.file.Name(), d.keeper.path(d.id))
	}
	if err != nil {
		_ = os.Remove(d.file.Name()) // what is left is removed when the storage is opened
		return err
	}
	d.keeper.storage.syncs.Add(2)
	if err := syncDirectory(d.keeper.directory); err != nil {
		return err
	}
	whole, _, err := d.keeper.names()
	return errors.Join(err, d.keeper.remove(whole, d.id))
}

func (d *fileDraft) drop() {
	_ = d.file.Close()
	_ = os.Remove(d.file.Name()) // what is left is removed when the storage is opened
}

// names are those of all snapshots, oldest first, and of what was being written.
func (k *fileKeeper) names() (whole, parts []string, err error) {
	entries, err := os.ReadDir(k.directory)
	if err != nil {
		return nil, nil, err
	}
	for _, entry := range entries {
		name, ok := strings.CutPrefix(entry.Name(), snapshotPrefix)
		switch {
		case !ok:
		case strings.HasSuffix(name, temporarySuffix):
			parts = append(parts, name)
		default:
			whole = append(whole, name)
		}
	}
	return whole, parts, nil
}

// remove removes snapshots by their names, but for one.
func (k *fileKeeper) remove(names []string, but string) error {
	var err error
	for _, name := range names {
		if name != but {
			err = errors.Join(err, os.Remove(k.path(name)))
		}
	}
	return err
}

// newest reads the description of the newest snapshot; nil: there is none. It counts its bytes, and with that verifies
// all of it.
func (k *fileKeeper) newest() (*hraft.SnapshotMeta, error) {
	whole, _, err := k.names()
	if err != nil || len(whole) == 0 {
		return nil, err
	}
	id := whole[len(whole)-1]
	header, reader, err := k.read(id)
	if err != nil {
		return nil, err
	}
	size, err := io.Copy(io.Discard, reader)
	if err = errors.Join(err, reader.Close()); err != nil {
		return nil, err
	}
	if snapshotID(header.Index, header.Term) != id {
		return nil, fmt.Errorf("%w: %s is another snapshot", ErrDamaged, k.path(id))
	}
	configuration, err := decodeConfiguration(header.Configuration)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, k.path(id), err)
	}
	return &hraft.SnapshotMeta{
		Version: hraft.SnapshotVersionMax, ID: id, Index: header.Index, Term: header.Term, Size: size,
		Configuration: configuration, ConfigurationIndex: header.ConfigurationIndex,
	}, nil
}

func (k *fileKeeper) open(meta hraft.SnapshotMeta) (io.ReadCloser, error) {
	_, reader, err := k.read(meta.ID)
	return reader, err
}

// snapshotReader reads the state out of a file, and verifies it.
type snapshotReader struct {
	file  *os.File
	in    *bufio.Reader
	index uint32
	block []byte // what is left of the present one
	room  []byte
	err   error
}

func (k *fileKeeper) read(id string) (header snapshotHeader, reader io.ReadCloser, err error) {
	file, err := os.Open(k.path(id))
	if err != nil {
		return header, nil, err
	}
	in := bufio.NewReaderSize(file, snapshotBlockMax)
	if err := readHeader(in, &header); err != nil {
		return header, nil, errors.Join(fmt.Errorf("%w: %s: %w", ErrDamaged, file.Name(), err), file.Close())
	}
	return header, &snapshotReader{file: file, in: in}, nil
}

func readHeader(in io.Reader, header *snapshotHeader) error {
	head := make([]byte, len(snapshotMagic)+8)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(snapshotMagic)]) != snapshotMagic {
		return errors.New("not a snapshot of this version")
	}
	length, sum := binary.LittleEndian.Uint32(head[len(snapshotMagic):]), binary.LittleEndian.Uint32(head[len(snapshotMagic)+4:])
	if length > snapshotHeaderMax {
		return errors.New("header too long")
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(in, text); err != nil || crc32.Checksum(text, castagnoli) != sum {
		return errors.New("header does not have its checksum")
	}
	return json.Unmarshal(text, header)
}

// Read reads verified bytes only.
func (r *snapshotReader) Read(data []byte) (int, error) {
	for len(r.block) == 0 && r.err == nil {
		r.next()
	}
	if len(r.block) == 0 {
		return 0, r.err
	}
	n := copy(data, r.block)
	r.block = r.block[n:]
	return n, nil
}

func (r *snapshotReader) next() {
	var head [12]byte
	damaged := func(what string) {
		r.err = fmt.Errorf("%w: %s: block %d %s", ErrDamaged, r.file.Name(), r.index, what)
	}
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		damaged("is cut off")
		return
	}
	length, index, sum := binary.LittleEndian.Uint32(head[:]), binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint32(head[8:])
	if length > snapshotBlockMax || index != r.index {
		damaged("is not it")
		return
	}
	if r.room == nil {
		r.room = make([]byte, snapshotBlockMax)
	}
	block := r.room[:length]
	if _, err := io.ReadFull(r.in, block); err != nil {
		damaged("is cut off")
		return
	}
	if crc32.Update(crc32.Checksum(head[:8], castagnoli), castagnoli, block) != sum {
		damaged("does not have its checksum")
		return
	}
	if r.block, r.index = block, r.index+1; length > 0 {
		return
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		damaged("is not the last one")
		return
	}
	r.err = io.EOF
}

// Close ends the reading.
func (r *snapshotReader) Close() error { return r.file.Close() }

func isNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// syncDirectory makes the names in a directory durable.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(directory.Sync(), directory.Close())
}
