package route_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// memory is what a Router has given to be kept.
type memory struct {
	mu        sync.Mutex
	epoch     uint64
	addresses []string
}

func (m *memory) keep(epoch uint64, addresses []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch, m.addresses = epoch, addresses
}

func (m *memory) get() (uint64, []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epoch, m.addresses
}

// replaced is the map with other members of shard 1, in an epoch, at the addresses; that of the last is a witness.
func replaced(version, epoch uint64, addresses ...string) *pb.ShardMap {
	m := theMap(version)
	m.Shards[0] = &pb.Group{Id: 1, Epoch: epoch}
	for i, address := range addresses {
		m.Shards[0].Members = append(m.Shards[0].Members, &pb.Member{Replica: uint32(epoch) + uint32(i) + 1, Address: address, Witness: i == len(addresses)-1})
	}
	return m
}

// TestMembersAreReplaced, all of them: whoever pauses goes to the newcomers at once, and those who have left are left
// alone. Nobody asks a witness.
func TestMembersAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, r := start(t, "", nil)
		gone := deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY})
		old := []*fakeNode{w.node("a", gone), w.node("b", gone), w.node("c", gone)}
		newcomer, other, witness := w.node("d", echo), w.node("e", echo), w.node("f", echo)
		waiting := send(r, read("x"))
		time.Sleep(10 * time.Second)
		require.Empty(t, waiting, "those who are known know nobody")
		before := 0
		for _, n := range old {
			before += len(n.requests())
		}
		require.Positive(t, before)
		began := time.Now()
		c.tell(&pb.WatchMapResponse{Map: replaced(2, 1, "d", "e", "f")})
		require.NoError(t, (<-waiting).err)
		require.Zero(t, time.Since(began), "its pause is over")
		newcomer.handler(deny(&pb.Error{Code: pb.Code_CODE_UNAVAILABLE}))
		require.EqualValues(t, 1, r.Map().Epoch(1))
		for range 5 {
			_, err := r.Do(t.Context(), read("y"))
			require.NoError(t, err)
		}
		time.Sleep(time.Minute)
		after := 0
		for _, n := range old {
			after += len(n.requests())
			require.Zero(t, n.open(), "nothing is to be said there any more")
		}
		require.LessOrEqual(t, after, before+1, "one may have been on its way")
		require.LessOrEqual(t, len(newcomer.requests()), 2)
		require.Len(t, other.requests(), 5)
		require.Empty(t, witness.requests())
		require.Equal(t, "e", r.Primaries()[0].Address)
	})
}

// TestRedirectIntoALaterEpoch: a replica that has left names the primary of those who came after it, whom no map names yet.
func TestRedirectIntoALaterEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, r := start(t, "", nil)
		left := deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, PrimaryAddress: "d", View: 5, Epoch: 1})
		w.node("a", left)
		w.node("b", left)
		w.node("c", left)
		d := w.node("d", echo)
		_, err := r.Do(t.Context(), read("x"))
		require.NoError(t, err)
		c.tell(&pb.WatchMapResponse{Primaries: []*pb.Primary{shardPrimary(9, "a")}}) // a late report of the epoch before
		synctest.Wait()
		began := time.Now()
		_, err = r.Do(t.Context(), read("y"))
		require.NoError(t, err)
		require.Zero(t, time.Since(began))
		require.Len(t, d.requests(), 2)
	})
}

// TestTheWatchMovesToNewCoordinators: a Router that knows only the first coordinators finds those of today by one of them
// that still runs and has left, and stays with them when it is gone too.
func TestTheWatchMovesToNewCoordinators(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		present := &pb.Group{Epoch: 7, Members: []*pb.Member{{Replica: 7, Address: "c7", Witness: true}, {Replica: 8, Address: "c8"}, {Replica: 9, Address: "c9"}}}
		left := w.node("c2", deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, PrimaryAddress: "c8", View: 30, Epoch: 7}))
		left.tell(&pb.WatchMapResponse{Map: theMap(1), Coordinator: present, NotMember: true, CoordinatorPrimary: "c8", Bound: 10})
		answer := func(r received) {
			r.answer(&pb.Response{Body: &pb.Response_Timestamps{Timestamps: &pb.TimestampsResponse{First: 77, Count: 1}}})
		}
		c9 := w.node("c9", answer) // c8, whom c2 takes for the primary, is gone already
		later := theMap(5)
		later.Coordinator = present
		c9.tell(&pb.WatchMapResponse{Map: later, Coordinator: present, CoordinatorPrimary: "c9", Bound: 99})
		var kept memory
		r := w.router(func(o *route.Options) {
			o.Coordinators = []string{"c1", "c2", "c3"}
			o.KeepCoordinators = kept.keep
		})
		time.Sleep(time.Second)
		require.EqualValues(t, 5, r.Map().Version)
		require.EqualValues(t, 7, r.Map().Epoch(route.CoordinatorGroup))
		require.EqualValues(t, 99, r.Bound())
		synctest.Wait()
		epoch, addresses := kept.get()
		require.Equal(t, []string{"c8", "c9"}, addresses, "for those who come later")
		require.EqualValues(t, 7, epoch)
		timestamp, err := r.Timestamp(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 77, timestamp)
		require.Empty(t, left.requests(), "it is not asked: it is no member")

		left.stop()
		c9.tell(&pb.WatchMapResponse{Bound: 100})
		synctest.Wait()
		require.EqualValues(t, 100, r.Bound())
	})
}

// TestACoordinatorThatWasAway, and does not know that it is a member no more, is not believed by those who know better:
// they ask the members whom they knew last, and go on to the next address when it knows no primary for a while.
func TestACoordinatorThatWasAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		away := w.node("c1", deny(&pb.Error{Code: pb.Code_CODE_UNAVAILABLE}))
		away.tell(&pb.WatchMapResponse{Map: theMap(1), Coordinator: theMap(1).GetCoordinator()})
		var kept memory
		r := w.router(func(o *route.Options) {
			o.Coordinators, o.CoordinatorsEpoch = []string{"c8", "c9", "c1"}, 7
			o.KeepCoordinators = kept.keep
		})
		require.EqualValues(t, 1, r.Map().Version, "it is better than nothing")
		synctest.Wait()
		epoch, addresses := kept.get()
		require.EqualValues(t, 7, epoch)
		require.Equal(t, []string{"c8", "c9", "c1"}, addresses)
		go func() { // it gives signs of life, and knows no primary
			for range 20 {
				time.Sleep(time.Second)
				away.tell(&pb.WatchMapResponse{})
			}
		}()
		c9 := w.node("c9", echo) // nobody was there when the Router began
		later := theMap(5)
		later.Coordinator = &pb.Group{Epoch: 7, Members: []*pb.Member{{Replica: 8, Address: "c8"}, {Replica: 9, Address: "c9"}}}
		c9.tell(&pb.WatchMapResponse{Map: later, CoordinatorPrimary: "c9"})
		time.Sleep(30 * time.Second)
		require.EqualValues(t, 5, r.Map().Version)
		_, addresses = kept.get()
		require.Equal(t, []string{"c8", "c9"}, addresses)
	})
}
