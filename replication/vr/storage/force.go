package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
	"github.com/viewline/viewline/replication/vr/force"
)

// forcedName is the file that says when and how a replica was forced, a line each time.
const forcedName = "FORCED"

// Examination is what a directory holds, as an operator wants to know it before a group is forced.
type Examination struct {
	// Durability is the one that it was last written in. Whole: nothing that was acknowledged can be missing.
	Durability Durability
	Whole      bool
	HardState  core.HardState
	Checkpoint core.CheckpointMeta
	// Op is where what is sound ends, LastView the view in which that operation was proposed, and View the one by which this log
	// is chosen (force.Remains).
	Op             core.OpNumber
	LastView, View core.ViewNumber
	// Known is the last operation that is known to have been here, or to have been committed.
	Known  core.OpNumber
	Damage []vr.Damage
	Forced []string
}

// Examine reads everything in a directory that no process uses, and changes nothing. Its errors are those of Open and
// Load, but for a *DurabilityError.
func Examine(directory string) (e Examination, err error) {
	disk, loaded, err := openToForce(directory)
	if err != nil {
		return e, err
	}
	return disk.examine(&loaded), disk.Close()
}

func openToForce(directory string) (*Disk, vr.Loaded, error) {
	disk, err := openDisk(directory, Options{Durability: DurabilityMemory})
	if err != nil {
		return nil, vr.Loaded{}, err
	}
	loaded, err := disk.readAll()
	if err != nil {
		return nil, vr.Loaded{}, errors.Join(err, disk.Close())
	}
	return disk, loaded, nil
}

func (d *Disk) examine(loaded *vr.Loaded) Examination {
	e := Examination{
		Durability: d.mark.durability, Whole: loaded.Clean && len(loaded.Damage) == 0, HardState: loaded.HardState, Checkpoint: loaded.Checkpoint,
		Op: loaded.Checkpoint.Op, LastView: loaded.Checkpoint.View, Damage: loaded.Damage, Forced: loaded.Forced,
	}
	if last := len(loaded.Entries) - 1; last >= 0 && loaded.Entries[last].Op > e.Op {
		e.Op, e.LastView = loaded.Entries[last].Op, loaded.Entries[last].View
	}
	e.Known = max(d.log.extent().last, loaded.HardState.Commit, e.Op)
	for _, damage := range loaded.Damage {
		e.Known = max(e.Known, damage.Last)
	}
	remains := e.Remains(0)
	e.View = remains.LogView(0)
	return e
}

// Remains is what a force goes by.
func (e *Examination) Remains(replica uint32) force.Remains {
	return force.Remains{Replica: core.ReplicaID(replica), Whole: e.Whole, HardState: e.HardState, Op: e.Op, LastView: e.LastView, Known: e.Known}
}

// Force has a replica start from what its directory holds, as if nothing were missing: the rest of its log goes, and it
// begins in the view change to a view that nobody was in. Its log takes part in the choice with the view that it is of
// (Examination.View): a log that was cut short must not win by a view whose operations it has lost. It is written down
// first, so that whatever happens the replica tells of it. What other replicas acknowledged may be lost: this is an
// operator's act.
func Force(directory string, view uint64, at time.Time, note string) (err error) {
	disk, loaded, err := openToForce(directory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	e := disk.examine(&loaded)
	if core.ViewNumber(view) <= e.HardState.View {
		return fmt.Errorf("storage: force into view %d of a replica that has promised view %d", view, e.HardState.View)
	}
	line := fmt.Sprintf("%s into view %d with operation %d of view %d: %s", at.UTC().Format(time.RFC3339), view, e.Op, e.View, note)
	if err := appendForced(directory, loaded.Forced, line); err != nil {
		return err
	}
	remains := e.Remains(0)
	state := remains.Start(core.ViewNumber(view), 0)
	c := change{
		batch: vr.Batch{HardState: &state, Sync: true}, checkpoint: disk.newest(), mark: mark{durability: disk.mark.durability, life: lifeClean},
	}
	if c.settle = len(loaded.Damage) == 0; c.settle {
		return disk.write(&c)
	}
	base := loaded.Checkpoint
	if len(loaded.Entries) > 0 {
		base = core.CheckpointMeta{Op: disk.log.extent().base, Hash: disk.log.extent().baseHash}
	}
	c.batch.Replace, c.batch.Entries = &base, loaded.Entries
	return disk.replace(&c)
}

// Forget has a replica that is to recover from a group that was forced no longer know of operations above an op-number:
// a commit-number above it would contradict the group.
func Forget(directory string, above uint64) (err error) {
	disk, loaded, err := openToForce(directory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	remains := force.Remains{HardState: loaded.HardState}
	state := remains.Forget(core.OpNumber(above))
	if state == loaded.HardState {
		return nil
	}
	return disk.write(&change{
		batch: vr.Batch{HardState: &state, Sync: true}, checkpoint: disk.newest(), mark: disk.mark, settle: len(loaded.Damage) == 0,
	})
}

func readForced(directory string) ([]string, error) {
	data, err := os.ReadFile(filepath.Join(directory, forcedName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n"), nil
}

// appendForced adds a line, durably, whole or not at all.
func appendForced(directory string, lines []string, line string) error {
	path := filepath.Join(directory, forcedName)
	text := strings.Join(append(lines, strings.ReplaceAll(line, "\n", " ")), "\n") + "\n"
	file, err := os.OpenFile(path+temporaryName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	_, err = file.WriteString(text)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(path+temporaryName, path)
	}
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return syncDirectory(directory)
}
