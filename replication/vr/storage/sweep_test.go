package storage

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// sweepAll: go test ./replication/vr/storage -run TestSweep -v -timeout 0 -sweep.all
var sweepAll = flag.Bool("sweep.all", false, "flip every byte, and cut files at every length (some minutes)")

// sweep changes the files of one small directory and looks at what is made of them.
type sweep struct {
	t         *testing.T
	directory string
	want      everything
	files     map[string]string
	// Outcomes. Of those that are damaged the others can repair so many.
	exact, damaged, repairable int
}

// newSweep ends an async log cleanly, so that its mark says more than nothing.
func newSweep(t *testing.T, log Log) *sweep {
	t.Helper()
	s := &sweep{t: t, directory: fastDirectory(t)}
	require.NoError(t, CreateLog(s.directory, log))
	storage := openedIn(t, s.directory, DurabilityAsync)
	loaded(t, storage)
	scenario(t, storage, func() {})
	require.NoError(t, storage.MarkClean())
	require.NoError(t, storage.Close())
	s.files = readFiles(t, s.directory)
	if log == LogBolt {
		require.Len(t, s.files, 2)
	} else {
		require.Greater(t, len(s.files), 4, "several segments")
	}
	var err error
	s.want, err = s.read()
	require.NoError(t, err)
	require.True(t, s.want.loaded.Clean)
	require.NotEmpty(t, s.want.state)
	require.NotEmpty(t, s.want.loaded.Entries)
	s.restore()
	return s
}

// fastDirectory is in memory, where there is such a place: what is opened there is durable soon enough.
func fastDirectory(t *testing.T) string {
	t.Helper()
	directory, err := os.MkdirTemp("/dev/shm", "sweep") //nolint:usetesting // t.TempDir is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(directory)) })
	return directory
}

// read reads everything that the directory holds, what is said of it included.
func (s *sweep) read() (all everything, err error) {
	storage, err := Open(s.directory, Options{Durability: DurabilityAsync, segments: small()})
	if err != nil {
		return all, err
	}
	defer func() { err = errors.Join(err, storage.Close()) }()
	if all.loaded, err = storage.Load(); err != nil {
		return all, err
	}
	meta, body, err := storage.OpenCheckpoint()
	if err != nil {
		if errors.Is(err, vr.ErrNoCheckpoint) {
			err = nil
		}
		return all, err
	}
	state, err := io.ReadAll(body)
	all.meta, all.state = meta, string(state)
	return all, errors.Join(err, body.Close())
}

// restore writes those files that have changed as they were, and removes others.
func (s *sweep) restore() {
	found := readFiles(s.t, s.directory)
	for name := range found {
		if _, was := s.files[name]; !was {
			require.NoError(s.t, os.Remove(filepath.Join(s.directory, name)))
		}
	}
	for name, data := range s.files {
		if found[name] != data {
			require.NoError(s.t, os.WriteFile(filepath.Join(s.directory, name), []byte(data), 0o600))
		}
	}
}

// judge opens the directory with one file changed. There are three answers: everything as it was; damage that says which
// file it is in and what was found; or that, and what is left is a beginning of what was there.
func (s *sweep) judge(name, how string, at int) {
	all, err := s.read()
	if err == nil && len(all.loaded.Damage) > 0 {
		s.judgeRest(name, how, at, &all)
		err = all.loaded.Damage[0].Err
	}
	if err == nil {
		require.True(s.t, equalEverything(&s.want, &all), "a wrong answer: %s: %s %d", name, how, at)
		s.exact++
		s.restore() // Load has written to the log
		return
	}
	var damage *DamageError
	require.ErrorAs(s.t, err, &damage, "%s: %s %d", name, how, at)
	require.Equal(s.t, filepath.Join(s.directory, name), damage.File, "%s: %s %d", name, how, at)
	require.NotEmpty(s.t, damage.What)
	s.damaged++ // and nothing was written
}

// judgeRest looks at what is left beside damage that is repaired from others: nothing that was not there, and all of the
// promises.
func (s *sweep) judgeRest(name, how string, at int, all *everything) {
	s.repairable++
	got, want := &all.loaded, &s.want.loaded
	require.Equal(s.t, want.HardState, got.HardState, "%s: %s %d", name, how, at)
	require.False(s.t, got.Fresh)
	require.LessOrEqual(s.t, len(got.Entries), len(want.Entries))
	require.Equal(s.t, want.Entries[:len(got.Entries)], append([]core.Entry{}, got.Entries...), "%s: %s %d", name, how, at)
	if got.Checkpoint.Op > 0 {
		require.Equal(s.t, s.want.meta, all.meta)
		require.Equal(s.t, s.want.state, all.state)
	}
	for _, damage := range got.Damage {
		require.Equal(s.t, filepath.Join(s.directory, name), damage.File, "%s: %s %d", name, how, at)
		require.LessOrEqual(s.t, damage.First, damage.Last)
	}
}

func equalEverything(want, got *everything) bool {
	a, b := want.loaded, got.loaded
	if a.HardState != b.HardState || a.Checkpoint != b.Checkpoint || a.Fresh != b.Fresh || a.Clean != b.Clean ||
		len(a.Entries) != len(b.Entries) || want.meta != got.meta || want.state != got.state {
		return false
	}
	for i := range a.Entries {
		if a.Entries[i].Op != b.Entries[i].Op || a.Entries[i].View != b.Entries[i].View || a.Entries[i].Hash != b.Entries[i].Hash ||
			!bytes.Equal(a.Entries[i].Payload, b.Entries[i].Payload) {
			return false
		}
	}
	return true
}

// TestSweepFlips flips bits of every byte in turn: with one bit wrong anywhere, a directory is refused as damaged, or
// holds exactly what it held.
func TestSweepFlips(t *testing.T) { eachLog(t, testSweepFlips) }

func testSweepFlips(t *testing.T, log Log) {
	s, begun := newSweep(t, log), time.Now()
	for name, data := range s.files {
		path, before := filepath.Join(s.directory, name), *s
		live := livePages(t, path)
		for at := range data {
			for _, bit := range bitsToFlip(data, at, live) {
				flip(t, path, at, data[at]^bit)
				exact := s.exact
				s.judge(name, "flip of byte", at)
				if s.exact == exact {
					flip(t, path, at, data[at])
				}
				if live == nil {
					require.Equal(t, at >= written(name, data), s.exact > exact, "%s, byte %d: every byte that was written counts", name, at)
				}
			}
		}
		t.Logf("%s, %d bytes: %d flips are damage, %d of it repairable, %d harmless", name, len(data), s.damaged-before.damaged,
			s.repairable-before.repairable, s.exact-before.exact)
	}
	t.Logf("0 wrong answers in %d flips, %v", s.exact+s.damaged, time.Since(begun).Round(time.Second))
	least := 1000
	if testing.Short() {
		least = 100
	}
	require.Greater(t, s.damaged, 2*least)
	require.Greater(t, s.repairable, least)
	require.Greater(t, s.damaged, s.repairable)
	require.Greater(t, s.exact, least/10)
}

// written is how much of a file was written to: all of a checkpoint, and a segment up to the zeros ahead of its end.
func written(name, data string) int {
	if _, is := segmentID(name); !is {
		return len(data)
	}
	return roundUp(len(strings.TrimRight(data, "\x00")), sectorBytes)
}

// bitsToFlip chooses all bits of a page's head, and one of any other byte. Unless every byte is wanted, it chooses one of
// what follows a head, of every byte of a checkpoint and of the heads in a segment, of some bytes that hold something, and
// of few that belong to nothing.
func bitsToFlip(data string, at int, live map[uint64]bool) []byte {
	all, page := []byte{1, 2, 4, 8, 16, 32, 64, 128}, uint64(at/os.Getpagesize())
	nothing := len(bytes.Trim([]byte(data[max(at-16, 0):min(at+16, len(data))]), "\x00")) == 0
	stride := 1
	switch {
	case testing.Short() && at%7 != 0:
		return nil
	case live[page] && at%os.Getpagesize() < 16, *sweepAll && live[page] && at%os.Getpagesize() < 96:
		return all
	case *sweepAll, live[page] && at%os.Getpagesize() < 96:
	case live != nil && (nothing || !live[page]):
		stride = 199
	case live != nil:
		stride = 9
	case nothing:
		stride = 2003
	case len(data) >= 2*sectorBytes && !inHead(data, at):
		stride = 23
	}
	if at%stride != 0 {
		return nil
	}
	return all[at%8 : at%8+1]
}

// inHead: the byte is of a segment's header, or of a batch's.
func inHead(segment string, at int) bool {
	sector, salt := at/sectorBytes*sectorBytes, segment[20:28]
	return at < segmentHeaderBytes || segment[sector:sector+len(salt)] == salt && at-sector < batchHeaderBytes
}

// livePages returns the pages of a database that hold something; nil for another kind of file.
func livePages(t *testing.T, path string) map[uint64]bool {
	t.Helper()
	if filepath.Base(path) != databaseName {
		return nil
	}
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	s := structure{file: bytes.NewReader(data), bytes: int64(len(data)), seen: map[uint64]bool{0: true, 1: true}}
	require.NoError(t, s.readMetas())
	require.NoError(t, s.walk(s.meta.root, nil, nil, true))
	require.Greater(t, len(s.seen), 2)
	return s.seen
}

func flip(t *testing.T, path string, at int, to byte) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = file.WriteAt([]byte{to}, int64(at))
	require.NoError(t, err)
	require.NoError(t, file.Close())
}

// TestSweepCuts cuts each file at many lengths, as a short read does: it is damage, or nothing that counts was cut.
func TestSweepCuts(t *testing.T) { eachLog(t, testSweepCuts) }

func testSweepCuts(t *testing.T, log Log) {
	s, begun := newSweep(t, log), time.Now()
	for name, data := range s.files {
		path, before := filepath.Join(s.directory, name), *s
		step := 1 + len(data)/1000
		if live := livePages(t, path); *sweepAll {
			step = 1
		} else if live == nil {
			step = 1 + len(data)/50
		}
		if testing.Short() {
			step *= 3
		}
		for length := 0; length < len(data); length += step {
			require.NoError(t, os.WriteFile(path, []byte(data[:length]), 0o600))
			s.judge(name, "cut to", length)
		}
		s.restore()
		t.Logf("%s, %d bytes: %d cuts are damage, %d harmless", name, len(data), s.damaged-before.damaged, s.exact-before.exact)
	}
	t.Logf("0 wrong answers in %d cuts, %v", s.exact+s.damaged, time.Since(begun).Round(time.Second))
	require.Greater(t, s.damaged, 100)
	require.Greater(t, s.exact, 10, "the end of the file is not all used")
}
