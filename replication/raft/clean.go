package raft

import (
	"errors"
	"fmt"
	"io"

	hraft "github.com/hashicorp/raft"
)

// cleanBatch is how many entries are written or read at a time when a replica in memory ends or begins.
const cleanBatch = 512

// saveClean writes everything that a replica in memory has, when it ends and lacks nothing.
func (s *Storage) saveClean() error {
	if s.mark.durability != DurabilityMemory || s.lost || s.mark.life == lifeJoining {
		return nil
	}
	disk := &fileKeeper{directory: s.directory, storage: s}
	if err := errors.Join(s.clearDisk(disk), s.saveSnapshot(disk), s.saveLog()); err != nil {
		return fmt.Errorf("raft: clean end: %w", err)
	}
	return s.setLife(lifeClean)
}

// clearDisk removes what an earlier end has written.
func (s *Storage) clearDisk(disk *fileKeeper) error {
	last, err := s.bolt.LastIndex()
	if err == nil && last > 0 {
		err = s.bolt.DeleteRange(0, last)
	}
	whole, parts, err2 := disk.names()
	return errors.Join(err, err2, disk.remove(append(whole, parts...), ""))
}

func (s *Storage) saveSnapshot(disk *fileKeeper) (err error) {
	meta := s.snapshots.newest
	if meta == nil {
		return nil
	}
	state, err := s.snapshots.keeper.open(*meta)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, state.Close()) }()
	d, err := disk.create(*meta)
	if err != nil {
		return err
	}
	if _, err := io.Copy(d, state); err != nil {
		d.drop()
		return err
	}
	return d.commit()
}

func (s *Storage) saveLog() error {
	first, last, err := bounds(s.logs)
	if err != nil || last == 0 {
		return err
	}
	for from := first; from <= last; from += cleanBatch {
		batch, err := readBatch(s.logs, from, last)
		if err != nil {
			return err
		}
		for i, log := range batch {
			batch[i] = seal(log)
		}
		if err := s.bolt.StoreLogs(batch); err != nil {
			return err
		}
		s.countWrite(true)
	}
	return nil
}

// loadClean reads what saveClean wrote, and verifies it.
func (s *Storage) loadClean(disk *fileKeeper) error {
	if meta := s.snapshots.newest; meta != nil {
		state, err := disk.open(*meta)
		if err != nil {
			return err
		}
		d, err := s.snapshots.keeper.create(*meta)
		if err == nil {
			_, err = io.Copy(d, state)
		}
		if err = errors.Join(err, state.Close()); err != nil {
			return err
		}
		if err := d.commit(); err != nil {
			return err
		}
	}
	first, last, err := bounds(s.bolt)
	if err != nil || last == 0 {
		return err
	}
	for from := first; from <= last; from += cleanBatch {
		batch, err := readBatch(s.bolt, from, last)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		for i, log := range batch {
			if !unseal(from+uint64(i), log) {
				return fmt.Errorf("%w: entry %d of the log does not have its checksum", ErrDamaged, from+uint64(i))
			}
		}
		if err := s.logs.StoreLogs(batch); err != nil {
			return err
		}
	}
	return nil
}

func bounds(logs hraft.LogStore) (first, last uint64, err error) {
	if first, err = logs.FirstIndex(); err != nil {
		return 0, 0, err
	}
	last, err = logs.LastIndex()
	return first, last, err
}

func readBatch(logs hraft.LogStore, from, last uint64) ([]*hraft.Log, error) {
	var batch []*hraft.Log
	for index := from; index <= last && index < from+cleanBatch; index++ {
		log := new(hraft.Log)
		if err := logs.GetLog(index, log); err != nil {
			return nil, fmt.Errorf("entry %d: %w", index, err)
		}
		batch = append(batch, log)
	}
	return batch, nil
}
