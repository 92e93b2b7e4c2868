package commit

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// A script is what the driver hands in and what the machine must answer, line by line:
//
//	timestamp 10      a Timestamp
//	prepared 2        a Reply with this status to the last request sent to shard 2; refused:stale read 2 adds
//	                  the reason, prepared 2#3 answers the send with copy number 3
//	lost 2, certain 2, wrongshard 2, hopeless 2
//	                  a Failed, with the same choice of copy
//	timer             the oldest timer
//	cancelled         a Cancelled
type script []line

type line struct{ in, out string }

// player runs scripts against one machine.
type player struct {
	machine *Machine
	sends   []Send
	timers  []Timer
}

func newPlayer(t *testing.T, options Options, shards ...txn.ShardID) *player {
	t.Helper()
	parts := make([]Part, 0, len(shards))
	for _, shard := range shards {
		parts = append(parts, Part{Shard: shard, Writes: []txn.WriteEntry{{OID: fmt.Sprint("x", shard), Kind: txn.Put}}})
	}
	machine, err := New(options, txn.TxnID{Sequence: 7, Home: shards[0]}, parts, 3)
	require.NoError(t, err)
	return &player{machine: machine}
}

// play returns the first difference between what the machine does and what the script says.
func play(t *testing.T, options Options, shards []txn.ShardID, script script) error {
	t.Helper()
	p := newPlayer(t, options, shards...)
	if got := p.show(p.machine.Start()); got != "WantTimestamp" {
		return fmt.Errorf("start: %s", got)
	}
	for i, line := range script {
		event, err := p.event(line.in)
		if err != nil {
			return fmt.Errorf("line %d: %w", i, err)
		}
		if got := p.show(p.machine.Step(event)); got != line.out {
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
			if action.Attempt.Number > 1 {
				text += fmt.Sprintf(" attempt %d", action.Attempt.Number)
			}
			lines = append(lines, text)
		case WantTimestamp:
			lines = append(lines, "WantTimestamp")
		case WantTimer:
			p.timers = append(p.timers, Timer{Token: action.Token})
			lines = append(lines, fmt.Sprintf("WantTimer %d", action.Millis))
		case Answer:
			text := fmt.Sprintf("Answer %v", action.Outcome.Kind)
			if action.Outcome.Verdict.Reason != txn.ReasonNone {
				text += fmt.Sprintf(" (%v)", action.Outcome.Verdict.Reason)
			}
			if action.Outcome.Rerun {
				text += " rerun"
			}
			if action.Outcome.Forgotten {
				text += " forgotten"
			}
			lines = append(lines, text)
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
	switch word, rest, _ := strings.Cut(in, " "); word {
	case "timestamp":
		stamp, err := strconv.ParseUint(rest, 10, 64)
		return Timestamp{TS: txn.Timestamp(stamp)}, err
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
	i := strings.LastIndex(in, " ")
	send, err := p.send(in[i+1:])
	if err != nil {
		return nil, err
	}
	switch what := in[:i]; what {
	case "lost":
		return Failed{Send: send}, nil
	case "certain":
		return Failed{Send: send, Certain: true}, nil
	case "wrongshard":
		return Failed{Send: send, WrongShard: true}, nil
	case "hopeless":
		return Failed{Send: send, Hopeless: true}, nil
	default:
		verdict, err := parseVerdict(what)
		verdict.Attempt = send.Attempt
		return Reply{Send: send, Verdict: verdict}, err
	}
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

func parseVerdict(what string) (txn.Verdict, error) {
	status, reason, _ := strings.Cut(what, ":")
	for s := txn.StatusUnknown; s <= txn.StatusForgotten; s++ {
		if s.String() != status {
			continue
		}
		for r := txn.ReasonNone; r <= txn.Invariant; r++ {
			if r.String() == reason || reason == "" {
				return txn.Verdict{Status: s, Reason: r}, nil
			}
		}
	}
	return txn.Verdict{}, fmt.Errorf("no such verdict: %s", what)
}
