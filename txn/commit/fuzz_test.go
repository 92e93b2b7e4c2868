package commit

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// hostile drives a machine with events that bytes choose: answers in any order, repeated, contradictory, to
// requests of long ago. It keeps count of what the machine owes and is owed.
type hostile struct {
	t       *testing.T
	machine *Machine
	sends   []Send
	open    []Send
	timers  []Timer
	stamp   txn.Timestamp
	wants   bool
	answers []Outcome
	done    bool
}

func (h *hostile) take(actions []Action) {
	require.False(h.t, h.done && len(actions) > 0, "an action after Done")
	require.Less(h.t, len(actions), 20)
	for _, action := range actions {
		switch action := action.(type) {
		case Send:
			h.sends = append(h.sends, action)
			if action.Kind != EndTxn {
				h.open = append(h.open, action)
			}
		case WantTimestamp:
			h.wants = true
		case WantTimer:
			h.timers = append(h.timers, Timer{Token: action.Token})
		case Answer:
			h.answers = append(h.answers, action.Outcome)
		case Done:
			h.done = true
		}
	}
	require.LessOrEqual(h.t, len(h.answers), 1)
	require.False(h.t, h.done && len(h.answers) == 0, "Done without an Answer")
}

func (h *hostile) step(what, which, how byte) {
	switch {
	case what < 16:
		h.stamp += txn.Timestamp(how)
		h.wants = false
		h.take(h.machine.Step(Timestamp{TS: h.stamp}))
	case what < 32:
		h.take(h.machine.Step(Timer{Token: uint64(which % 16)}))
	case what < 34:
		h.take(h.machine.Step(Cancelled{}))
	case len(h.sends) == 0:
	case what < 80:
		send := h.sends[int(which)%len(h.sends)]
		h.close(send)
		h.take(h.machine.Step(Failed{Send: send, Certain: how&1 != 0, WrongShard: how&6 == 6, Hopeless: how&24 == 24}))
	default:
		send := h.sends[int(which)%len(h.sends)]
		h.close(send)
		status := txn.Status(how % 7) // one more than there are
		h.take(h.machine.Step(Reply{Send: send, Verdict: txn.Verdict{Status: status, Reason: txn.Reason(how / 7 % 14), Attempt: send.Attempt}}))
	}
}

func (h *hostile) close(send Send) {
	h.open = slices.DeleteFunc(h.open, func(other Send) bool { return other.Copy == send.Copy })
}

// finish gives up, lets all requests fail and all timers fire: the machine has to come to an end.
func (h *hostile) finish() {
	h.take(h.machine.Step(Cancelled{}))
	for range 10_000 {
		switch {
		case len(h.open) > 0:
			send := h.open[0]
			h.open = h.open[1:]
			h.take(h.machine.Step(Failed{Send: send}))
		case len(h.timers) > 0:
			timer := h.timers[0]
			h.timers = h.timers[1:]
			h.take(h.machine.Step(timer))
		default:
			require.True(h.t, h.done, "nothing is outstanding, and it is not done: %v", h.machine)
			return
		}
	}
	require.Fail(h.t, "no end", "%v", h.machine)
}

func playHostile(t *testing.T, data []byte) Outcome {
	if len(data) < 3 {
		return Outcome{}
	}
	parts := []Part{{Shard: 1}, {Shard: 2}, {Shard: 3}}[:1+data[0]%3]
	machine, err := New(Options{AttemptsMax: 1 + int(data[1]%4), CopiesMax: 1 + int(data[2]%3), TriesMax: 3}, txn.TxnID{Home: 1}, parts, 1)
	require.NoError(t, err)
	h := &hostile{t: t, machine: machine}
	h.take(machine.Start())
	for data = data[3:]; len(data) >= 3; data = data[3:] {
		h.step(data[0], data[1], data[2])
	}
	h.finish()
	return h.answers[0]
}

func FuzzStep(f *testing.F) {
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{1, 1, 1, 0, 0, 5, 100, 0, 1, 100, 1, 1, 100, 2, 2, 100, 3, 2})
	f.Fuzz(func(t *testing.T, data []byte) { playHostile(t, data) })
}

func TestHostileEvents(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	ends := map[OutcomeKind]int{}
	for range 8_000 {
		data := make([]byte, 3+3*random.IntN(40))
		for i := range data {
			data[i] = byte(random.Uint32())
		}
		data = append(data[:3:3], append([]byte{0, 0, 9}, data[3:]...)...)
		ends[playHostile(t, data).Kind]++
	}
	t.Log(ends)
	for _, kind := range []OutcomeKind{Committed, Aborted, Unknown} {
		require.Greater(t, ends[kind], 200, "%v", kind)
	}
}
