package raft

import (
	hraft "github.com/hashicorp/raft"

	"github.com/viewline/viewline/replication"
)

// ReadBarrier implements replication.Replicator. What was acknowledged in this view was applied here before that; what
// was before it is, since the view's barrier (beginLeading). So it waits for a majority only (rounds).
func (r *Replica) ReadBarrier(view replication.ViewNumber, done func(error)) {
	if err := r.leads(view); err != nil {
		done(err)
		return
	}
	if err := r.rounds.add(view, done); err != nil {
		r.countRefusal(err)
		done(err)
		return
	}
	// It may have stopped leading before that, and nobody would come back to this read.
	if err := r.leads(view); err != nil {
		r.endReads(r.rounds.take(view+1), err)
		return
	}
	select {
	case r.asking <- struct{}{}:
	default: // somebody has asked already, and nobody was asked yet
	}
}

// ask has the library ask all the others at once, for all who wait, and again for those who came meanwhile.
func (r *Replica) ask() {
	for {
		select {
		case <-r.asking:
			r.answerReads() // alone, there is nobody to ask
			if r.rounds.isWaiting() {
				_ = r.raft.VerifyLeader().Error() // what it says does not count (rounds)
				r.answerReads()
			}
		case <-r.heard:
			r.answerReads()
		case <-r.stopping:
			return
		}
	}
}

// answerReads answers the reads that a majority stands behind. The term is looked at afterwards: what it is now it was
// then, since terms only rise and it was at least that when the read was taken.
func (r *Replica) answerReads() {
	reads := r.rounds.verified(voters(r.raft.GetConfiguration().Configuration()), r.options.self().server())
	if len(reads) == 0 {
		return
	}
	term, leader := replication.ViewNumber(r.raft.CurrentTerm()), r.raft.State() == hraft.Leader
	for _, read := range reads {
		if leader && read.view == term && r.machine.brokenBy() == nil {
			r.counters.readsByRound.Add(1)
			read.done(nil)
		} else {
			read.done(r.leadsNoMore(read.view))
		}
	}
}

// leadsNoMore is why a read of a view that was led is not answered.
func (r *Replica) leadsNoMore(view replication.ViewNumber) error {
	if err := r.ended(); err != nil {
		return err
	}
	if replication.ViewNumber(r.leading.Load()) != view {
		return r.notPrimary()
	}
	return &replication.NotPrimaryError{View: replication.ViewNumber(r.raft.CurrentTerm())}
}

func (r *Replica) endReads(reads []waitingRead, err error) {
	for _, read := range reads {
		read.done(err)
	}
}
