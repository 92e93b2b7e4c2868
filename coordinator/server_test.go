package coordinator

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

func TestOptions(t *testing.T) {
	good := func() Options { return Options{Cluster: theCluster, Layout: layoutMessage()} }
	require.NoError(t, good().Validate())
	require.NoError(t, Options{Cluster: theCluster}.Validate(), "a replica that joins has no layout")
	for name, spoil := range map[string]func(*Options){
		"no cluster":          func(o *Options) { o.Cluster = [16]byte{} },
		"a malformed layout":  func(o *Options) { o.Layout.Slots[0] = 9 },
		"less than nothing":   func(o *Options) { o.WaitingMax = -1 },
		"ticks too far apart": func(o *Options) { o.TickInterval = 2 * time.Second },
	} {
		o := good()
		spoil(&o)
		require.ErrorIs(t, o.Validate(), ErrOptions, name)
		_, err := New(o)
		require.ErrorIs(t, err, ErrOptions, name)
	}
}

func TestFirstPrimaryBootstraps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, nil)
		primary, backup := g.members[0], g.members[1]
		synctest.Wait()
		require.Equal(t, pb.Code_CODE_UNAVAILABLE, (<-primary.ask(timestamps(1), time.Time{})).GetError().GetCode(), "nobody leads")
		g.lead(primary, false)
		response := <-primary.ask(timestamps(3), time.Time{})
		require.Equal(t, uint32(3), response.GetTimestamps().GetCount())
		require.Equal(t, txn.TimestampAt(uint64(time.Now().UnixMilli())), txn.Timestamp(response.GetTimestamps().GetFirst()))
		_, submits := primary.asked()
		require.Equal(t, 2, submits, "the layout and the mark, once each")
		for _, m := range g.members {
			require.NotNil(t, m.server.state.Map(), "everybody applies it")
			require.Equal(t, primary.server.state.Hash(), m.server.state.Hash())
		}
		refusal := (<-backup.ask(timestamps(1), time.Time{})).GetError()
		require.Equal(t, pb.Code_CODE_NOT_PRIMARY, refusal.GetCode())
		require.Equal(t, "c1", refusal.GetPrimaryAddress())
		require.Equal(t, uint64(1), refusal.GetView())

		g.lead(backup, false)
		<-backup.ask(timestamps(1), time.Time{})
		_, submits = backup.asked()
		require.Equal(t, 1, submits, "the mark only: the layout is there")
	})
}

// TestOneRoundForAllThatWait: however many ask while a round is under way, the next one serves them all, and
// begins after each of them asked.
func TestOneRoundForAllThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, nil)
		m := g.members[0]
		g.lead(m, false)
		m.holds(true)
		first := m.ask(timestamps(1), time.Time{})
		var rest []<-chan *pb.Response
		for range 100 {
			rest = append(rest, m.ask(timestamps(2), time.Time{}))
		}
		boundAnswer := m.ask(bound(), time.Time{})
		rounds, _ := m.asked()
		require.Equal(t, 1, rounds)
		m.mu.Lock()
		one := m.held[0]
		m.held = nil
		m.mu.Unlock()
		g.work <- one // the first round only
		last := (<-first).GetTimestamps().GetFirst()
		synctest.Wait()
		require.Empty(t, rest[0], "their round began before they asked")
		rounds, _ = m.asked()
		require.Equal(t, 2, rounds)
		m.holds(false)
		for _, answers := range rest {
			got := (<-answers).GetTimestamps()
			require.Equal(t, last+1, got.GetFirst())
			last = got.GetFirst() + 1
		}
		require.GreaterOrEqual(t, (<-boundAnswer).GetBound().GetBound(), last)
		rounds, _ = m.asked()
		require.Equal(t, 2, rounds)
	})
}

// TestDeposedPrimaryHandsOutNothing: it still believes that it leads, but no round succeeds; and a round that
// succeeded for a view that is over by now hands out nothing either.
func TestDeposedPrimaryHandsOutNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 3, nil)
		old, next := g.members[0], g.members[1]
		g.lead(old, false)
		before := (<-old.ask(timestamps(1), time.Time{})).GetTimestamps().GetFirst()
		g.lead(next, true)
		after := (<-next.ask(timestamps(1), time.Time{})).GetTimestamps().GetFirst()
		require.Greater(t, after, before)
		require.NotNil(t, (<-old.ask(timestamps(1), time.Time{})).GetError(), "deaf to the change of view")

		g.lead(old, false)
		old.holds(true)
		pending := old.ask(timestamps(1), time.Time{})
		old.mu.Lock()
		late := old.held[0]
		old.held = nil
		old.mu.Unlock()
		old.tell(false, g.view)
		synctest.Wait()
		require.NotNil(t, (<-pending).GetError())
		late()
		require.Empty(t, pending, "answered once")
		g.lead(old, false)
		fresh := old.ask(timestamps(1), time.Time{})
		late()
		require.Empty(t, pending, "nor again when it leads the next view")
		require.Empty(t, fresh, "whose round is another one")
		old.holds(false)
		require.NotNil(t, (<-fresh).GetTimestamps())
	})
}

// TestTimestampsRiseOverFailovers, whatever the members' clocks say.
func TestTimestampsRiseOverFailovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		skew := time.Duration(0)
		g := newGroup(t, 3, func(o *Options) {
			mine := skew
			skew -= time.Hour
			o.Now = func() time.Time { return time.Now().Add(mine) }
		})
		last := uint64(0)
		for round := range 6 {
			m := g.members[round%3]
			g.lead(m, false)
			for range 5 {
				got := (<-m.ask(timestamps(10), time.Time{})).GetTimestamps()
				require.Greater(t, got.GetFirst(), last)
				last = got.GetFirst() + 9
				require.LessOrEqual(t, last, (<-m.ask(bound(), time.Time{})).GetBound().GetBound())
				time.Sleep(time.Second)
			}
		}
	})
}

// TestMarkIsRaisedInTheBackground: in an hour of service no request waits for it.
func TestMarkIsRaisedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, nil)
		m := g.members[0]
		g.lead(m, false)
		for range 3600 {
			require.NotNil(t, (<-m.ask(timestamps(1), time.Time{})).GetTimestamps())
			time.Sleep(time.Second)
		}
		require.Zero(t, m.server.counts.lowMarks.Load())
		_, submits := m.asked()
		require.Less(t, submits, 2600, "about one in a second and a half")
	})
}

// TestLowMark: where the mark cannot be raised in time, requests wait until it is, or until their time is over.
func TestLowMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jump := time.Duration(0)
		g := newGroup(t, 1, func(o *Options) {
			o.Now = func() time.Time { return time.Now().Add(jump) }
			o.TickInterval = time.Second
		})
		m := g.members[0]
		g.lead(m, false)
		<-m.ask(timestamps(1), time.Time{})
		synctest.Wait()
		jump = time.Minute
		m.fails(nil, replication.ErrOutcomeUnknown, replication.ErrOverloaded) // the round is well, raising is not
		hurried := m.ask(timestamps(1), time.Now().Add(500*time.Millisecond))
		patient := m.ask(timestamps(1), time.Time{})
		require.Equal(t, pb.Code_CODE_DEADLINE, (<-hurried).GetError().GetCode())
		require.Greater(t, txn.Timestamp((<-patient).GetTimestamps().GetFirst()).Millis(), uint64(time.Now().Add(30*time.Second).UnixMilli()))
		require.Positive(t, m.server.counts.lowMarks.Load())
	})
}

// TestRoundThatHangs: the group does not answer; requests do not wait longer than they want to.
func TestRoundThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, nil)
		m := g.members[0]
		g.lead(m, false)
		m.holds(true)
		began := time.Now()
		inRound, behind := m.ask(timestamps(1), began.Add(time.Second)), m.ask(bound(), began.Add(2*time.Second))
		require.Equal(t, pb.Code_CODE_DEADLINE, (<-inRound).GetError().GetCode())
		require.InDelta(t, time.Second, time.Since(began), float64(DefaultTickInterval))
		require.Equal(t, pb.Code_CODE_DEADLINE, (<-behind).GetError().GetCode())
		patient := m.ask(timestamps(1), time.Time{})
		m.holds(false)
		require.NotNil(t, (<-patient).GetTimestamps())
		require.Empty(t, inRound)
	})
}

func TestRequestsThatMakeNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, func(o *Options) { o.WaitingMax = 5 })
		m := g.members[0]
		g.lead(m, false)
		long := string(make([]byte, txn.OIDBytesMax+1))
		many := whoServes(make([]string, txn.WhoServesOIDsMax+1)...)
		for i, c := range []struct {
			request *pb.Request
			code    pb.Code
		}{
			{&pb.Request{}, pb.Code_CODE_INVALID_ARGUMENT},
			{&pb.Request{Body: &pb.Request_Read{}}, pb.Code_CODE_INVALID_ARGUMENT},
			{timestamps(0), pb.Code_CODE_INVALID_ARGUMENT},
			{timestamps(txn.TimestampsMax + 1), pb.Code_CODE_LIMIT},
			{whoServes(""), pb.Code_CODE_LIMIT},
			{whoServes("x", long), pb.Code_CODE_LIMIT},
			{many, pb.Code_CODE_LIMIT},
			{report(0, 1, 1, "c1"), pb.Code_CODE_INVALID_ARGUMENT},
			{report(9, 1, 1, "a1"), pb.Code_CODE_INVALID_ARGUMENT},
			{report(1, 1, 9, "a1"), pb.Code_CODE_INVALID_ARGUMENT},
			{report(1, 1, 1, "a2"), pb.Code_CODE_INVALID_ARGUMENT},
			{&pb.Request{Body: &pb.Request_ReportPrimary{}}, pb.Code_CODE_INVALID_ARGUMENT},
			{&pb.Request{Body: &pb.Request_Timestamps{}}, pb.Code_CODE_INVALID_ARGUMENT},
		} {
			refusal := (<-m.ask(c.request, time.Time{})).GetError()
			require.Equal(t, c.code, refusal.GetCode(), "request %d", i)
			require.NotEmpty(t, refusal.GetMessage())
			if c.code == pb.Code_CODE_LIMIT {
				require.NotEmpty(t, refusal.GetLimitName())
				require.NotEqual(t, refusal.GetLimit(), refusal.GetActual())
			}
		}
		m.holds(true)
		for range 5 {
			m.ask(timestamps(1), time.Time{})
		}
		require.Equal(t, pb.Code_CODE_OVERLOADED, (<-m.ask(timestamps(1), time.Time{})).GetError().GetCode())
		m.holds(false)
	})
}

func TestWhoServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2, nil)
		m := g.members[0]
		g.lead(m, false)
		require.Nil(t, (<-m.ask(report(1, 4, 2, "a2"), time.Time{})).GetError())
		require.Nil(t, (<-m.ask(report(1, 3, 1, "a1"), time.Time{})).GetError(), "older news are heard and not believed")
		var oids []string
		for i := range 50 {
			oids = append(oids, fmt.Sprint(i))
		}
		answer := (<-m.ask(whoServes(oids...), time.Time{})).GetWhoServes()
		require.Equal(t, uint64(1), answer.GetMapVersion())
		for i, shard := range answer.GetShards() {
			require.Equal(t, m.server.layout.Locate(oids[i]), shard)
		}
		require.Len(t, answer.GetGroups(), 2)
		require.Equal(t, "b3", answer.GetGroups()[1].GetMembers()[2].GetAddress())
		require.Len(t, answer.GetPrimaries(), 1)
		require.Equal(t, "a2", answer.GetPrimaries()[0].GetAddress())
		for _, request := range []*pb.Request{whoServes("x"), report(1, 9, 1, "a1"), bound()} {
			require.Equal(t, pb.Code_CODE_NOT_PRIMARY, (<-g.members[1].ask(request, time.Time{})).GetError().GetCode())
		}
	})
}

func TestCloseAnswersWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 1, nil)
		m := g.members[0]
		g.lead(m, false)
		m.holds(true)
		inRound, waiting := m.ask(timestamps(1), time.Time{}), m.ask(bound(), time.Time{})
		require.NoError(t, m.server.Close())
		for _, answers := range []<-chan *pb.Response{inRound, waiting, m.ask(timestamps(1), time.Time{})} {
			require.Equal(t, pb.Code_CODE_UNAVAILABLE, (<-answers).GetError().GetCode())
		}
		m.holds(false)
		require.NoError(t, m.server.Close())
	})
}

func TestDescribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t, 2, nil)
		g.lead(g.members[0], false)
		<-g.members[0].ask(timestamps(7), time.Time{})
		var primary, backup pb.ReplicaStatus
		g.members[0].server.Describe(&primary, true)
		g.members[1].server.Describe(&backup, true)
		require.True(t, primary.GetServing())
		require.False(t, backup.GetServing())
		require.Equal(t, primary.GetStateHash(), backup.GetStateHash())
		require.Equal(t, primary.GetApplied(), backup.GetApplied())
		require.Equal(t, uint64(7), primary.GetCounters()["timestamps"])
		require.Equal(t, uint64(1), primary.GetCounters()["rounds"])
		require.Equal(t, uint64(1), backup.GetCounters()["map_version"])
	})
}
