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
	// Durability is the one that it was last written in.
	Durability Durability
	// Remains is what a force goes by; Replica and Incarnation are the caller's to fill in.
	Remains force.Remains
	// View is the one by which this log is chosen, in the epoch that it is of (force.Remains).
	View core.ViewNumber
	// Epoch is the one that its promises are of.
	Epoch  uint64
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
	e := Examination{Durability: d.mark.durability, Damage: loaded.Damage, Forced: loaded.Forced}
	r := &e.Remains
	r.Whole, r.HardState = loaded.Clean && len(loaded.Damage) == 0, loaded.HardState
	r.SetLog(loaded.Checkpoint, loaded.Entries)
	r.Known = max(d.log.extent().last, loaded.HardState.Commit, r.Op)
	for _, damage := range loaded.Damage {
		r.Known = max(r.Known, damage.Last)
	}
	e.View = r.LogView(0)
	if promised, err := r.HardState.Membership.Decode(); err == nil {
		e.Epoch = uint64(promised.Epoch)
	}
	return e
}

// Force does to a directory what a force has planned. A replica that starts does so as if nothing were missing: the rest of
// its log goes, and it begins in the view change to a view that nobody was in. Its log takes part in the choice with the view
// that it is of: a log that was cut short must not win by a view whose operations it has lost. It is written down first, so
// that whatever happens the replica tells of it. What other replicas acknowledged may be lost: this is an operator's act. One
// that does not start is to recover from the group, and no longer knows of operations that the group has lost: a
// commit-number above them would contradict it.
func Force(directory string, plan force.Mark, at time.Time, note string) (err error) {
	disk, loaded, err := openToForce(directory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	state := plan.HardState
	if !plan.Starts {
		return disk.write(&change{
			batch: vr.Batch{HardState: &state, Sync: true}, checkpoint: disk.newest(), mark: disk.mark, settle: len(loaded.Damage) == 0,
		})
	}
	if state.View <= loaded.HardState.View {
		return fmt.Errorf("storage: force into view %d of a replica that has promised view %d", state.View, loaded.HardState.View)
	}
	if plan.Nothing {
		loaded = vr.Loaded{Forced: loaded.Forced}
		disk.begin()
	}
	line := fmt.Sprintf("%s into view %d with operation %d of view %d: %s", at.UTC().Format(time.RFC3339), state.View, lastOf(&loaded), state.LastNormalView, note)
	if err := appendForced(directory, loaded.Forced, line); err != nil {
		return err
	}
	c := change{batch: vr.Batch{HardState: &state, Sync: true}, checkpoint: disk.newest(), mark: mark{durability: disk.mark.durability, life: lifeClean}}
	if c.settle = len(loaded.Damage) == 0 && !plan.Nothing; c.settle {
		return disk.write(&c)
	}
	base := loaded.Checkpoint
	if len(loaded.Entries) > 0 {
		base = core.CheckpointMeta{Op: disk.log.extent().base, Hash: disk.log.extent().baseHash}
	}
	c.batch.Replace, c.batch.Entries = &base, loaded.Entries
	return disk.replace(&c)
}

// begin has the directory know of no checkpoint, as if there had never been one.
func (d *Disk) begin() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.checkpoint = core.CheckpointMeta{}
}

// lastOf is the last operation of what was loaded.
func lastOf(loaded *vr.Loaded) core.OpNumber {
	if last := len(loaded.Entries) - 1; last >= 0 && loaded.Entries[last].Op > loaded.Checkpoint.Op {
		return loaded.Entries[last].Op
	}
	return loaded.Checkpoint.Op
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
