package commit

import "github.com/viewline/viewline/txn"

// vote is what is known of one participant about the current attempt.
type vote uint8

const (
	undecided vote = iota
	prepared
	committed
	dead // it never will have the attempt prepared
	forgotten
)

// copyState is what is known of one copy of a PrepareTxn or CommitOnePhase.
type copyState uint8

const (
	onItsWay copyState = iota
	lost               // it may have had an effect, or still have one
	harmless           // it had no effect and will have none
)

type sentCopy struct {
	number uint32
	state  copyState
}

// member is one participant in the current attempt.
type member struct {
	vote vote
	// verdict is the last one that said something: why it is dead, or why it refused.
	verdict txn.Verdict
	copies  []sentCopy
	// mustFence: no other way is left to find out. It stays set until the vote is known.
	mustFence bool
	// fencing: a fence, or the timer before the next one, is outstanding.
	fencing    bool
	fenceTries int
	hopeless   bool
	wrongShard bool
}

// mark notes what became of a copy. A copy that is known to be harmless stays so.
func (p *member) mark(number uint32, state copyState) {
	for i := range p.copies {
		if p.copies[i].number == number && p.copies[i].state != harmless {
			p.copies[i].state = state
		}
	}
}

// allHarmless reports whether no copy had or can have an effect.
func (p *member) allHarmless() bool {
	for _, sent := range p.copies {
		if sent.state != harmless {
			return false
		}
	}
	return true
}

func (p *member) onItsWay() bool {
	for _, sent := range p.copies {
		if sent.state == onItsWay {
			return true
		}
	}
	return false
}

// mayHold reports whether the participant may have the attempt on its line, or take it in later.
func (p *member) mayHold() bool {
	return p.vote == prepared || p.vote != dead && !p.allHarmless()
}

// retimeable reports whether a new timestamp is all that the participant asks for. An attempt that was fenced
// (by this clerk after a lost copy, or by a terminator to which it was too slow) may be tried again as it is.
func (p *member) retimeable() bool {
	reason := p.verdict.Reason
	return reason.Retimeable() || reason == txn.Fenced || reason == txn.ReasonNone
}
