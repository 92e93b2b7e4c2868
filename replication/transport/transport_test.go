package transport_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/transport"
)

func TestFramesArriveInOrderBothWays(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	var atOne, atTwo inbox
	one.Receive(atOne.receive)
	two.Receive(atTwo.receive)
	sendUntil(t, one, 2, "hello", &atTwo)
	sendUntil(t, two, 1, "hello", &atOne)
	before := len(atTwo.all())
	var expected []string
	for i := range 1000 {
		expected = append(expected, fmt.Sprint(i))
		one.Send(2, []byte(expected[i]))
	}
	eventually(t, func() bool { return len(atTwo.all()) == before+1000 }, "all frames")
	require.Equal(t, expected, atTwo.all()[before:])
	require.NotContains(t, atTwo.from, uint32(2))
	sent, received := a.Counters(), b.Counters()
	require.Equal(t, sent["frames_sent"], received["frames_received"])
	require.Equal(t, sent["bytes_sent"], received["bytes_received"])
	require.Less(t, sent["messages_sent"], sent["frames_sent"], "every frame went out alone")
}

func TestGroupsShareOneStreamToAnAddress(t *testing.T) {
	a, b := open(t, transport.Options{}), open(t, transport.Options{})
	peers := map[uint32]string{1: a.address, 2: b.address}
	var senders []*transport.Group
	inboxes := make([]inbox, 8)
	for group := range uint32(8) {
		senders = append(senders, a.join(t, group, 1, peers))
		b.join(t, group, 2, peers).Receive(inboxes[group].receive)
	}
	for group, sender := range senders {
		sendUntil(t, sender, 2, fmt.Sprint("group ", group), &inboxes[group])
	}
	for group := range inboxes {
		for _, payload := range inboxes[group].all() {
			require.Equal(t, fmt.Sprint("group ", group), payload)
		}
	}
	require.EqualValues(t, 1, a.Counters()["streams_opened"])
	require.Zero(t, b.Counters()["streams_opened"], "who sends nothing opens nothing")
}

// TestAReplicaThatComesLaterIsAnnounced: peers know the replicas of a stream from its handshake.
func TestAReplicaThatComesLaterIsAnnounced(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	var in, later inbox
	two.Receive(in.receive)
	sendUntil(t, one, 2, "first", &in)
	peers := map[uint32]string{1: a.address, 2: b.address}
	b.join(t, 6, 2, peers).Receive(later.receive)
	sendUntil(t, a.join(t, 6, 1, peers), 2, "second", &later)
	require.EqualValues(t, 2, a.Counters()["streams_opened"])
	require.Zero(t, a.Counters()["streams_lost"])
	require.Zero(t, b.Counters()["dropped_unknown_sender"])
}

func TestAReplicaThatLeft(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	var in inbox
	two.Receive(in.receive)
	sendUntil(t, one, 2, "before", &in)
	two.Close()
	two.Close()
	eventually(t, func() bool {
		one.Send(2, []byte("after"))
		return b.Counters()["dropped_unknown_receiver"] > 0
	}, "the frame is dropped")
	require.False(t, in.has("after"))
	again := b.join(t, 5, 2, map[uint32]string{1: a.address})
	again.Receive(in.receive)
	sendUntil(t, one, 2, "again", &in)
}

func TestReceiveNilWaitsForTheCallUnderWay(t *testing.T) {
	_, _, one, two := pair(t, transport.Options{})
	entered, leave := make(chan struct{}), make(chan struct{})
	var calls, finished atomic.Int32
	two.Receive(func(uint32, []byte) {
		if calls.Add(1) == 1 {
			close(entered)
			<-leave
		}
		finished.Add(1)
	})
	eventually(t, func() bool {
		one.Send(2, []byte("x"))
		select {
		case <-entered:
			return true
		default:
			return false
		}
	}, "the call")
	stopped := make(chan struct{})
	go func() {
		two.Receive(nil)
		close(stopped)
	}()
	select {
	case <-stopped:
		require.Fail(t, "it returned while the receiver was being called")
	case <-time.After(20 * time.Millisecond):
	}
	close(leave)
	<-stopped
	require.Equal(t, calls.Load(), finished.Load())
}

func TestSendToStrangers(t *testing.T) {
	a, _, one, _ := pair(t, transport.Options{PayloadBytesMax: 100})
	one.Send(1, []byte("to oneself"))
	one.Send(3, []byte("to nobody"))
	require.EqualValues(t, 2, a.Counters()["dropped_not_a_member"])
	one.Send(2, make([]byte, 101))
	require.EqualValues(t, 1, a.Counters()["dropped_oversized"])
	require.Zero(t, a.Counters()["frames_sent"])
}

func TestALargestPayloadArrives(t *testing.T) {
	_, _, one, two := pair(t, transport.Options{})
	var in inbox
	two.Receive(in.receive)
	large := string(make([]byte, transport.PayloadBytesMaxDefault))
	sendUntil(t, one, 2, "hello", &in)
	one.Send(2, []byte(large))
	eventually(t, func() bool { return in.has(large) }, "a payload of the largest size")
}

func TestAFullQueueDrops(t *testing.T) {
	for _, test := range []struct {
		name    string
		options transport.Options
	}{
		{"frames", transport.Options{QueueFramesMax: 8}},
		{"bytes", transport.Options{QueueBytesMax: 8 << 20, PayloadBytesMax: 2 << 20}},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, _, one, two := pair(t, test.options)
			block := make(chan struct{})
			two.Receive(func(uint32, []byte) { <-block })
			payload := make([]byte, 1<<20)
			sent := 0
			// The receiver takes nothing: the windows fill, then the queue, then Send drops. It never blocks.
			for a.Counters()["dropped_queue_full"] == 0 {
				one.Send(2, payload)
				sent++
			}
			require.Less(t, sent, 50, "the other bound, which is larger, was the one that held")
			close(block)
			var in inbox
			two.Receive(in.receive)
			sendUntil(t, one, 2, "after", &in)
		})
	}
}

func TestNothingIsKeptForAPeerThatIsNotReached(t *testing.T) {
	a, b, one, _ := pair(t, transport.Options{})
	b.stop(t)
	eventually(t, func() bool {
		one.Send(2, []byte("old"))
		return a.Counters()["dropped_not_connected"] > 100
	}, "frames dropped")
	require.Equal(t, 1, a.log.count("peer not reached"), "it is said once a minute")
	back := openAt(t, transport.Options{}, b.address)
	var in inbox
	back.join(t, 5, 2, map[uint32]string{1: a.address}).Receive(in.receive)
	sendUntil(t, one, 2, "new", &in)
	require.False(t, in.has("old"))
}

func TestStreamsComeBackAfterAPeersRestart(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	var in inbox
	two.Receive(in.receive)
	for round := range 3 {
		sendUntil(t, one, 2, fmt.Sprint("round ", round), &in)
		b.stop(t)
		b = openAt(t, transport.Options{}, b.address)
		b.join(t, 5, 2, map[uint32]string{1: a.address}).Receive(in.receive)
	}
	sendUntil(t, one, 2, "last", &in)
	require.GreaterOrEqual(t, a.Counters()["streams_lost"], uint64(3))
}

func TestPartition(t *testing.T) {
	var cut atomic.Bool
	pass := func(group, from, to uint32) bool { return !cut.Load() || group != 5 || from != 1 || to != 2 }
	a, _, one, two := pair(t, transport.Options{Pass: pass})
	var atOne, atTwo inbox
	one.Receive(atOne.receive)
	two.Receive(atTwo.receive)
	sendUntil(t, one, 2, "before", &atTwo)
	cut.Store(true)
	one.Send(2, []byte("lost"))
	require.EqualValues(t, 1, a.Counters()["dropped_fault"])
	sendUntil(t, two, 1, "the other way", &atOne)
	_, _, err := one.FetchCheckpoint(t.Context(), 2, replication.CheckpointRequest{})
	require.ErrorIs(t, err, transport.ErrCut)
	cut.Store(false)
	sendUntil(t, one, 2, "after", &atTwo)
	require.False(t, atTwo.has("lost"))
}

func TestCloseWhileEverythingIsBusy(t *testing.T) {
	a, b, one, two := pair(t, transport.Options{})
	var closed atomic.Bool
	two.Receive(func(uint32, []byte) {
		if closed.Load() {
			t.Error("a receiver was called after Close")
		}
	})
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				one.Send(2, make([]byte, 1000))
				two.Send(1, make([]byte, 1000))
			}
		}
	}()
	eventually(t, func() bool { return b.Counters()["frames_received"] > 1000 }, "traffic")
	require.NoError(t, b.Close())
	closed.Store(true)
	require.NoError(t, a.Close())
	require.NoError(t, a.Close())
	close(stop)
	<-stopped
	_, err := a.Group(transport.Local{Group: 9, Replica: 1}, nil)
	require.ErrorIs(t, err, transport.ErrClosed)
	_, _, err = one.FetchCheckpoint(t.Context(), 2, replication.CheckpointRequest{})
	require.Error(t, err)
}

func TestOptions(t *testing.T) {
	for _, test := range []struct {
		name    string
		options transport.Options
	}{
		{"Cluster", transport.Options{}},
		{"QueueBytesMax", transport.Options{Cluster: cluster(1), QueueBytesMax: -1}},
		{"QueueBytesMax", transport.Options{Cluster: cluster(1), QueueBytesMax: 1000}},
		{"BackoffMin", transport.Options{Cluster: cluster(1), BackoffMin: time.Hour}},
		{"StreamsMax", transport.Options{Cluster: cluster(1), StreamsMax: -1}},
	} {
		_, err := transport.New(test.options)
		require.ErrorIs(t, err, transport.ErrOptions)
		require.ErrorContains(t, err, test.name)
	}
}

func TestGroupRefusesWhatMakesNoSense(t *testing.T) {
	a := open(t, transport.Options{})
	_, err := a.Group(transport.Local{Group: 1}, nil)
	require.ErrorIs(t, err, transport.ErrOptions)
	a.join(t, 1, 1, nil)
	_, err = a.Group(transport.Local{Group: 1, Replica: 1}, nil)
	require.ErrorIs(t, err, transport.ErrDuplicate)
}
