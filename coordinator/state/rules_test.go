package state

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// primary is one replica: its own oracle over the state that all share.
type primary struct {
	state  *State
	oracle *Oracle
}

func newPrimary(options Options, state *State) *primary {
	p := &primary{state: state, oracle: NewOracle(options)}
	p.oracle.Lead(state.Mark())
	return p
}

// raise has the mark that is needed replicated and applied.
func (p *primary) raise(now uint64) {
	if mark, need := p.oracle.NeedMark(now); need {
		_ = p.state.Apply(RaiseMark{Mark: mark}) // a refusal leaves a higher mark
		p.oracle.Raised(p.state.Mark())
	}
}

func (p *primary) next(now uint64, count uint32) (txn.Timestamp, error) {
	p.raise(now)
	return p.oracle.Allocate(now, count)
}

// changed is a state with a layout and changes of its groups' members.
func changed(options Options, groups ...Group) *State {
	s := New(options)
	_ = s.Apply(Bootstrap{Map: layout()})
	for _, group := range groups {
		_ = s.Apply(ChangeGroup{Group: group})
	}
	return s
}

// epoch is a group with these replicas.
func epoch(id uint32, number uint64, replicas ...uint32) Group {
	group := Group{ID: id, Epoch: number}
	for _, replica := range replicas {
		group.Members = append(group.Members, Member{Replica: replica, Address: fmt.Sprintf("%c:1", 'a'+replica-1)})
	}
	return group
}

// scenarios each show what one rule is there for: they return an error if it is broken.
var scenarios = map[omit.Rule]func(Options) error{
	RuleFirstLayout: func(options Options) error {
		s := New(options)
		first, second := layout(), layout()
		second.Slots[7] = 2
		if err := s.Apply(Bootstrap{Map: first}); err != nil {
			return err
		}
		if err := s.Apply(Bootstrap{Map: second}); err == nil || s.Map() != first {
			return errors.New("a second layout replaced the first: shards that own slots by the first lose them")
		}
		return nil
	},
	RuleMarkRises: func(options Options) error {
		s := New(options)
		_ = s.Apply(RaiseMark{Mark: 100})
		if err := s.Apply(RaiseMark{Mark: 60}); err == nil || s.Mark() != 100 {
			return fmt.Errorf("an operation of an earlier primary took the mark back to %d", s.Mark())
		}
		return nil
	},
	RuleBelowMark: func(options Options) error {
		s := New(options)
		p := newPrimary(options, s)
		p.raise(1000)
		first, err := p.oracle.Allocate(1001+aheadMillis, 1) // the clock ran on and no mark was raised
		if err == nil && first > s.Mark() {
			return fmt.Errorf("%d was handed out above the mark %d", first, s.Mark())
		}
		if !errors.Is(err, ErrMark) {
			return errors.Join(errors.New("not refused for the mark"), err)
		}
		return nil
	},
	RuleAboveInherited: func(options Options) error {
		s := New(options)
		before, err := newPrimary(options, s).next(500_000, 10)
		if err != nil {
			return err
		}
		after, err := newPrimary(options, s).next(1000, 1) // its clock lags far behind
		if err != nil {
			return err
		}
		if after < before+10 {
			return fmt.Errorf("%d after %d: the next primary went back", after, before+9)
		}
		return nil
	},
	RuleIncreasing: func(options Options) error {
		p := newPrimary(options, New(options))
		last := txn.Timestamp(0)
		for _, now := range []uint64{2000, 2000, 1999, 5, 2001, 2001} { // stands still, jumps back
			first, err := p.next(now, 3)
			if err != nil {
				return err
			}
			if first <= last {
				return fmt.Errorf("%d after %d at %d ms", first, last, now)
			}
			last = first + 2
		}
		return nil
	},
	RuleOwnLead: func(options Options) error {
		p := newPrimary(options, New(options))
		p.raise(1000)
		p.oracle.Unlead()
		if _, err := p.oracle.Allocate(1000, 1); !errors.Is(err, ErrNotLeading) {
			return errors.Join(errors.New("a replica that does not lead handed out a timestamp"), err)
		}
		return nil
	},
	RuleCount: func(options Options) error {
		p := newPrimary(options, New(options))
		p.raise(1000)
		for _, count := range []uint32{0, txn.TimestampsMax + 1, math.MaxUint32} {
			if _, err := p.oracle.Allocate(1000, count); !errors.Is(err, ErrCount) {
				return errors.Join(fmt.Errorf("a request for %d timestamps was not refused as one", count), err)
			}
		}
		for _, count := range []uint32{1, txn.TimestampsMax} {
			if _, err := p.oracle.Allocate(1000, count); err != nil {
				return err
			}
		}
		return nil
	},
	RuleRange: func(options Options) error {
		s, err := Restore(options, math.MaxUint64-5, nil)
		if err != nil {
			return err
		}
		p := newPrimary(options, s)
		if _, err := p.next(1000, 5); err != nil {
			return fmt.Errorf("the last five: %w", err)
		}
		if first, err := p.next(1000, 1); !errors.Is(err, ErrExhausted) {
			return errors.Join(fmt.Errorf("timestamps start again from %d", first), err)
		}
		return nil
	},
	RuleLaterEpoch: func(options Options) error {
		s := changed(options, epoch(1, 2, 2, 3, 4))
		_ = s.Apply(ChangeGroup{Group: epoch(1, 1, 1, 2, 3)}) // the report of an earlier epoch's primary was on its way for long
		if got := s.Map().Group(1); got.Epoch != 2 {
			return fmt.Errorf("members of epoch %d took the place of those of epoch 2", got.Epoch)
		}
		return nil
	},
	RuleChangeIsNews: func(options Options) error {
		before := changed(options).Map()
		after := changed(options, epoch(2, 1, 2, 3, 4)).Map()
		if after.Version <= before.Version {
			return fmt.Errorf("who has the map of version %d takes that of version %d for known", before.Version, after.Version)
		}
		return nil
	},
	RuleReporterBelongs: func(options Options) error {
		p, s := NewPrimaries(options), changed(options)
		named := epoch(1, 1, 2, 3)
		change, err := p.Check(s.Map(), Primary{Group: 1, Epoch: 1, View: 7, Replica: 9, Address: "nine:1"}, &named)
		if !errors.Is(err, ErrStranger) || change != nil {
			return errors.Join(errors.New("a stranger changed the members of a group"), err)
		}
		return nil
	},
	RulePresentEpoch: func(options Options) error {
		p, s := NewPrimaries(options), changed(options)
		if _, err := p.Report(s.Map(), Primary{Group: 1, View: 7, Replica: 1, Address: "a:1"}); err != nil {
			return err
		}
		p.Keep(changed(options, epoch(1, 1, 2, 3, 4)).Map())
		if known, found := p.Of(1); found {
			return fmt.Errorf("clerks are told of the primary of epoch %d, which is over", known.Epoch)
		}
		return nil
	},
}

func TestEveryRuleIsThereForSomething(t *testing.T) {
	require.Len(t, scenarios, int(ruleCount))
	for rule := range ruleCount {
		t.Run(fmt.Sprint(rule), func(t *testing.T) {
			require.NoError(t, scenarios[rule](Options{}))
			require.Error(t, scenarios[rule](Options{Omit: omit.Of(rule)}), "the rule is not missed")
		})
	}
}
