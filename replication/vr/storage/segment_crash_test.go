package storage

import (
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// mortalFiles are real files that know what a power cut would leave of them: of each sector that was written and not
// synced the old bytes, the new ones or rubbish, of a file's length anything between, of a name that was made or removed
// either. After a failed Sync what should have been synced never will be, though it can be read until the power is cut.
type mortalFiles struct {
	t      *testing.T
	random *rand.Rand
	disk   map[string][]byte // what is durable, by name
	made   map[string]bool   // names that no Sync of the directory has followed
	gone   map[string][]byte // the same of removed ones, with their bytes
	dirty  map[string]bool
	lost   map[string]bool // a Sync of them has failed
	failIn int             // the how-manieth call from now fails; 0: none
	err    error           // with what
	after  func()          // is called after each call
	calls  int
}

func newMortalFiles(t *testing.T, random *rand.Rand) *mortalFiles {
	return &mortalFiles{
		t: t, random: random, disk: map[string][]byte{}, made: map[string]bool{}, gone: map[string][]byte{}, dirty: map[string]bool{}, lost: map[string]bool{}, after: func() {},
	}
}

// call counts one, and says whether it fails.
func (m *mortalFiles) call() error {
	m.calls++
	if m.failIn--; m.failIn == 0 {
		return m.err
	}
	return nil
}

func (m *mortalFiles) create(path string) (file, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	name := filepath.Base(path)
	m.made[name], m.disk[name] = true, nil
	delete(m.lost, name) // another file
	defer m.after()
	return m.mortal(osFiles{}.create(path))
}

func (m *mortalFiles) open(path string) (file, error) {
	if err := m.call(); err != nil {
		return nil, err
	}
	return m.mortal(osFiles{}.open(path))
}

func (m *mortalFiles) mortal(real file, err error) (file, error) {
	if err != nil {
		return nil, err
	}
	return &mortalFile{file: real, all: m, name: filepath.Base(real.(dataFile).Name())}, nil
}

func (m *mortalFiles) remove(path string) error {
	if err := m.call(); err != nil {
		return err
	}
	defer m.after()
	name := filepath.Base(path)
	m.gone[name] = m.disk[name]
	delete(m.disk, name)
	delete(m.made, name)
	return osFiles{}.remove(path)
}

func (m *mortalFiles) truncate(path string, size int64) error {
	if err := m.call(); err != nil {
		return err
	}
	defer m.after()
	m.dirty[filepath.Base(path)] = true
	return osFiles{}.truncate(path, size)
}

func (m *mortalFiles) syncDirectory(path string) error {
	if err := m.call(); err != nil {
		return err
	}
	defer m.after()
	m.made, m.gone = map[string]bool{}, map[string][]byte{}
	return osFiles{}.syncDirectory(path)
}

type mortalFile struct {
	file
	all  *mortalFiles
	name string
}

func (f *mortalFile) WriteAt(data []byte, at int64) (int, error) {
	if err := f.all.call(); err != nil {
		n := f.all.random.IntN(len(data))
		_, _ = f.file.WriteAt(data[:n], at)
		f.all.dirty[f.name] = true
		return n, err
	}
	defer f.all.after()
	f.all.dirty[f.name] = true
	return f.file.WriteAt(data, at)
}

func (f *mortalFile) Sync() error {
	if err := f.all.call(); err != nil {
		f.all.lost[f.name] = true
		return err
	}
	defer f.all.after()
	require.False(f.all.t, f.all.lost[f.name], "what was not synced when it should have been is never synced")
	if f.all.dirty[f.name] {
		data, err := os.ReadFile(f.file.(dataFile).Name())
		require.NoError(f.all.t, err)
		f.all.disk[f.name] = data
		delete(f.all.dirty, f.name)
	}
	return nil
}

// powerCut is a directory as a power cut at this moment leaves it.
func (m *mortalFiles) powerCut(directory string) string {
	cut := fastDirectory(m.t)
	written := readFiles(m.t, directory)
	for _, name := range slices.Sorted(maps.Keys(written)) {
		data := written[name]
		if _, is := segmentID(name); is {
			if m.made[name] && m.random.IntN(3) == 0 {
				continue
			}
			data = string(m.torn(m.disk[name], []byte(data)))
		}
		require.NoError(m.t, os.WriteFile(filepath.Join(cut, name), []byte(data), 0o600))
	}
	for _, name := range slices.Sorted(maps.Keys(m.gone)) {
		if m.random.IntN(2) == 0 {
			require.NoError(m.t, os.WriteFile(filepath.Join(cut, name), m.gone[name], 0o600))
		}
	}
	return cut
}

// torn is what is left of a file on the way from old to new.
func (m *mortalFiles) torn(old, new []byte) []byte {
	if slices.Equal(old, new) {
		return new
	}
	length := len(old) + m.random.IntN(max(len(new)-len(old), 0)+1)
	if len(new) < len(old) {
		length = []int{len(old), len(new)}[m.random.IntN(2)]
	}
	left, mood := make([]byte, length), m.random.IntN(4)
	copy(left, old)
	for at := 0; at < length; at += sectorBytes {
		end := min(at+sectorBytes, length)
		is, was := new[min(at, len(new)):min(end, len(new))], old[min(at, len(old)):min(end, len(old))]
		if slices.Equal(is, was) {
			continue
		}
		switch pick := m.random.IntN(3); {
		case mood == 0 || mood == 1 && pick < 2:
			copy(left[at:end], is)
		case mood == 2 && pick == 0:
			for i := at; i < end; i++ {
				left[i] = byte(m.random.Uint32())
			}
		}
	}
	return left
}

// TestEveryCrashOfTheWAL cuts the power, in the model above, after every single call to the files, under random batches
// with new views, cuts and removals, with segments of a few batches. What is found is always all that was acknowledged,
// and of the batch on its way everything or nothing. Now and then the replica goes on from what was found, and now and then
// a call fails: then it goes on after a restart without a power cut, and what that Load returns outlives the next one.
func TestEveryCrashOfTheWAL(t *testing.T) {
	seeds := uint64(1)
	if *sweepAll {
		seeds = 40
	}
	var all crashCounts
	for seed := range seeds {
		run := &crashRun{t: t, random: rand.New(rand.NewPCG(seed, 99)), counts: &all}
		run.run(120)
	}
	t.Logf("%+v", all)
	require.Greater(t, all.Cuts, 300*int(seeds))
	require.Greater(t, all.InFlight, 20*int(seeds), "the batch on its way was found")
	require.Greater(t, all.Before, 100*int(seeds), "it was not found")
	require.Greater(t, all.Torn, 10*int(seeds))
	require.Greater(t, all.Restarts, 5*int(seeds))
	require.Greater(t, all.Failures, 3*int(seeds))
	require.Greater(t, all.Unproven, int(seeds)/2, "a last batch had to be written again")
}

type crashCounts struct{ Cuts, InFlight, Before, Torn, Restarts, Failures, Unproven int }

type crashRun struct {
	t         *testing.T
	random    *rand.Rand
	counts    *crashCounts
	directory string
	files     *mortalFiles
	disk      *Disk
	twin      *Memory // what was acknowledged
	next      *Memory // with the batch on its way
	commit    core.OpNumber
}

func (r *crashRun) options(files files) Options {
	segments := small()
	segments.files, segments.bytes = files, 3<<10
	return Options{segments: segments}
}

// open starts the replica in a directory whose files are all durable.
func (r *crashRun) open(directory string) {
	r.directory, r.files = directory, newMortalFiles(r.t, r.random)
	for name, data := range readFiles(r.t, directory) {
		r.files.disk[name] = []byte(data)
	}
	r.reopen()
}

func (r *crashRun) reopen() {
	disk, err := openDisk(r.directory, r.options(r.files))
	require.NoError(r.t, err)
	r.disk = disk
	r.files.after = func() { r.cut() }
	got := loaded(r.t, disk)
	r.adopt(got)
}

// cut looks at what a power cut leaves here.
func (r *crashRun) cut() vr.Loaded {
	directory := r.files.powerCut(r.directory)
	disk, err := openDisk(directory, r.options(osFiles{}))
	require.NoError(r.t, err)
	got, err := disk.Load()
	require.NoError(r.t, err)
	if disk.log.(*segmentLog).tail == nil {
		r.counts.Torn++
	}
	require.NoError(r.t, disk.Close())
	require.NoError(r.t, os.RemoveAll(directory))
	r.counts.Cuts++
	r.check(got)
	return got
}

// check: everything that was acknowledged, or with it the batch on its way.
func (r *crashRun) check(got vr.Loaded) {
	if same(r.twin, got) {
		r.counts.Before++
		return
	}
	require.NotNil(r.t, r.next, "nothing was on its way")
	require.True(r.t, same(r.next, got), "neither what was acknowledged nor with the batch on its way")
	r.counts.InFlight++
}

func same(twin *Memory, got vr.Loaded) bool {
	held := twin.held()
	return held.hardState == got.HardState && sameSuffix(held.entries, got.Entries)
}

// adopt makes what was found what is acknowledged from now on.
func (r *crashRun) adopt(got vr.Loaded) {
	r.check(got)
	if !same(r.twin, got) {
		r.twin = r.next
	}
	r.next = nil
	r.commit = got.HardState.Commit
}

func (r *crashRun) run(steps int) {
	r.twin = NewMemory()
	directory := fastDirectory(r.t)
	require.NoError(r.t, CreateLog(directory, LogWAL))
	r.open(directory)
	for step := 1; step <= steps; step++ {
		batch := randomBatch(r.random, r.twin, step, &r.commit)
		batch.Sync = true
		if batch.TruncateBelow > 0 {
			meta := core.CheckpointMeta{Op: r.commit, Hash: hashAt(r.twin, r.commit)}
			writeCheckpoint(r.t, r.disk, meta, nil)
			writeCheckpoint(r.t, r.twin, meta, nil)
		}
		held := r.twin.held()
		r.next = &Memory{current: held, durable: held}
		require.NoError(r.t, r.next.Write(batch))
		if r.random.IntN(6) == 0 {
			r.files.failIn, r.files.err = 1+r.random.IntN(4), []error{syscall.EIO, syscall.ENOSPC}[r.random.IntN(2)]
		}
		err := r.disk.Write(batch)
		r.files.failIn = 0
		if err == nil {
			r.twin, r.next = r.next, nil
			r.cut()
		}
		switch {
		case err != nil:
			r.fail(err)
		case r.random.IntN(12) == 0:
			r.counts.Restarts++
			r.files.after = func() {}
			cut := r.files.powerCut(r.directory)
			require.NoError(r.t, r.disk.Close())
			r.open(cut)
		case r.random.IntN(8) == 0:
			r.disk.log.(*segmentLog).mu.Lock()
			require.NoError(r.t, r.disk.log.(*segmentLog).mark())
			r.disk.log.(*segmentLog).mu.Unlock()
		}
	}
	r.files.after = func() {}
	require.NoError(r.t, r.disk.Close())
}

// fail restarts the process after a failed call: files are as they were written, and not durable.
func (r *crashRun) fail(err error) {
	require.True(r.t, errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ENOSPC), "%v", err)
	require.ErrorIs(r.t, r.disk.Write(vr.Batch{Sync: true}), ErrFailed, "it is final")
	syncs := r.disk.Syncs()
	markNow(r.t, r.disk)
	require.Equal(r.t, syncs, r.disk.Syncs(), "for the mark too")
	require.NoError(r.t, r.disk.Close())
	r.counts.Failures++
	r.cut()
	if len(r.files.dirty) > 0 {
		r.counts.Unproven++
	}
	r.reopen()
	r.cut()
}
