package raft

import (
	"encoding/binary"
	"fmt"
)

// The names under which hashicorp/raft keeps its promises in its stable store: its term, and the term and candidate of its last
// vote, which are one promise and are kept in one write under the last of these: the term in 8 bytes, little-endian, and the
// candidate. The library asks for them one after the other; a vote of which it keeps only the term it has not given.
const (
	keyCurrentTerm   = "CurrentTerm"
	keyLastVoteTerm  = "LastVoteTerm"
	keyLastCandidate = "LastVoteCand"
)

// Set keeps a vote: its candidate, of the term that came before.
func (g *guard) Set(key, value []byte) error {
	if string(key) == keyLastCandidate {
		value = append(binary.LittleEndian.AppendUint64(nil, g.voteTerm.Load()), value...)
	}
	return g.keep(func() error { return g.stores.stable.Set(key, value) })
}

// SetUint64 keeps the term, or remembers that of a vote until its candidate comes. That the term cannot be kept the library
// must not hear.
func (g *guard) SetUint64(key []byte, value uint64) error {
	if string(key) == keyLastVoteTerm {
		g.voteTerm.Store(value)
		return nil
	}
	err := g.keep(func() error { return g.stores.stable.SetUint64(key, value) })
	if string(key) == keyCurrentTerm {
		g.counters.entersTerm(value)
		return nil
	}
	return err
}

func (g *guard) keep(write func() error) error {
	if g.halted.Load() {
		return errHalted
	}
	g.stores.countWrite(true)
	if err := protect(write); err != nil {
		return g.failed("write term or vote", err)
	}
	return nil
}

// Get reads a vote's candidate.
func (g *guard) Get(key []byte) (value []byte, err error) {
	err = protect(func() (err error) { value, err = g.stores.stable.Get(key); return err })
	if err != nil || string(key) != keyLastCandidate {
		return value, err
	}
	_, candidate, err := decodeVote(value)
	return candidate, err
}

// GetUint64 reads the term, or that of a vote.
func (g *guard) GetUint64(key []byte) (value uint64, err error) {
	if string(key) != keyLastVoteTerm {
		err = protect(func() (err error) { value, err = g.stores.stable.GetUint64(key); return err })
		return value, err
	}
	var vote []byte
	if err = protect(func() (err error) { vote, err = g.stores.stable.Get([]byte(keyLastCandidate)); return err }); err != nil {
		return 0, err
	}
	value, _, err = decodeVote(vote)
	return value, err
}

func decodeVote(vote []byte) (term uint64, candidate []byte, err error) {
	if len(vote) < 8 {
		return 0, nil, fmt.Errorf("%w: a vote of %d bytes", ErrDamaged, len(vote))
	}
	return binary.LittleEndian.Uint64(vote), vote[8:], nil
}
