package node_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/viewline/viewline/internal/node"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// heap is what is in use after a collection.
func heap() int64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// TestClientsThatReadNothing ask for far more than the node may hold for all of them. The node's memory is bounded,
// others are served, and whoever reads in the end has an answer to everything.
func TestClientsThatReadNothing(t *testing.T) {
	const hogs, requests, size, most = 32, 60, 1 << 20, 360 << 20
	h := start(t, func(o *node.Options) { o.AnswerBytesTotal = most })
	highest := uint64(0)
	h.handler.answer(func(*pb.Request) *pb.Response {
		highest = max(highest, h.counter("answer_bytes_waiting"))
		return reading(size)
	})
	before := heap()
	var sessions []*client
	for range hogs {
		c := h.session(t)
		sessions = append(sessions, c)
		for i := range uint64(requests) {
			c.send(bound(i))
		}
	}
	require.Eventually(t, func() bool { return h.counter("requests") == hogs*requests }, patience, time.Millisecond)
	grown := heap() - before
	// Beside what is counted: what is being sent, once more and marshalled, and what lies with the clients.
	require.Less(t, grown, int64(most/2+hogs*4*size), "%d bytes were asked for", hogs*requests*size)
	require.LessOrEqual(t, highest, uint64(most/2+hogs<<17))
	require.Greater(t, highest, uint64(most/4))
	require.Positive(t, h.counter("refused_overloaded"))
	require.Zero(t, h.counter("answers_lost"))

	other := h.session(t)
	for _, answer := range []func(int) *pb.Response{reading, verdict} {
		h.handler.answer(func(*pb.Request) *pb.Response { return answer(10_000) })
		for i := range uint64(100) {
			other.send(bound(i))
			require.Nil(t, other.next().GetError())
		}
	}
	read, refused := 0, 0
	for _, c := range sessions {
		for range requests {
			response := c.next()
			if response.GetRead() == nil {
				require.Equal(t, pb.Code_CODE_OVERLOADED, response.GetError().GetCode())
				refused++
			} else {
				read++
			}
		}
	}
	require.Greater(t, read, hogs)
	require.Greater(t, refused, hogs*requests/2)
	require.Eventually(t, func() bool { return h.counter("answer_bytes_waiting") == 0 }, patience, time.Millisecond)
	t.Logf("held at most %d bytes, heap grew by %d, %d reads answered, %d refused", highest, grown, read, refused)
}

// TestAClientThatNeverTakesAnAnswer loses its session, whether it goes on asking or has said its last.
func TestAClientThatNeverTakesAnAnswer(t *testing.T) {
	for _, last := range []bool{false, true} {
		h := start(t, func(o *node.Options) { o.AnswerTimeout = 50 * time.Millisecond })
		h.handler.answer(func(*pb.Request) *pb.Response { return reading(1 << 20) })
		c := h.session(t)
		for i := range uint64(20) {
			c.send(bound(i))
		}
		if last {
			require.NoError(t, c.CloseSend())
		}
		require.Eventually(t, func() bool { return h.counter("sessions_open") == 0 }, patience, time.Millisecond)
		require.Eventually(t, func() bool { return h.counter("answer_bytes_waiting") == 0 }, patience, time.Millisecond)
		var err error
		for err == nil {
			_, err = c.Recv()
		}
		if !last { // otherwise all requests are answered, and the client is told so
			require.Equal(t, codes.ResourceExhausted, status.Code(err))
		}
	}
}

// TestAClientThatTakesItsAnswersSlowly needs many times as long for them as it may need for one.
func TestAClientThatTakesItsAnswersSlowly(t *testing.T) {
	const pause, answers = 10 * time.Millisecond, 200
	h := start(t, func(o *node.Options) { o.AnswerTimeout = answers * pause / 2 })
	h.handler.answer(func(*pb.Request) *pb.Response { return reading(100 << 10) })
	c := h.session(t)
	for i := range uint64(answers) {
		c.send(bound(i))
	}
	began := time.Now()
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for range answers {
		require.NotNil(t, c.next().GetRead())
		<-ticker.C
	}
	require.Greater(t, time.Since(began), answers*pause*3/4)
}
