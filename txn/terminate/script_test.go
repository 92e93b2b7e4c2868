package terminate

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// A script is what the driver hands in and what the machine must answer, line by line; the first line's input
// is "start".
//
//	prepared 2      a Reply with this status to the last request sent to shard 2; prepared 2#3 answers the send
//	                with copy number 3
//	home 1          as prepared 1, naming the participants 1 and 2
//	later 1         likewise, but speaking of attempt 2
//	lost 2          a Failed
//	timer           the oldest timer
//	cancelled       a Cancelled
type script []line

type line struct{ in, out string }

var asked = txn.Attempt{ID: txn.TxnID{Sequence: 7, Home: 1}, Number: 1, TS: 10}

type player struct {
	machine *Machine
	sends   []Send
	timers  []Timer
}

// play returns the first difference between what the machine does and what the script says.
func play(machine *Machine, script script) error {
	p := &player{machine: machine}
	for i, line := range script {
		var actions []Action
		if line.in == "start" {
			actions = machine.Start()
		} else {
			event, err := p.event(line.in)
			if err != nil {
				return fmt.Errorf("line %d: %w", i, err)
			}
			actions = machine.Step(event)
		}
		if got := p.show(actions); got != line.out {
			return fmt.Errorf("line %d, %s:\n got %s\nwant %s", i, line.in, got, line.out)
		}
	}
	return nil
}

func (p *player) show(actions []Action) string {
	var lines []string
	for _, action := range actions {
		switch action := action.(type) {
		case Send:
			p.sends = append(p.sends, action)
			text := fmt.Sprintf("%v %d", action.Kind, action.Shard)
			if action.EveryLater {
				text += " and later"
			}
			if action.Attempt.Number > 1 {
				text += fmt.Sprintf(" attempt %d", action.Attempt.Number)
			}
			lines = append(lines, text)
		case WantTimer:
			p.timers = append(p.timers, Timer{Token: action.Token})
			lines = append(lines, fmt.Sprintf("WantTimer %d", action.Millis))
		case Answer:
			lines = append(lines, fmt.Sprintf("Answer %v", action.Outcome.Kind))
		case Done:
			text := "Done"
			if action.Contradiction {
				text += " contradiction"
			}
			lines = append(lines, text)
		}
	}
	return strings.Join(lines, ", ")
}

func (p *player) event(in string) (Event, error) {
	words := strings.Fields(in)
	switch words[0] {
	case "timer":
		if len(p.timers) == 0 {
			return nil, fmt.Errorf("no timer")
		}
		timer := p.timers[0]
		p.timers = p.timers[1:]
		return timer, nil
	case "cancelled":
		return Cancelled{}, nil
	}
	send, err := p.send(words[1])
	if err != nil {
		return nil, err
	}
	verdict := txn.Verdict{Attempt: send.Attempt}
	switch words[0] {
	case "lost":
		return Failed{Send: send}, nil
	case "home":
		verdict.Status, verdict.Participants = txn.StatusPrepared, []txn.ShardID{1, 2}
		return Reply{Send: send, Verdict: verdict}, nil
	case "later":
		verdict.Status, verdict.Participants = txn.StatusPrepared, []txn.ShardID{1, 2}
		verdict.Attempt.Number = 2
		return Reply{Send: send, Verdict: verdict}, nil
	}
	for s := txn.StatusUnknown; s <= txn.StatusForgotten; s++ {
		if s.String() == words[0] {
			verdict.Status = s
			return Reply{Send: send, Verdict: verdict}, nil
		}
	}
	return nil, fmt.Errorf("no such event: %s", in)
}

func (p *player) send(which string) (Send, error) {
	shard, copied, exact := strings.Cut(which, "#")
	for i := len(p.sends) - 1; i >= 0; i-- {
		send := p.sends[i]
		if fmt.Sprint(send.Shard) == shard && (!exact || fmt.Sprint(send.Copy) == copied) {
			return send, nil
		}
	}
	return Send{}, fmt.Errorf("nothing was sent to %s", which)
}

// terminator, redrive and outcome are the three ways to make a machine.
func terminator(t *testing.T, options Options) *Machine {
	t.Helper()
	m, err := New(options, 1, asked, []txn.ShardID{1, 2})
	require.NoError(t, err)
	return m
}

func redrive(t *testing.T, options Options) *Machine {
	t.Helper()
	m, err := NewRedrive(options, 1, asked, []txn.ShardID{1, 2})
	require.NoError(t, err)
	return m
}

func outcome(t *testing.T, options Options) *Machine {
	t.Helper()
	m, err := NewOutcome(options, asked)
	require.NoError(t, err)
	return m
}
