package core

import "slices"

// transferKind says what a state transfer is for.
type transferKind uint8

const (
	// catchingUp appends what this backup missed within its view.
	catchingUp transferKind = iota + 1
	// adopting replaces the log by that of a later view, or of the view that this replica waits to be normal in.
	adopting
	// gather is the new primary's, who lacks a part of the log that it has to start the view with.
	gather
	// recovering replaces the log of a replica that may have lost a part of it by the log of a view's primary.
	recovering
)

// transferring is a state transfer under way (VRR 5.2). Until it is complete the log stays as it is: a log cut
// short before the answer is here would lose operations that this replica has acknowledged.
type transferring struct {
	kind transferKind
	view ViewNumber
	from ReplicaID
	question
	// next is the op-number to ask for, previous the hash of the one below it.
	next     OpNumber
	previous Hash
	// want is how far the log has to go, wantHash its hash there (gather and recovering only). 0: not known yet.
	want     OpNumber
	wantHash Hash
	buffer   []Entry
	// commit is the largest commit-number heard from that view. It says nothing about this replica's log
	// before the transfer is complete: a log of an earlier view may have other operations there.
	commit OpNumber
}

// catchUp asks for what is missing within the view.
func (r *Replica) catchUp() {
	if r.transfer != nil && r.transfer.kind == catchingUp {
		return
	}
	r.beginTransfer(&transferring{kind: catchingUp, view: r.view, from: r.primaryOf(r.view)})
}

// adopt asks a member that is normal in a view for that view's log.
func (r *Replica) adopt(view ViewNumber, from ReplicaID) {
	if t := r.transfer; t != nil && t.kind == adopting && t.view >= view {
		return
	}
	if r.config.Omit.Has(RuleKeepBeforeTransfer) && r.commit < r.log.last() && r.primary == nil {
		r.log.truncateAbove(r.commit)
	}
	r.abdicate()
	r.beginTransfer(&transferring{kind: adopting, view: view, from: from})
}

// gather asks the replica whose log was chosen for the part that is missing here.
func (r *Replica) gather(best *Message) {
	r.beginTransfer(&transferring{kind: gather, view: r.view, from: best.From, want: best.Op, wantHash: best.Hash})
}

func (r *Replica) beginTransfer(t *transferring) {
	r.transfer = t
	r.restartTransfer()
}

// restartTransfer asks from this replica's own state: everything up to commit is the same everywhere.
func (r *Replica) restartTransfer() {
	t := r.transfer
	if t.kind == gather && t.want <= r.commit {
		// A checkpoint has overtaken the choice: make it anew with what this replica has now.
		r.transfer = nil
		r.renewDoViewChange()
		return
	}
	r.rewind()
	r.askState()
}

// rewind goes back to what is missing here, and keeps nothing of what has come.
func (r *Replica) rewind() {
	t := r.transfer
	t.next, t.buffer = r.commit+1, nil
	if t.kind == catchingUp {
		t.next = r.log.last() + 1
	}
	t.previous, _ = r.log.hashAt(t.next - 1)
}

func (r *Replica) askState() {
	t := r.transfer
	if r.fetching {
		return
	}
	t.ask(t.next, r.config.Rand)
	r.send(t.from, Message{Kind: KindGetState, View: t.view, First: t.next, Nonce: t.nonce, Agree: r.config.Witness && t.kind == recovering})
}

// tickTransfer asks again, and somebody else where somebody else can answer.
func (r *Replica) tickTransfer() {
	t := r.transfer
	if t == nil || r.fetching || !t.due(r.config.ResendTicks) {
		return
	}
	if t.kind != gather {
		r.askNext()
	}
	if len(t.buffer) == 0 {
		r.restartTransfer()
		return
	}
	r.askState()
}

// onGetState answers from a log that is known to be the view's (VRR 5.2), or, for the new primary of the view
// change that both are in, from the frozen one.
func (r *Replica) onGetState(m *Message) {
	frozen := r.status == StatusViewChange && m.From == r.primaryOf(m.View)
	if m.View != r.view || r.status != StatusNormal && !frozen || m.First == 0 || m.First > r.log.last()+1 {
		return
	}
	answer := Message{Kind: KindNewState, Nonce: m.Nonce, Op: r.log.last(), Commit: r.commit, First: m.First}
	answer.Hash, _ = r.log.hashAt(answer.Op)
	if r.config.Witness {
		// It has nothing below its log. Whoever asks may have that, above what it knows to be committed.
		answer.First = max(m.First, r.log.base.Op+1)
	}
	if answer.First <= r.log.base.Op {
		given, ok := r.checkpointFor(m)
		if answer.Checkpoint = given; !ok {
			return
		}
		if r.membership.IsWitness(m.From) && !m.Agree && !r.config.Omit.Has(RuleWitnessOwn) {
			answer.First = r.log.base.Op + 1 // it may have the log up to there (hasBelow)
		}
	}
	if answer.First > r.log.base.Op {
		answer.Entries = r.log.batch(answer.First, r.config.BatchEntriesMax, r.config.BatchBytesMax)
		answer.PreviousHash, _ = r.log.hashAt(answer.First - 1)
	}
	r.send(m.From, answer)
}

// onNewState takes the answer to the question that is open, and no other, from whoever gives it first.
func (r *Replica) onNewState(m *Message) {
	t := r.transfer
	if r.config.Omit.Has(RuleNewStateAsked) && (t == nil || m.Nonce != t.nonce) {
		r.takeUnasked(m)
		return
	}
	if t == nil || r.fetching || m.View != t.view || !t.answers(m, r.config.ResendTicks) {
		return
	}
	t.from = m.From
	if t.kind == catchingUp && (r.status != StatusNormal || r.view != t.view) {
		r.transfer = nil
		return
	}
	if len(m.Entries) > 0 {
		r.elapsed = 0 // the transfer gets on
		if r.recovery != nil {
			r.recovery.still = 0
		}
	}
	t.commit = max(t.commit, m.Commit)
	if t.kind == catchingUp {
		r.commitMax = max(r.commitMax, m.Commit)
	}
	if m.Checkpoint.Op > 0 && !r.hasBelow(m) {
		if !r.sparePrimary(m) {
			r.fetchCheckpoint(m)
		}
		return
	}
	switch t.kind {
	case catchingUp:
		r.takeMissing(m)
	default:
		r.takeLog(m)
	}
}

// sparePrimary asks the other members in turn for what the primary would give of its checkpoint: it has the group's work to
// do.
func (r *Replica) sparePrimary(m *Message) bool {
	if m.Checkpoint.Op <= r.applied || !r.askElsewhere(m.From) {
		return false
	}
	r.restartTransfer()
	return true
}

// askElsewhere turns from the primary to the next member, when more is missing than one answer of the primary's can give.
// It does so once in a view, so that the primary is asked again, and to the end, when no other member answers; and once
// more after a checkpoint came, or all that was missing.
func (r *Replica) askElsewhere(from ReplicaID) bool {
	t := r.transfer
	if t.kind == gather || from != r.primaryOf(t.view) || r.spared > t.view || len(r.sources) < 2 {
		return false
	}
	r.spared = t.view + 1
	r.askNext()
	return true
}

// askNext goes on to the next member that has a state too.
func (r *Replica) askNext() {
	if len(r.sources) > 0 {
		at := slices.Index(r.sources, r.transfer.from)
		r.transfer.from = r.sources[(at+1)%len(r.sources)]
	}
}

// hasBelow reports whether a witness has itself what an answer leaves out, in whose place it would go on from a checkpoint: by
// what it has acknowledged of that, operations may be committed that another active member lacks.
func (r *Replica) hasBelow(m *Message) bool {
	hash, ok := r.log.hashAt(m.First - 1)
	return r.config.Witness && m.First > r.transfer.next && ok && hash == m.PreviousHash
}

// takeUnasked is what RuleNewStateAsked keeps from happening.
func (r *Replica) takeUnasked(m *Message) {
	if m.View == 0 || m.Checkpoint.Op > 0 || r.primary != nil || r.status == StatusStopped {
		return
	}
	if hash, ok := r.log.hashAt(m.First - 1); !ok || hash != m.PreviousHash {
		return
	}
	r.replaceAbove(m.First-1, m.Entries)
	r.viewChange = nil
	r.status, r.view, r.lastNormalView = StatusNormal, m.View, m.View
}

// takeMissing appends entries of the view that this replica is normal in.
func (r *Replica) takeMissing(m *Message) {
	before := r.log.last()
	if m.First > before+1 || !r.appendLinked(m.First, m.PreviousHash, m.Entries) {
		return
	}
	r.advanceCommit(r.commitMax)
	r.acknowledge()
	if r.log.last() < m.Op && r.log.last() > before {
		r.askElsewhere(m.From)
		r.restartTransfer()
		return
	}
	if r.commitMax > r.log.last() && m.From != r.primaryOf(r.view) {
		r.askNext() // it lacks the same
		r.restartTransfer()
		return
	}
	r.transfer, r.spared = nil, 0
}

// takeLog gathers the log of another view and, once it is whole, takes it over in one step. Whole means: up to
// where the sender's log went when it first answered, which no view inherited less than.
func (r *Replica) takeLog(m *Message) {
	t := r.transfer
	r.takeOwn(m)
	if m.First != t.next || m.PreviousHash != t.previous {
		if len(t.buffer) == 0 && m.First == t.next && t.next <= r.commit+1 {
			r.contradiction(t.next-1, m.PreviousHash, m.View)
			r.transfer = nil
		}
		return
	}
	if shorter := t.kind == adopting || t.kind == recovering && r.config.Omit.Has(RuleRecoveryHash); shorter && (t.want == 0 || m.Op < t.want) {
		// Another sender, whose log is shorter, will do: it is normal in the view too, and whoever named more
		// may be gone.
		t.want = m.Op
	}
	t.buffer = append(t.buffer, m.Entries...)
	if last := len(t.buffer) - 1; last >= 0 {
		t.next, t.previous = t.buffer[last].Op+1, t.buffer[last].Hash
	}
	if t.next <= t.want && !(t.kind == adopting && r.config.Omit.Has(RuleWholeInherited)) {
		if len(m.Entries) > 0 {
			r.askElsewhere(m.From)
			r.askState()
		}
		return
	}
	r.takeOver()
}

// takeOwn takes this replica's own entries for those that a witness has no more: logs that have the same hash at an
// op-number are the same up to there.
func (r *Replica) takeOwn(m *Message) {
	t := r.transfer
	if m.First <= t.next || len(t.buffer) > 0 {
		return
	}
	if hash, ok := r.log.hashAt(m.First - 1); ok && hash == m.PreviousHash {
		t.buffer = append(t.buffer, r.log.slice(t.next, m.First-1)...)
		t.next, t.previous = m.First, m.PreviousHash
	}
}

// takeOver ends a transfer that is complete.
func (r *Replica) takeOver() {
	t := r.transfer
	if t.kind == gather {
		t.buffer = t.buffer[:len(t.buffer)-int(t.next-1-t.want)]
		if last := len(t.buffer) - 1; last < 0 || t.buffer[last].Hash != t.wantHash {
			r.restartTransfer()
			return
		}
	}
	below := t.next - OpNumber(len(t.buffer)) - 1
	if t.kind == recovering && !r.hasRecovered(t, below) {
		r.transfer = nil
		return
	}
	below, entries, ok := r.aboveBase(below, t.buffer)
	if !ok {
		r.transfer = nil
		return
	}
	r.replaceAbove(below, entries)
	if r.failure != nil {
		return
	}
	if t.kind == gather {
		r.transfer = nil
		r.startView()
		return
	}
	r.commitMax, r.spared = max(r.commitMax, t.commit), 0
	r.takePart(t.view)
}

// aboveBase leaves out what this log retains no more: while the transfer went on, the view that this replica was
// in may have committed it and a checkpoint may hold it. Not ok: it is not what is committed here.
func (r *Replica) aboveBase(below OpNumber, entries []Entry) (OpNumber, []Entry, bool) {
	base := r.log.base
	if below >= base.Op {
		return below, entries, true
	}
	skip := base.Op - below
	if skip > OpNumber(len(entries)) {
		return below, entries, false
	}
	if hash := entries[skip-1].Hash; hash != base.Hash {
		r.contradiction(base.Op, hash, r.transfer.view)
		return below, entries, false
	}
	return base.Op, entries[skip:], true
}

// takePart makes the replica a normal backup of a view whose log it has.
func (r *Replica) takePart(view ViewNumber) {
	r.stopLeading()
	r.enterNormal(view)
	r.advanceCommit(r.commitMax)
	r.acknowledge()
}
