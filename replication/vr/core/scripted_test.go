package core

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// scripted is a group whose network, disks and clocks do only what a script says.
type scripted struct {
	*testing.T
	replicas []*actor
	pending  []Message
	trace    strings.Builder
	config   Config
	// staleReads is how many were asked for.
	staleReads uint64
	// apply, if set, sees what a replica applies; nothing is told then.
	apply func(r *actor, committed []Entry)
}

// actor is one replica of it, with its disk. Replica is nil while it is down.
type actor struct {
	*Replica
	id  ReplicaID
	cut bool
	// What is durable.
	hard  HardState
	log   []Entry
	state CheckpointMeta
	fetch *FetchCheckpoint
	// told are the members that a newcomer was told.
	told []ReplicaID
	// lossy: something durable was taken away by "crash NAME keeping N".
	lossy bool
	draws uint64
}

// newScripted makes the group that "group N [entries-max M]" names. View v's primary is replica 1 + v mod N. Its
// time-outs are short (heartbeat 2 ticks, view change 6), and what it draws at random is 1, 2, 3 and so on.
func newScripted(t *testing.T, words []string) *scripted {
	t.Helper()
	n, err := strconv.Atoi(words[0])
	require.NoError(t, err)
	s := &scripted{T: t, config: Config{HeartbeatTicks: 2, ViewChangeTicksMin: 6, ViewChangeTicksMax: 6, ResendTicks: 4}}
	if len(words) == 3 && words[1] == "entries-max" {
		s.config.BatchEntriesMax, err = strconv.Atoi(words[2])
		require.NoError(t, err)
	}
	for id := range n {
		s.config.Members = append(s.config.Members, ReplicaID(id+1))
		s.replicas = append(s.replicas, &actor{id: ReplicaID(id + 1)})
	}
	for _, r := range s.replicas {
		s.start(r)
	}
	return s
}

func (s *scripted) replica(name string) *actor {
	s.Helper()
	id, err := strconv.Atoi(strings.TrimPrefix(name, "r"))
	require.NoError(s, err)
	return s.replicas[id-1]
}

func (s *scripted) say(r *actor, format string, arguments ...any) {
	if s.apply != nil {
		return
	}
	fmt.Fprintf(&s.trace, "r%d %s\n", r.id, fmt.Sprintf(format, arguments...))
}

func (s *scripted) start(r *actor) {
	config := s.config
	config.Self = r.id
	if r.told != nil {
		config.Members, config.Joining = r.told, true
	}
	config.Rand = func() uint64 { r.draws++; return r.draws }
	replica, err := New(config, Restored{HardState: r.hard, Checkpoint: r.state, Entries: r.log, Recover: r.lossy})
	require.NoError(s, err)
	r.lossy = false
	r.Replica = replica
	s.act(r)
}

// crash is "crash NAME", or "crash NAME keeping N" where only the operations up to N survive.
func (s *scripted) crash(r *actor, words []string) {
	r.Replica, r.fetch = nil, nil
	if len(words) < 2 {
		return
	}
	keep, err := strconv.ParseUint(words[1], 10, 64)
	require.NoError(s, err)
	last := OpNumber(keep)
	r.lossy = true
	r.log = slices.DeleteFunc(slices.Clone(r.log), func(e Entry) bool { return e.Op > last })
	r.hard.Commit = min(r.hard.Commit, last)
	if r.state.Op > last {
		r.state = CheckpointMeta{}
	}
}

// join is "join MEMBER ...": the next replica starts empty, to become a member, and is told these.
func (s *scripted) join(words []string) {
	r := &actor{id: ReplicaID(len(s.replicas) + 1)}
	for _, word := range words {
		r.told = append(r.told, s.replica(word).id)
	}
	s.replicas = append(s.replicas, r)
	s.start(r)
}

// reconfigure is "reconfigure NAME MEMBER ...".
func (s *scripted) reconfigure(r *actor, words []string) {
	var members []Member
	for _, word := range words {
		members = append(members, Member{ID: s.replica(word).id})
	}
	_, err := r.Reconfigure(members, false)
	s.say(r, "%v", errorOr(err, "proposes the members of epoch %d", r.Status().Epoch+1))
	s.act(r)
}

func (s *scripted) propose(r *actor, words []string) {
	var payloads [][]byte
	for _, word := range words {
		payloads = append(payloads, []byte(word))
	}
	first, err := r.Propose(r.Status().View, payloads)
	s.say(r, "%v", errorOr(err, "accepts %d at %d", len(words), first))
	s.act(r)
}

// tick is "tick N [replica ...]", of all that run when none is named.
func (s *scripted) tick(words []string) {
	count, err := strconv.Atoi(words[0])
	require.NoError(s, err)
	for range count {
		for _, r := range s.replicas {
			if r.Replica != nil && (len(words) == 1 || slices.Contains(words, fmt.Sprintf("r%d", r.id))) {
				r.Tick()
				s.act(r)
			}
		}
	}
}

func (s *scripted) time(shows string) {
	now, err := strconv.ParseUint(shows, 10, 64)
	require.NoError(s, err)
	for _, r := range s.replicas {
		if r.Replica != nil {
			r.SetTime(now)
		}
	}
}

func (s *scripted) readStale(r *actor, allows string) {
	atMost, err := strconv.ParseUint(allows, 10, 64)
	require.NoError(s, err)
	s.staleReads++
	s.say(r, "%v", errorOr(r.ReadStale(s.staleReads, atMost), "is asked for stale read %d", s.staleReads))
	s.act(r)
}

// deliver brings the messages that match, and those that match among what comes of them, in the order in which
// they were sent.
func (s *scripted) deliver(words []string) {
	for range 1000 {
		at := slices.IndexFunc(s.pending, func(m Message) bool { return matches(&m, words) })
		if at < 0 {
			return
		}
		m := s.pending[at]
		s.pending = slices.Delete(s.pending, at, at+1)
		if to := s.replicas[m.To-1]; to.Replica != nil && !to.cut {
			require.NoError(s, to.Step(m))
			s.act(to)
		}
	}
	s.Fatal("messages without an end")
}

func (s *scripted) checkpoint(r *actor) {
	meta, ok := r.MetaAt(r.Status().Applied)
	require.True(s, ok)
	r.state = meta
	r.CheckpointCreated(meta)
	s.say(r, "has checkpoint %d", meta.Op)
	s.act(r)
}

// install ends the transfer of a checkpoint that the replica has asked for.
func (s *scripted) install(r *actor) {
	require.NotNil(s, r.fetch)
	r.state, r.fetch = s.replicas[r.fetch.From-1].state, nil
	s.say(r, "installs checkpoint %d", r.state.Op)
	r.CheckpointInstalled(r.state)
	s.act(r)
}

// act carries out every Ready, in its order, and tells each step.
func (s *scripted) act(r *actor) {
	for r.HasReady() {
		ready := r.Ready()
		s.send(r, &ready, true)
		s.write(r, &ready)
		s.send(r, &ready, false)
		if ready.FetchCheckpoint != nil {
			r.fetch = ready.FetchCheckpoint
			s.say(r, "fetches checkpoint %d of r%d", r.fetch.Meta.Op, r.fetch.From)
		}
		if len(ready.Committed) > 0 && s.apply != nil {
			s.apply(r, ready.Committed)
		} else if len(ready.Committed) > 0 {
			s.say(r, "applies%s", listed("", ready.Committed))
		}
		for _, read := range ready.Reads {
			s.say(r, "answers read %d: %v", read.Token, read.OK)
		}
		for _, read := range ready.StaleReads {
			s.say(r, "answers stale read %d: age %d", read.Token, read.Age)
		}
		for _, dropped := range ready.Dropped {
			s.say(r, "drops its proposals %d to %d", dropped.First, dropped.Last)
		}
		if ready.Leadership != nil {
			s.say(r, "leads view %d: %v", ready.Leadership.View, ready.Leadership.Leading)
		}
		if c := ready.Reconfiguration; c != nil {
			s.say(r, "ends its reconfiguration into epoch %d: %v", c.Epoch, c.Outcome)
		}
		if m := ready.Membership; m != nil {
			s.say(r, "is %v in epoch %d, of %v", r.Status().Status, m.Epoch, m.IDs())
		}
		if h := ready.Handover; h != nil {
			s.say(r, "ends its handover to r%d in view %d: %v", h.To, h.View, h.Outcome)
		}
		r.Advance()
	}
	require.NoError(s, r.Failure())
}

func (s *scripted) send(r *actor, ready *Ready, early bool) {
	for i := range ready.Messages {
		m := &ready.Messages[i].Message
		if ready.Messages[i].BeforePersist != early {
			continue
		}
		lost := ""
		if r.cut || s.replicas[m.To-1].cut || s.replicas[m.To-1].Replica == nil {
			lost = " (lost)"
		} else {
			s.pending = append(s.pending, *m)
		}
		if s.apply == nil {
			fmt.Fprintf(&s.trace, "%s%s\n", m.line(), lost)
		}
	}
}

// write makes durable what a Ready holds, in one step.
func (s *scripted) write(r *actor, ready *Ready) {
	text := ""
	if state := ready.HardState; state != nil {
		r.hard = *state
		if m, err := state.Membership.Decode(); err == nil && m.Epoch > 0 {
			text += fmt.Sprintf(" epoch %d", m.Epoch)
		}
		text += fmt.Sprintf(" view %d last-normal %d commit %d", state.View, state.LastNormalView, state.Commit)
	}
	if ready.Truncate {
		r.log = slices.DeleteFunc(slices.Clone(r.log), func(e Entry) bool { return e.Op > ready.TruncateAbove })
		text += fmt.Sprintf(", nothing above %d", ready.TruncateAbove)
	}
	r.log = append(r.log[:len(r.log):len(r.log)], ready.Entries...)
	if s.apply == nil {
		text += listed(", entries", ready.Entries)
	}
	if ready.TruncateBelow > 0 {
		r.log = slices.DeleteFunc(slices.Clone(r.log), func(e Entry) bool { return e.Op < ready.TruncateBelow })
		text += fmt.Sprintf(", nothing below %d", ready.TruncateBelow)
	}
	if text != "" {
		s.say(r, "writes%s", strings.TrimPrefix(text, ","))
	}
}
