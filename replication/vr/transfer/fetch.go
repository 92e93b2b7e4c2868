package transfer

import (
	"fmt"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/replication/vr/core"
)

// AttemptsMax is how often a checkpoint of which a part is here is asked for in vain, one time after the other, before
// another member is asked for what it has.
const AttemptsMax = 3

// Fetch is a checkpoint of another replica on its way to this one: whom to ask, and for what.
type Fetch struct {
	want    core.FetchCheckpoint
	others  []core.ReplicaID // who may have the same one
	omitted omit.Set

	from   core.ReplicaID // who is asked
	asked  int            // how many of the others were looked at for one that goes on with what is here
	failed int            // attempts one after the other in which nothing came
	// identity is that of the checkpoint of which a part is here; part: there is one.
	identity Identity
	part     bool
	// bytes is how long its state is, by whoever is asked.
	bytes uint64
}

// NewFetch begins a fetch. The others are asked, in their order, when the one that was named has lost what it began to give.
func NewFetch(want core.FetchCheckpoint, others []core.ReplicaID, omitted omit.Set) *Fetch {
	return &Fetch{want: want, others: others, omitted: omitted, from: want.From}
}

// Request is a question for a checkpoint.
type Request struct {
	To core.ReplicaID
	// Resume: the checkpoint Identity is wanted and no other. Otherwise it is the newest, of at least AtLeast.
	Resume   bool
	Identity Identity
	AtLeast  core.OpNumber
}

// Request is what to ask now, and whom.
func (f *Fetch) Request() Request {
	return Request{To: f.from, Resume: f.part, Identity: f.identity, AtLeast: f.want.Meta.Op}
}

// From is who is asked.
func (f *Fetch) From() core.ReplicaID { return f.from }

// Identity is that of the checkpoint which comes; false: it is not known yet.
func (f *Fetch) Identity() (Identity, bool) { return f.identity, f.part }

// GoOn takes up what an earlier fetch has left, in an earlier life too, and reports whether that is of any use: it has to be
// above what is applied.
func (f *Fetch) GoOn(left Identity, applied core.OpNumber) bool {
	if left.Meta.Op <= applied {
		return false
	}
	f.identity, f.part = left, true
	return true
}

// Agree looks at which checkpoint comes, of so many bytes: the one of which a part is here, or one that this replica can
// use. begins: nothing is here of it yet. An error is for the one that was asked.
func (f *Fetch) Agree(found Identity, bytes uint64) (begins bool, err error) {
	f.bytes = bytes
	switch meta, want := found.Meta, f.want.Meta; {
	case f.part && found != f.identity && !f.omitted.Has(RuleSameCheckpoint):
		return false, fmt.Errorf("vr: checkpoint %+v came, %+v was to be gone on with", found, f.identity)
	case f.part:
		return false, nil
	case meta.Op < want.Op || meta.Op == want.Op && meta != want:
		return false, fmt.Errorf("vr: checkpoint %+v came, %+v was wanted", meta, want)
	}
	f.identity, f.part = found, true
	return true, nil
}

// More refuses another chunk where so many bytes are all of the checkpoint.
func (f *Fetch) More(here uint64) error {
	if here >= f.bytes {
		return fmt.Errorf("%w: it goes on after its %d bytes", ErrChunk, f.bytes)
	}
	return nil
}

// End refuses the end where so many bytes are not all of it.
func (f *Fetch) End(here uint64) error {
	if here != f.bytes {
		return fmt.Errorf("%w: %d bytes came, it has %d", ErrChunk, here, f.bytes)
	}
	return nil
}

// Next is what follows an attempt that has failed.
type Next uint8

const (
	// NextGiveUp means that the fetch is over; what is here stays for the next one.
	NextGiveUp Next = iota
	// NextAgain means that after a pause the same one is asked.
	NextAgain
	// NextElsewhere means that another one is asked at once, who may have the same checkpoint.
	NextElsewhere
	// NextAnew means that nobody has it: what is here is dropped, and the one who was named is asked at once for what it has.
	NextAnew
)

// Missed says what follows an attempt that has failed, after which there were so many chunks here, and before it so many.
// gone: who was asked has not, or no longer, the checkpoint of which a part is here.
func (f *Fetch) Missed(gone bool, before, chunks uint64) Next {
	got := chunks > before
	switch {
	case f.part && (gone || f.from != f.want.From && !got):
		return f.elsewhere()
	case got:
		f.failed = 0
	default:
		f.failed++
	}
	if chunks == 0 || f.failed == AttemptsMax {
		return NextGiveUp
	}
	return NextAgain
}

// elsewhere goes on to the next who may have the checkpoint of which a part is here.
func (f *Fetch) elsewhere() Next {
	for f.asked < len(f.others) {
		other := f.others[f.asked]
		if f.asked++; other != f.want.From {
			f.from = other
			return NextElsewhere
		}
	}
	f.from, f.part, f.identity = f.want.From, false, Identity{}
	return NextAnew
}
