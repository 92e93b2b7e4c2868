package transactions

import (
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/history"
)

// shard is one group: a log, and replicas that apply it.
type shard struct {
	number txn.ShardID
	log    []entry
	// committed is how much of the log some replica has applied; it never changes.
	committed int
	view      uint64
	primary   int // of the view
	replicas  []replica
	owned     bool // the log has its Own
	slots     []uint16
	rising    [4]txn.Timestamp // floor, threshold and horizons, as last seen
}

// entry is one operation of the log.
type entry struct {
	operation history.Operation
	message   int32 // the request that it answers, -1 if none
	replica   int   // which proposed it, and answers
	// incarnation is that of the replica; after a restart nobody remembers to answer.
	incarnation int
	lead        uint64
}

// replica is one member of a group with its own copy of the state.
type replica struct {
	state   *history.State
	front   *history.Front
	applied int
	// view is the one in which it was elected; 0 if never.
	view        uint64
	incarnation int
}

// objects are the keys of all histories; their slots are their places here.
var objects = [...]string{"a", "b", "c", "d", "e", "f"}

func slotOf(oid string) uint16 { return uint16(oid[0] - 'a') }

// shardOf returns the index of the shard that serves an object.
func (w *World) shardOf(object int) int { return object % len(w.shards) }

func (w *World) build() {
	p := &w.params
	w.issued = 10
	w.shards = make([]shard, p.Shards)
	for i := range w.shards {
		s := &w.shards[i]
		s.number = txn.ShardID(i + 1)
		s.replicas = make([]replica, p.Replicas)
		for r := range s.replicas {
			s.replicas[r] = w.newReplica(s.number)
		}
		for object := i; object < p.Objects; object += p.Shards {
			s.slots = append(s.slots, uint16(object))
		}
		if p.LateOwn == 0 || i == 0 {
			w.own(i)
		}
		s.view = 1
		s.log = append(s.log, entry{operation: history.Lead{Number: 1, View: 1, Floor: w.timestamp()}, message: -1})
		s.replicas[0].view = 1
		for r := range s.replicas {
			w.applyAll(i, r)
		}
	}
	w.jobs = make([]job, p.Jobs)
	w.pool = make([]event, 0, 64)
	w.messages = make([]message, 0, 64)
	w.actors = make([]actor, 0, 16)
}

func (w *World) newReplica(number txn.ShardID) replica {
	state, err := history.New(w.stateOptions(number))
	if err != nil {
		panic(err) // the model's own mistake
	}
	return replica{state: state, front: w.newFront(state)}
}

func (w *World) stateOptions(number txn.ShardID) history.Options {
	p := &w.params
	return history.Options{
		Shard: number, SlotOf: slotOf, ReadStampsMax: p.ReadStampsMax, DecisionsMax: p.DecisionsMax,
		PreparedMax: p.PreparedMax, AttemptSpan: p.AttemptSpan, Omit: p.History,
	}
}

func (w *World) newFront(state *history.State) *history.Front {
	p := &w.params
	front, err := history.NewFront(state, history.FrontOptions{
		InFlightMax: p.InFlightMax, SnapStampsMax: p.SnapStampsMax, Omit: p.History,
	})
	if err != nil {
		panic(err) // the model's own mistake
	}
	return front
}

func (w *World) own(i int) {
	s := &w.shards[i]
	s.owned = true
	s.log = append(s.log, entry{operation: history.Own{MapVersion: 1, Shard: s.number, Slots: s.slots}, message: -1})
}

func (w *World) ownLate() bool {
	for i := range w.shards {
		if !w.shards[i].owned {
			w.own(i)
			return true
		}
	}
	return false
}

// applySomewhere lets one replica apply its next entry; the primary more often than the others.
func (w *World) applySomewhere() bool {
	i := w.random.below(len(w.shards))
	s := &w.shards[i]
	r := w.random.below(len(s.replicas))
	if w.random.below(3) > 0 {
		r = s.primary
	}
	return w.apply(i, r)
}

func (w *World) applyAll(i, r int) {
	for w.apply(i, r) {
		continue
	}
}

// apply lets a replica apply its next entry, and answer if it was the one that proposed it.
func (w *World) apply(i, r int) bool {
	s := &w.shards[i]
	rep := &s.replicas[r]
	if rep.applied == len(s.log) {
		return false
	}
	e := s.log[rep.applied]
	rep.applied++
	result := rep.state.Apply(txn.OpNumber(rep.applied), e.operation)
	if w.trace != nil {
		w.tracef("%4d    shard %d replica %d applies %d: %s: %v %v effect %t", w.now, s.number, r, rep.applied, show(e.operation),
			result.Verdict.Status, result.Verdict.Reason, result.TookEffect)
	}
	if rep.applied > s.committed {
		s.committed = rep.applied
		w.onCommitted(i, e, result, rep.state)
	}
	if e.replica == r && e.incarnation == rep.incarnation {
		w.onOwnApplied(i, r, e, result)
	}
	w.release(i, r)
	return true
}

// onOwnApplied is what the replica that proposed an operation does when it has applied it.
func (w *World) onOwnApplied(i, r int, e entry, result history.Result) {
	rep := &w.shards[i].replicas[r]
	switch operation := e.operation.(type) {
	case history.Lead:
		w.onLeadApplied(i, r, operation, result)
	case history.PrepareTxn:
		rep.front.Leave(e.lead, operation.Txn.Attempt)
	case history.CommitOnePhase:
		rep.front.Leave(e.lead, operation.Txn.Attempt)
	}
	if e.message >= 0 {
		w.answerMessage(e.message, result.Verdict)
	}
}

// changeView makes one replica, or the same again, the primary of the next view. What nobody has applied may
// be lost in part.
func (w *World) changeView() bool {
	w.elect(w.random.below(len(w.shards)))
	return true
}

func (w *World) elect(i int) {
	s := &w.shards[i]
	if w.random.chance(w.params.Truncate) && s.committed < len(s.log) && !w.healing {
		w.truncate(s, w.random.between(s.committed, len(s.log)))
	}
	old := s.primary
	s.view++
	s.primary = w.random.below(len(s.replicas))
	w.mark(MarkViewChange)
	w.tracef("%4d  view change: shard %d, view %d, primary %d", w.now, s.number, s.view, s.primary)
	if old != s.primary && !w.random.chance(w.params.Linger) {
		s.replicas[old].front.Unlead()
		w.release(i, old)
	}
	rep := &s.replicas[s.primary]
	rep.front.Unlead()
	rep.view = s.view
	w.release(i, s.primary)
	floor := uint64(0)
	if w.params.Mistakes&EarlyFloor != 0 {
		floor = uint64(w.issued) - min(uint64(w.issued), uint64(w.random.below(8)))
	}
	w.applyAll(i, s.primary)
	if w.params.Mistakes&ServeBeforeLead != 0 {
		rep.front.Lead(rep.state.LeadNumber())
	}
	w.put(event{kind: oracleLead, a: int32(i), b: int32(s.primary), number: rep.state.LeadNumber() + 1, view: s.view<<32 | floor})
}

// truncate loses the end of the log, from the given length on.
func (w *World) truncate(s *shard, length int) {
	for _, lost := range s.log[length:] {
		w.mark(MarkTruncated)
		if own, ok := lost.operation.(history.Own); ok {
			w.tracef("%4d    Own of shard %d is lost", w.now, own.Shard)
			s.owned = false
		}
		if lost.message >= 0 {
			w.put(event{kind: giveUp, a: lost.message})
		}
	}
	s.log = s.log[:length:length]
}

// onFloor brings a new primary its floor; it logs its Lead, if it still is primary or strays.
func (w *World) onFloor(e event) {
	s := &w.shards[e.a]
	view, floor := e.view>>32, txn.Timestamp(e.view&0xffffffff)
	if view != s.view && !w.random.chance(w.params.Stray) {
		return
	}
	if floor == 0 {
		floor = w.timestamp()
	}
	s.log = append(s.log, entry{
		operation: history.Lead{Number: e.number, View: view, Floor: floor}, message: -1, replica: int(e.b), incarnation: s.replicas[e.b].incarnation,
	})
}

func (w *World) onLeadApplied(i, r int, lead history.Lead, result history.Result) {
	s := &w.shards[i]
	rep := &s.replicas[r]
	own := lead.View == rep.view || w.params.Mistakes&ServeInheritedLead != 0
	switch {
	case result.TookEffect && own:
		rep.front.Lead(lead.Number)
		for other := range s.replicas {
			if other != r && s.replicas[other].front.Leading() {
				w.mark(MarkTwoFronts)
			}
		}
	case !result.TookEffect && lead.View == s.view:
		// Another Lead came in between. It is still primary, and tries again.
		w.mark(MarkLeadWithoutEffect)
		w.put(event{kind: oracleLead, a: int32(i), b: int32(r), number: rep.state.LeadNumber() + 1, view: s.view << 32})
	}
}

// release lets go on who has waited for writers at a replica.
func (w *World) release(i, r int) {
	for _, id := range w.shards[i].replicas[r].front.TakeReleased() {
		w.onReleased(int32(id))
	}
}

// advance raises threshold and horizons, asking for more than the rules allow.
func (w *World) advance() bool {
	i := w.random.below(len(w.shards))
	s := &w.shards[i]
	front := s.replicas[s.primary].front
	if !front.Leading() {
		return false
	}
	w.issued += txn.Timestamp(w.random.below(4))
	upTo := func() txn.Timestamp {
		return w.issued - min(w.issued, txn.Timestamp(w.random.below(max(w.params.HorizonLag, 1))))
	}
	w.mark(MarkAdvance)
	w.logAdvance(i, history.Advance{Threshold: upTo(), VersionHorizon: upTo(), RecordHorizon: upTo()})
	return true
}

func (w *World) logAdvance(i int, operation history.Advance) {
	s := &w.shards[i]
	operation.Lead = s.replicas[s.primary].front.LeadNumber()
	s.log = append(s.log, entry{message: -1, replica: s.primary, operation: operation})
}
