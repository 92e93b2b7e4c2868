package history

import (
	"slices"

	"github.com/viewline/viewline/txn"
)

// modelTxn is an update transaction and its clerk: it reads, asks for a timestamp, prepares everywhere with one
// copy each, and commits or aborts; on a retimeable refusal it tries again with a new timestamp.
type modelTxn struct {
	attempt txn.Attempt
	reads   []string
	writes  []string
	seen    map[string]txn.ReadEntry
	parts   map[txn.ShardID]*modelPart // of the present attempt
	order   []txn.ShardID              // participants, ascending
}

// modelPart is one participant's state as the clerk knows it.
type modelPart struct {
	sent, answered, told bool
	verdict              txn.Verdict
}

func newModelTxn(w *world, number int) *modelTxn {
	t := &modelTxn{attempt: txn.Attempt{ID: idOf(number)}, seen: map[string]txn.ReadEntry{}}
	if w.chance(80) {
		t.reads = w.someObjects()
	}
	if len(t.reads) == 0 || w.chance(80) {
		t.writes = w.someObjects()
	}
	for _, oid := range append(slices.Clone(t.reads), t.writes...) {
		if !slices.Contains(t.order, shardOf(oid)) {
			t.order = append(t.order, shardOf(oid))
		}
	}
	slices.Sort(t.order)
	t.attempt.ID.Home = t.order[0]
	return t
}

func (t *modelTxn) step(w *world) bool {
	for _, oid := range t.reads {
		if _, ok := t.seen[oid]; !ok {
			s := w.shards[shardOf(oid)]
			t.seen[oid] = txn.ReadEntry{OID: oid, Version: s.Read(oid).Version, At: s.Applied(), Shard: shardOf(oid)}
			return false
		}
	}
	if t.parts == nil {
		t.begin(w)
		return false
	}
	// One participant at a time, in an order of the moment.
	start := w.random.IntN(len(t.order))
	for i := range t.order {
		id := t.order[(start+i)%len(t.order)]
		if p := t.parts[id]; !p.sent && !t.dead() {
			t.prepare(w, id, p)
			return false
		}
	}
	return t.decide(w)
}

func (t *modelTxn) begin(w *world) {
	t.attempt.Number++
	t.attempt.TS = w.now()
	t.parts = map[txn.ShardID]*modelPart{}
	for _, id := range t.order {
		t.parts[id] = &modelPart{}
	}
}

// part is what one participant gets to see.
func (t *modelTxn) part(id txn.ShardID) *txn.Transaction {
	part := &txn.Transaction{Attempt: t.attempt, Participants: t.order}
	for _, oid := range t.reads {
		if shardOf(oid) == id {
			part.Reads = append(part.Reads, t.seen[oid])
		}
	}
	for _, oid := range t.writes {
		if shardOf(oid) == id {
			part.Writes = append(part.Writes, txn.WriteEntry{OID: oid, Kind: txn.Put, Value: []byte(t.attempt.String())})
		}
	}
	return part
}

func (t *modelTxn) prepare(w *world, id txn.ShardID, p *modelPart) {
	s, part, onePhase := w.shards[id], t.part(id), len(t.order) == 1
	p.sent = true
	verdict, admitted := s.front.Admit(part, onePhase)
	if !admitted {
		p.answered, p.verdict = true, verdict
		return
	}
	lead := s.front.LeadNumber()
	operation := Operation(PrepareTxn{Lead: lead, Txn: part})
	if onePhase {
		operation = CommitOnePhase{Lead: lead, Txn: part}
	}
	attempt := t.attempt
	s.lingering = append(s.lingering, modelOperation{operation: operation, applied: func(r Result) {
		s.front.Leave(lead, attempt)
		p.answered, p.verdict = true, r.Verdict
	}})
}

// dead reports whether a participant refused its only copy, or has logged that it never prepares.
func (t *modelTxn) dead() bool {
	for _, id := range t.order {
		if p := t.parts[id]; p.answered && p.verdict.Status != txn.StatusPrepared && p.verdict.Status != txn.StatusCommitted {
			return true
		}
	}
	return false
}

func (t *modelTxn) decide(w *world) bool {
	if t.dead() {
		return t.abort(w)
	}
	for _, id := range t.order {
		if !t.parts[id].answered {
			return false
		}
	}
	for _, id := range t.order {
		if len(t.order) > 1 {
			t.tell(w, id, CommitTxn{t.attempt})
		}
	}
	w.done = append(w.done, t)
	return true
}

func (t *modelTxn) tell(w *world, id txn.ShardID, o Operation) {
	if p := t.parts[id]; !p.told {
		p.told = true
		w.shards[id].lingering = append(w.shards[id].lingering, modelOperation{operation: o})
	}
}

// abort tells whoever holds a dead attempt, or may yet; the next attempt need not wait for that.
func (t *modelTxn) abort(w *world) bool {
	retime := t.attempt.Number < 4
	for _, id := range t.order {
		p := t.parts[id]
		if p.sent && (!p.answered || p.verdict.Status == txn.StatusPrepared) {
			t.tell(w, id, AbortTxn{t.attempt})
		}
		retime = retime && (!p.answered || p.verdict.Status == txn.StatusPrepared || p.verdict.Reason.Retimeable())
	}
	t.parts = nil
	return !retime
}
