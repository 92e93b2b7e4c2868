package node

import (
	"sync/atomic"

	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// kind divides answers by what can be done with one for which there is no room.
type kind uint8

const (
	// values can be large, and be asked for again: a refusal goes in their place.
	values kind = iota
	// verdicts stands for all others: refusals themselves, and what may have had an effect. Without room for one
	// the session ends, so values may not take theirs.
	verdicts
	kinds
)

func kindOf(response *pb.Response) kind {
	switch response.GetBody().(type) {
	case *pb.Response_Read, *pb.Response_Snapshot:
		return values
	default:
		return verdicts
	}
}

const (
	// verdictBytes is how much of what one session may hold is kept free for each answer that is not values.
	verdictBytes = 1 << 10
	// sureBytes is what every session may hold of each kind, whatever the others do.
	sureBytes = 64 << 10
	// shares: what a session holds may be one part in so many of what is free.
	shares = 8
)

// newBudgets divides a node's bytes between the kinds.
func newBudgets(total int) *[kinds]budget {
	b := &[kinds]budget{}
	for k := range b {
		b[k].max = int64(total / int(kinds))
	}
	return b
}

// budget bounds the bytes of all answers of a kind that wait for clients to take them.
//
// What one session holds, beyond what is sure, may not exceed a part of what is free (the dynamic threshold of
// Choudhury and Hahne, "Dynamic queue length thresholds in a shared memory ATM switch", 1996): a few that take
// nothing get much less than all, and leave room for those who do.
type budget struct {
	max  int64
	used atomic.Int64 // Invariant: at most max, and sureBytes for each session.
}

// take reports whether a session that holds so many bytes may hold so many more, and counts them if it may.
func (b *budget) take(held, more int) bool {
	for {
		used := b.used.Load()
		if held+more > sureBytes && shares*int64(held+more) > b.max-used-int64(more) {
			return false
		}
		if b.used.CompareAndSwap(used, used+int64(more)) {
			return true
		}
	}
}

// give takes bytes off that do not wait any more.
func (b *budget) give(bytes int) { b.used.Add(-int64(bytes)) }
