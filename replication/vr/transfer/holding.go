package transfer

import (
	"errors"
	"fmt"
	"slices"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// HeldMax is how many different checkpoints others may fetch from one replica at one time.
const HeldMax = 2

// Why a checkpoint is not given.
var (
	// ErrBusy: others fetch HeldMax other ones.
	ErrBusy = errors.New("vr: other checkpoints are being fetched here")
	// ErrGone: the one that was to be gone on with is not here, or no longer.
	ErrGone = errors.New("vr: that checkpoint is not here any more")
	// ErrTooOld: the newest one is not new enough.
	ErrTooOld = errors.New("vr: no checkpoint as new as that")
)

// Holding is which checkpoints a replica holds for others. One that they have begun with stays for them when a newer one
// takes its place: a transfer would never end otherwise that takes longer than the group takes for a checkpoint.
type Holding struct {
	behindMax int
	omitted   omit.Set
	held      []holding // the oldest first
	last      uint64
	closed    bool
}

// holding is one of them. It has a number of its own: after it was dropped, one with the same identity may come.
type holding struct {
	number   uint64
	identity Identity
	readers  int
	behind   int // newer checkpoints
}

// NewHolding holds nothing yet. A checkpoint is held for so many newer ones.
func NewHolding(behindMax int, omitted omit.Set) Holding {
	return Holding{behindMax: behindMax, omitted: omitted}
}

// Resume counts a reader more of the checkpoint that is wanted, if it is held, and returns its number; 0: it is not held.
func (h *Holding) Resume(wanted Identity) (number uint64) {
	for i := range h.held {
		if h.held[i].identity == wanted {
			h.held[i].readers++
			return h.held[i].number
		}
	}
	return 0
}

// Answers reports whether the newest checkpoint answers a request for which none is held: nil, ErrGone or ErrTooOld.
func (h *Holding) Answers(request *Request, newest *Identity) error {
	switch {
	case request.Resume && *newest != request.Identity && !h.omitted.Has(RuleSameCheckpoint):
		return ErrGone
	case !request.Resume && newest.Meta.Op < request.AtLeast:
		return fmt.Errorf("%w: %d was asked for", ErrTooOld, request.AtLeast)
	default:
		return nil
	}
}

// Add holds a checkpoint for a reader, and gives it a number. again: it was held already. A place is made by letting the
// oldest go that nobody reads: release is its number, 0: none had to go. The error is ErrBusy.
func (h *Holding) Add(identity Identity) (number, release uint64, again bool, err error) {
	if number = h.Resume(identity); number > 0 {
		return number, 0, true, nil
	}
	if len(h.held) == HeldMax {
		if at := slices.IndexFunc(h.held, func(one holding) bool { return one.readers == 0 }); at >= 0 {
			release = h.held[at].number
			h.held = slices.Delete(h.held, at, at+1)
		}
	}
	if h.closed || len(h.held) == HeldMax {
		return 0, release, false, ErrBusy
	}
	h.last++
	h.held = append(h.held, holding{number: h.last, identity: identity, readers: 1})
	return h.last, release, false, nil
}

// Leave counts a reader less, and reports whether it was the last: the checkpoint is let go when nobody comes for a while.
func (h *Holding) Leave(number uint64) (idle bool) {
	at := h.find(number)
	if at < 0 {
		return false
	}
	h.held[at].readers--
	return h.held[at].readers == 0
}

// Expire lets a checkpoint go if nobody reads it, and reports whether it does.
func (h *Holding) Expire(number uint64) bool {
	at := h.find(number)
	if at < 0 || h.held[at].readers > 0 {
		return false
	}
	h.held = slices.Delete(h.held, at, at+1)
	return true
}

// Drop lets a checkpoint go, whoever reads it: it is damaged, and the sound one that takes its place has the same identity.
func (h *Holding) Drop(number uint64) {
	if at := h.find(number); at >= 0 {
		h.held = slices.Delete(h.held, at, at+1)
	}
}

// Holds reports whether a checkpoint is still held.
func (h *Holding) Holds(number uint64) bool { return h.find(number) >= 0 }

func (h *Holding) find(number uint64) int {
	return slices.IndexFunc(h.held, func(one holding) bool { return one.number == number })
}

// Replaced counts a newer checkpoint. Those that are now too far behind are released, whoever reads them; least is the
// least op-number of the others, above which the log is kept for those who fetch them, 0: none is held.
func (h *Holding) Replaced(op core.OpNumber) (least core.OpNumber, released []uint64) {
	kept := h.held[:0]
	for _, one := range h.held {
		if one.identity.Meta.Op < op {
			one.behind++
		}
		if one.behind > h.behindMax {
			released = append(released, one.number)
			continue
		}
		if least == 0 || one.identity.Meta.Op < least {
			least = one.identity.Meta.Op
		}
		kept = append(kept, one)
	}
	h.held = kept
	if h.omitted.Has(RuleHeldLog) {
		least = 0
	}
	return least, released
}

// Count is how many checkpoints are held.
func (h *Holding) Count() int { return len(h.held) }

// Close lets everything go, and holds nothing any more.
func (h *Holding) Close() (released []uint64) {
	for i := range h.held {
		released = append(released, h.held[i].number)
	}
	h.held, h.closed = nil, true
	return released
}
