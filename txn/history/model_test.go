package history

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// world is a small random model: two shards with three objects, a few transactions and views whose steps
// interleave at random, proposals that linger between pre-validation and the log, changes of primary, and
// horizons that move. At the end what committed must be explained by the order of timestamps.
type world struct {
	t      testing.TB
	random *rand.Rand
	clock  txn.Timestamp
	shards map[txn.ShardID]*modelShard
	actors []actor
	done   []*modelTxn
	views  []*modelView
	broken uint64
}

// actor takes one step at a time and reports when it is finished.
type actor interface {
	step(w *world) (finished bool)
}

type modelShard struct {
	*shard
	lingering []modelOperation // admitted, or otherwise on its way, not yet in the log
	queue     []modelOperation // logged, not yet applied
	leadNext  uint64           // number of the Lead on its way; 0 when none is
}

type modelOperation struct {
	operation Operation
	applied   func(Result)
}

var modelObjects = []string{"x", "y", "z"}

func shardOf(oid string) txn.ShardID {
	if oid == "z" {
		return 2
	}
	return 1
}

func newWorld(t testing.TB, seed uint64, omitted ...omit.Rule) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 1)), clock: 10, shards: map[txn.ShardID]*modelShard{}}
	for _, id := range []txn.ShardID{1, 2} {
		w.shards[id] = &modelShard{shard: newShardNamed(t, id, omitted...)}
	}
	for i := range 3 + w.random.IntN(3) {
		w.actors = append(w.actors, newModelTxn(w, i+1))
	}
	for range w.random.IntN(3) {
		w.actors = append(w.actors, &modelView{oids: w.someObjects()})
	}
	return w
}

func (w *world) now() txn.Timestamp {
	w.clock++
	return w.clock
}

func (w *world) chance(percent int) bool { return w.random.IntN(100) < percent }

// someObjects draws one to three objects, ascending.
func (w *world) someObjects() []string {
	for {
		oids := slices.DeleteFunc(slices.Clone(modelObjects), func(string) bool { return w.chance(50) })
		if len(oids) > 0 {
			return oids
		}
	}
}

// run lets the actors and shards take steps until all are finished, and returns what is wrong with the
// history, "" if nothing is.
func (w *world) run() string {
	for len(w.actors) > 0 || w.busy() {
		if i := w.random.IntN(len(w.actors) + 2); i < len(w.actors) {
			if w.actors[i].step(w) {
				w.actors = slices.Delete(w.actors, i, i+1)
			}
			continue
		}
		w.shards[txn.ShardID(1+w.random.IntN(2))].step(w)
	}
	for _, id := range []txn.ShardID{1, 2} {
		w.broken += w.shards[id].Counters().InvariantBreaks
	}
	return w.judge()
}

func (w *world) busy() bool {
	for _, id := range []txn.ShardID{1, 2} {
		if s := w.shards[id]; len(s.lingering)+len(s.queue) > 0 || s.leadNext != 0 {
			return true
		}
	}
	return false
}

func (s *modelShard) step(w *world) {
	switch {
	case len(s.lingering) > 0 && w.chance(40):
		i := w.random.IntN(len(s.lingering))
		s.queue = append(s.queue, s.lingering[i])
		s.lingering = slices.Delete(s.lingering, i, i+1)
	case len(s.queue) > 0 && w.chance(60):
		next := s.queue[0]
		s.queue = s.queue[1:]
		if r := s.apply(next.operation); next.applied != nil {
			next.applied(r)
		}
	case s.leadNext == 0 && w.chance(3):
		s.changePrimary(w)
	case s.leadNext == 0 && w.chance(3):
		at := w.clock - min(w.clock, txn.Timestamp(w.random.IntN(8)))
		s.queue = append(s.queue, modelOperation{operation: Advance{
			Lead: s.LeadNumber(), Threshold: at, VersionHorizon: at - min(at, txn.Timestamp(w.random.IntN(3))),
		}})
	}
}

// changePrimary lets a new primary take over: stamps and in-flight list are gone, its floor is fresh. A floor
// is fetched before the Lead is logged, and the front serves once it is applied. The old primary may not have
// noticed until then, and goes on admitting.
func (s *modelShard) changePrimary(w *world) {
	if w.chance(50) {
		s.front.Unlead()
	}
	s.leadNext = s.LeadNumber() + 1
	lead := Lead{Number: s.leadNext, View: s.leadNext, Floor: w.now()}
	s.queue = append(s.queue, modelOperation{operation: lead, applied: func(Result) {
		s.leadNext = 0
		s.front.Lead(s.LeadNumber())
	}})
}

// modelView reads objects as of one timestamp.
type modelView struct {
	oids   []string
	at     txn.Timestamp
	raised map[txn.ShardID]uint64 // the Lead under which the stamps were raised
	seen   map[string]txn.Timestamp
	failed bool
}

func (v *modelView) step(w *world) bool {
	if v.at == 0 {
		v.at, v.raised, v.seen = w.now(), map[txn.ShardID]uint64{}, map[string]txn.Timestamp{}
		w.views = append(w.views, v)
		return false
	}
	for _, oid := range v.oids {
		if _, ok := v.seen[oid]; ok {
			continue
		}
		s := w.shards[shardOf(oid)]
		lead, raised := v.raised[shardOf(oid)]
		switch {
		case !raised && s.front.Leading() && s.leadNext == 0: // as a round of the group confirms
			s.front.RaiseSnapStamps(v.oids, v.at)
			v.raised[shardOf(oid)] = s.front.LeadNumber()
		case raised && (!s.front.Leading() || lead != s.front.LeadNumber()):
			v.failed = true
			return true
		case raised && len(s.front.BlockersAt([]string{oid}, v.at)) == 0:
			value, err := s.ReadAt(oid, v.at)
			if err != nil {
				v.failed = true
				return true
			}
			v.seen[oid] = value.Version
		}
		return false
	}
	return true
}

// judge replays what committed in the order of timestamps.
func (w *world) judge() string {
	slices.SortFunc(w.done, func(a, b *modelTxn) int { return compareAttempts(a.attempt, b.attempt) })
	current := map[string]txn.Timestamp{}
	versionsAt := func(oid string, ts txn.Timestamp) (newest txn.Timestamp) {
		for _, t := range w.done {
			if t.attempt.TS <= ts && slices.Contains(t.writes, oid) {
				newest = t.attempt.TS
			}
		}
		return newest
	}
	for _, t := range w.done {
		for _, oid := range t.reads {
			if t.seen[oid].Version != current[oid] {
				return fmt.Sprintf("%v read %s@%d, in the order of timestamps it is @%d", t.attempt, oid, t.seen[oid].Version, current[oid])
			}
		}
		for _, oid := range t.writes {
			current[oid] = t.attempt.TS
		}
	}
	for _, v := range w.views {
		for _, oid := range v.oids {
			if want := versionsAt(oid, v.at); !v.failed && v.seen[oid] != want {
				return fmt.Sprintf("a view at %d saw %s@%d, it is @%d", v.at, oid, v.seen[oid], want)
			}
		}
	}
	return ""
}

// TestRandomHistoriesAreSerializable runs the model with all rules, and then without each of those that a
// random schedule can miss: then it must find damage.
func TestRandomHistoriesAreSerializable(t *testing.T) {
	commits, attempts := 0, uint32(0)
	for seed := range uint64(3_000) {
		w := newWorld(t, seed)
		require.Empty(t, w.run(), "seed %d", seed)
		require.Zero(t, w.broken, "seed %d", seed)
		for _, id := range []txn.ShardID{1, 2} {
			check(t, w.shards[id].State)
			checkFront(t, w.shards[id].front)
			require.Zero(t, w.shards[id].Counters().Prepared)
			require.Zero(t, w.shards[id].front.InFlight())
		}
		commits += len(w.done)
		for _, d := range w.done {
			attempts = max(attempts, d.attempt.Number)
		}
	}
	t.Logf("%d commits, up to attempt %d", commits, attempts)
	require.Greater(t, commits, 3_000)
	require.Greater(t, attempts, uint32(1))
}

func TestRandomHistoriesMissTheRules(t *testing.T) {
	for name, omitted := range map[string][]omit.Rule{
		"3b":                   {RuleStaleRead, RuleInstalledAfter},
		"3c":                   {RuleConflictWithPrepared},
		"4a, read stamps":      {RuleReadStamp},
		"4a, raised at commit": {RuleStampsRaisedAtCommit},
		"4a, snapshot stamps":  {RuleSnapStamp},
		"4b":                   {RulePreparedReader},
		"absent keys":          {RuleAbsent},
		"in flight":            {RuleInFlight},
		"as printed":           asPrinted(),
		"Lead":                 {RuleLead},
		"floor":                {RuleFloor},
	} {
		t.Run(name, func(t *testing.T) {
			const seeds = 20_000
			for seed := range uint64(seeds) {
				if wrong := newWorld(t, seed, omitted...).run(); wrong != "" {
					t.Logf("seed %d: %s", seed, wrong)
					return
				}
			}
			require.Fail(t, "nothing wrong found", "%d seeds", seeds)
		})
	}
}
