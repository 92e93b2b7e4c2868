package transactions

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
	"github.com/viewline/viewline/txn/commit"
	"github.com/viewline/viewline/txn/history"
	"github.com/viewline/viewline/txn/terminate"
)

// choices enumerates all ways through a game that asks choose at every fork.
type choices struct{ taken, of []int }

func (c *choices) next() bool {
	for len(c.taken) > 0 {
		last := len(c.taken) - 1
		if c.taken[last]++; c.taken[last] < c.of[last] {
			return true
		}
		c.taken, c.of = c.taken[:last], c.of[:last]
	}
	return false
}

// fork is one way through; at is how far it has come.
type fork struct {
	*choices
	at int
}

func (f *fork) choose(n int) int {
	if f.at == len(f.taken) {
		f.taken, f.of = append(f.taken, 0), append(f.of, n)
	}
	f.at++
	return f.taken[f.at-1]
}

// What may become of a clerk's request. Rounds are the replicated rounds of the terminators: round 1 begins at
// the in-doubt age.
const (
	answered   = iota // it arrives at once, and the clerk learns the answer
	unanswered        // it arrives at once; the answer is lost
	slow              // it arrives at once, and the clerk learns the answer after round 1
	late              // it arrives after round 1, and the clerk learns the answer
	lost
	unheard // it arrives at once, and the clerk is told at once that it is lost
	astray  // it arrives after round 1, and the clerk is told at once that it is lost
	fates
)

// game bounds what is enumerated.
type game struct {
	shards   int
	refusing int // a mask of shards that refuse the first attempt, since somebody has read the object later
	attempts int
	faults   int // requests that are not answered at once
	failures int // of those, which the clerk is told are lost, and are not
}

// dyingClerk is one commit of a clerk, alone with its shards and their terminators: no store but the shards'
// states, no network but the fates.
type dyingClerk struct {
	*fork
	t       testing.TB
	states  []*history.State
	machine *commit.Machine
	game    // what is left of it
	ts      txn.Timestamp
	alive   bool
	outcome commit.OutcomeKind
	later   []commit.Send // late
	heard   []commit.Reply

	terminators []*terminator
	rounds      int // the most that any of them needed to free its shard
	counts      *roundCounts
}

type terminator struct {
	machine *terminate.Machine
	shard   int
	attempt txn.Attempt
	open    []terminate.Send
	rounds  int
}

type roundCounts struct {
	ways, committed, aborted, answered, late uint64
	rounds                                   [5]uint64
}

func (d *dyingClerk) apply(shard txn.ShardID, o history.Operation) txn.Verdict {
	state := d.states[shard-1]
	return state.Apply(state.Applied()+1, o).Verdict
}

// begin makes the shards and starts the clerk.
func (d *dyingClerk) begin(without omit.Set) {
	parts := make([]commit.Part, len(d.states))
	for i := range d.states {
		number, oid := txn.ShardID(i+1), objects[i]
		state, err := history.New(history.Options{Shard: number, SlotOf: slotOf})
		require.NoError(d.t, err)
		d.states[i] = state
		d.apply(number, history.Own{MapVersion: 1, Shard: number, Slots: []uint16{uint16(i)}})
		d.apply(number, history.Lead{Number: 1, View: 1})
		if d.refusing>>i&1 != 0 {
			reader := txn.Transaction{
				Attempt: txn.Attempt{ID: txn.TxnID{Sequence: 1, Home: number}, Number: 1, TS: 15}, Participants: []txn.ShardID{number},
				Reads: []txn.ReadEntry{{OID: oid, At: state.Applied(), Shard: number}},
			}
			require.Equal(d.t, txn.StatusCommitted, d.apply(number, history.CommitOnePhase{Lead: 1, Txn: &reader}).Status)
		}
		parts[i] = commit.Part{Shard: number, Writes: []txn.WriteEntry{{OID: oid, Kind: txn.Put}}}
	}
	var err error
	d.machine, err = commit.New(commit.Options{Omit: without}, txn.TxnID{Sequence: 2, Home: 1}, parts, 1)
	require.NoError(d.t, err)
	d.alive = true
	d.perform(d.machine.Start())
}

// perform carries out the clerk's actions; it may die before each of them.
func (d *dyingClerk) perform(actions []commit.Action) {
	var events []commit.Event
	wanted := false
	for _, action := range actions {
		if d.alive = d.alive && d.choose(2) == 0; !d.alive {
			return
		}
		switch action := action.(type) {
		case commit.Send:
			if event, now := d.send(action); now {
				events = append(events, event)
			}
		case commit.Answer:
			d.outcome = action.Outcome.Kind
		case commit.WantTimestamp:
			wanted = d.attempts > 0
		case commit.WantTimer:
			events = append(events, commit.Timer{Token: action.Token})
		}
	}
	if wanted {
		d.attempts--
		d.ts += 10
		d.perform(append([]commit.Action(nil), d.machine.Step(commit.Timestamp{TS: d.ts})...))
	}
	for _, event := range events {
		d.hear(event)
	}
}

func (d *dyingClerk) hear(event commit.Event) {
	if d.alive {
		d.perform(append([]commit.Action(nil), d.machine.Step(event)...))
	}
}

// send draws the fate of a request.
func (d *dyingClerk) send(send commit.Send) (event commit.Event, now bool) {
	fate := 0
	switch {
	case send.Kind == commit.EndTxn:
		fate = answered + d.choose(2)*lost
	case d.faults == 0:
	case d.failures == 0 || send.Txn == nil:
		fate = d.choose(unheard)
	default:
		fate = d.choose(fates)
	}
	if fate != answered {
		d.faults--
	}
	switch fate {
	case unheard:
		d.failures--
		d.arrive(send)
		return commit.Failed{Send: send}, true
	case astray:
		d.failures--
		d.later = append(d.later, send)
		return commit.Failed{Send: send}, true
	case late:
		d.later = append(d.later, send)
		d.counts.late++
	case lost:
	default:
		reply := commit.Reply{Send: send, Verdict: d.arrive(send)}
		if fate == slow {
			d.heard = append(d.heard, reply)
		}
		return reply, fate == answered
	}
	return nil, false
}

func (d *dyingClerk) arrive(send commit.Send) txn.Verdict {
	switch send.Kind {
	case commit.PrepareTxn:
		return d.apply(send.Shard, history.PrepareTxn{Lead: 1, Txn: send.Txn})
	case commit.CommitOnePhase:
		return d.apply(send.Shard, history.CommitOnePhase{Lead: 1, Txn: send.Txn})
	case commit.CommitTxn:
		return d.apply(send.Shard, history.CommitTxn{Attempt: send.Attempt})
	case commit.AbortTxn:
		return d.apply(send.Shard, history.AbortTxn{Attempt: send.Attempt})
	case commit.Fence:
		return d.apply(send.Shard, history.Fence{Attempt: send.Attempt})
	default:
		return d.apply(send.Shard, history.EndTxn{IDs: []txn.TxnID{send.Attempt.ID}})
	}
}

// inDoubt starts a terminator wherever something has come to the in-doubt age that has none yet.
func (d *dyingClerk) inDoubt(without omit.Set) {
	for i, state := range d.states {
		state.Prepared(func(p history.Prepared) bool {
			for _, other := range d.terminators {
				if other.shard == i && other.attempt == p.Txn.Attempt {
					return true
				}
			}
			machine, err := terminate.New(terminate.Options{Omit: without}, txn.ShardID(i+1), p.Txn.Attempt, p.Txn.Participants)
			require.NoError(d.t, err)
			started := &terminator{machine: machine, shard: i, attempt: p.Txn.Attempt}
			started.take(machine.Start())
			d.terminators = append(d.terminators, started)
			return true
		})
	}
}

func (t *terminator) take(actions []terminate.Action) {
	for _, action := range actions {
		if send, ok := action.(terminate.Send); ok {
			t.open = append(t.open, send)
		}
	}
}

// round logs and applies all that the terminators have asked for, and brings them the answers.
func (d *dyingClerk) round() (busy bool) {
	type answer struct {
		terminator *terminator
		reply      terminate.Reply
	}
	var answers []answer
	for _, t := range d.terminators {
		for _, send := range t.open {
			answers = append(answers, answer{t, terminate.Reply{Send: send, Verdict: d.carryOut(send)}})
		}
		t.open = nil
	}
	for _, t := range d.terminators {
		if d.states[t.shard].IsPrepared(t.attempt) {
			t.rounds++
		}
		d.rounds = max(d.rounds, t.rounds+1)
	}
	for _, a := range answers {
		a.terminator.take(a.terminator.machine.Step(a.reply))
	}
	return len(answers) > 0
}

func (d *dyingClerk) carryOut(send terminate.Send) txn.Verdict {
	switch send.Kind {
	case terminate.Fence:
		return d.apply(send.Shard, history.Fence{Attempt: send.Attempt, EveryLater: send.EveryLater})
	case terminate.CommitTxn:
		return d.apply(send.Shard, history.CommitTxn{Attempt: send.Attempt})
	case terminate.AbortTxn:
		return d.apply(send.Shard, history.AbortTxn{Attempt: send.Attempt})
	default:
		return d.apply(send.Shard, history.EndTxn{IDs: []txn.TxnID{send.Attempt.ID}})
	}
}

// finish lets the terminators work, while what is late arrives and a clerk that lives goes on.
func (d *dyingClerk) finish(without omit.Set) {
	for again := true; again; {
		d.inDoubt(without)
		again = d.round()
		later, heard := d.later, d.heard
		d.later, d.heard = nil, nil
		for _, send := range later {
			heard = append(heard, commit.Reply{Send: send, Verdict: d.arrive(send)})
		}
		for _, reply := range heard {
			d.hear(reply)
		}
		again = again || len(heard) > 0
		for _, state := range d.states {
			again = again || state.Counters().Prepared > 0
		}
		require.Less(d.t, d.rounds, 10, "no end")
	}
}

// problem says what is wrong when all is over.
func (d *dyingClerk) problem() string {
	installed := 0
	for i, state := range d.states {
		if state.Read(objects[i]).Present {
			installed++
		}
		if breaks := state.Counters().InvariantBreaks; breaks > 0 {
			return fmt.Sprintf("shard %d counts %d broken invariants", i+1, breaks)
		}
	}
	switch {
	case installed != 0 && installed != len(d.states):
		return fmt.Sprintf("installed at %d of %d shards", installed, len(d.states))
	case d.outcome == commit.Committed && installed == 0:
		return "told committed, but is not"
	case d.outcome == commit.Aborted && installed != 0:
		return "told aborted, but is committed"
	case d.rounds > 2:
		return fmt.Sprintf("prepared for %d rounds", d.rounds)
	}
	d.counts.ways++
	d.counts.rounds[d.rounds]++
	if installed > 0 {
		d.counts.committed++
	} else {
		d.counts.aborted++
	}
	if d.outcome != 0 {
		d.counts.answered++
	}
	return ""
}

// playAllWays plays every way until one has a problem.
func playAllWays(t testing.TB, g game, clerk, shard omit.Set) (roundCounts, string) {
	counts, all := roundCounts{}, choices{}
	for more := true; more; more = all.next() {
		d := dyingClerk{fork: &fork{choices: &all}, t: t, states: make([]*history.State, g.shards), game: g, counts: &counts}
		d.begin(clerk)
		d.finish(shard)
		if problem := d.problem(); problem != "" {
			return counts, fmt.Sprintf("%v: %s", all.taken, problem)
		}
	}
	return counts, ""
}

// TestTwoRoundsAfterTheInDoubtAge enumerates where a clerk dies in its commit, or with whom it loses touch, and
// what becomes of each of its messages. Two replicated rounds after the in-doubt age nothing is prepared any
// more, all shards agree, and the caller was told the truth.
func TestTwoRoundsAfterTheInDoubtAge(t *testing.T) {
	for _, g := range []game{
		{shards: 1, attempts: 2, faults: 4, failures: 1},
		{shards: 1, attempts: 2, faults: 4, refusing: 1},
		{shards: 2, attempts: 1, faults: 4, failures: 1},
		{shards: 2, attempts: 2, faults: 3, failures: 1},
		{shards: 2, attempts: 2, faults: 3, refusing: 1},
		{shards: 2, attempts: 2, faults: 3, refusing: 2},
		{shards: 3, attempts: 1, faults: 4},
	} {
		counts, problem := playAllWays(t, g, 0, 0)
		require.Empty(t, problem, "%+v", g)
		t.Logf("%+v: %+v", g, counts)
		require.NotZero(t, counts.committed)
		require.NotZero(t, counts.aborted)
		require.NotZero(t, counts.answered)
		if g.shards > 1 {
			require.NotZero(t, counts.rounds[2])
			require.NotZero(t, counts.late)
		}
	}
	for name, without := range map[string]struct{ clerk, shard omit.Set }{
		"every prepared, clerk":      {clerk: omit.Of(commit.RuleEveryPrepared)},
		"dead before next":           {clerk: omit.Of(commit.RuleDeadBeforeNext)},
		"lost copy fenced":           {clerk: omit.Of(commit.RuleLostCopyFenced)},
		"whole list":                 {clerk: omit.Of(commit.RuleWholeList)},
		"every prepared, terminator": {shard: omit.Of(terminate.RuleEveryPrepared)},
		"committed everywhere":       {shard: omit.Of(terminate.RuleCommittedEverywhere)},
	} {
		_, problem := playAllWays(t, game{shards: 2, attempts: 2, faults: 3, failures: 1}, without.clerk, without.shard)
		t.Logf("without %q: %s", name, problem)
		require.NotEmpty(t, problem, "without %q", name)
	}
}
