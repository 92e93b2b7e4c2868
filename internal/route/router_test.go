package route_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// start is a world with a coordinator that told the map, and a Router that knows shard 1's primary.
func start(t *testing.T, primary string, change func(*route.Options)) (*world, *fakeNode, *route.Router) {
	w := newWorld(t)
	c := w.node("c1", never)
	news := &pb.WatchMapResponse{Map: theMap(1), Bound: 7, CoordinatorPrimary: "c1"}
	if primary != "" {
		news.Primaries = []*pb.Primary{shardPrimary(1, primary)}
	}
	c.tell(news)
	return w, c, w.router(change)
}

func TestOpenWaitsForTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c, r := start(t, "a", nil)
		require.Equal(t, theCluster, r.Cluster())
		m := r.Map()
		require.Equal(t, uint64(1), m.Version)
		require.Equal(t, txn.ShardID(1), m.Locate("anything"))
		require.Equal(t, []txn.ShardID{1}, m.Shards())
		require.True(t, m.Has(1))
		require.False(t, m.Has(0))
		require.Len(t, m.Slots(1), 1024)
		require.Equal(t, "b", m.Members(1)[1].Address)
		synctest.Wait()
		require.Equal(t, txn.Timestamp(7), r.Bound())
		require.Equal(t, []route.Primary{{Group: 1, View: 1, Replica: 1, Address: "a"}}, r.Primaries())

		c.tell(&pb.WatchMapResponse{Map: theMap(3), Bound: 5})
		c.tell(&pb.WatchMapResponse{Map: theMap(2)})
		synctest.Wait()
		require.Equal(t, uint64(3), r.Map().Version, "an older map never replaces a newer one")
		require.Equal(t, txn.Timestamp(7), r.Bound(), "the bound only rises")
	})
}

func TestOpenFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		options := route.Options{Coordinators: []string{"c1", "c2"}}
		_, err := route.Open(t.Context(), route.Options{})
		require.ErrorIs(t, err, route.ErrOptions)

		options.Dial = w.dialOptions()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = route.Open(ctx, options)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "nobody listens")

		w.node("c2", never).tell(&pb.WatchMapResponse{Map: theMap(1)})
		options.Cluster = [16]byte{9}
		_, err = route.Open(t.Context(), options)
		require.ErrorIs(t, err, route.ErrWrongCluster)
	})
}

func TestOpenTriesEveryCoordinator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.node("hangs", never) // tells nothing
		w.node("c2", never).tell(&pb.WatchMapResponse{Map: theMap(1)})
		r := w.router(func(o *route.Options) { o.Coordinators = []string{"down", "hangs", "c2"} })
		require.Equal(t, uint64(1), r.Map().Version)
	})
}

// TestWatchPrefersThePrimaryAndNoticesSilence: the coordinator's primary is where news arrive first, and one
// that stops without a word is left.
func TestWatchPrefersThePrimaryAndNoticesSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		backup, primary := w.node("c1", never), w.node("c2", never)
		backup.tell(&pb.WatchMapResponse{Map: theMap(1), CoordinatorPrimary: "c2"})
		primary.tell(&pb.WatchMapResponse{Map: theMap(1), CoordinatorPrimary: "c2"})
		r := w.router(nil)
		time.Sleep(time.Second)
		primary.tell(&pb.WatchMapResponse{Bound: 99})
		synctest.Wait()
		require.Equal(t, txn.Timestamp(99), r.Bound())

		time.Sleep(route.DefaultStallTimeout + time.Second) // c2 says nothing any more
		backup.tell(&pb.WatchMapResponse{Bound: 100})
		synctest.Wait()
		require.Equal(t, txn.Timestamp(100), r.Bound())
	})
}

func TestSendFollowsRedirects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "", nil)
		a, b := w.node("a", deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, PrimaryAddress: "b", View: 4})), w.node("b", echo)
		began := time.Now()
		_, err := r.Do(t.Context(), read("x"))
		require.NoError(t, err)
		require.Zero(t, time.Since(began), "a redirect costs no pause")
		_, err = r.Do(t.Context(), read("y"))
		require.NoError(t, err)
		require.Len(t, a.requests(), 1, "what was learnt is remembered")
		require.Len(t, b.requests(), 2)
		require.Equal(t, "b", r.Primaries()[0].Address)
	})
}

// TestSendRetriesWhatCertainlyDidNotHappen until it succeeds or the deadline comes, with the last refusal in
// the error.
func TestSendRetriesWhatCertainlyDidNotHappen(t *testing.T) {
	for _, code := range []pb.Code{
		pb.Code_CODE_UNAVAILABLE, pb.Code_CODE_OVERLOADED, pb.Code_CODE_NOT_PRIMARY, pb.Code_CODE_UNKNOWN_GROUP,
	} {
		t.Run(code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, r := start(t, "a", nil)
				a := w.node("a", deny(&pb.Error{Code: code}))
				call := read("x")
				call.Resend = false
				call.Deadline = time.Now().Add(time.Second)
				o := <-send(r, call)
				require.ErrorIs(t, o.err, route.ErrDeadline)
				var last *route.Error
				require.ErrorAs(t, o.err, &last)
				require.Equal(t, code, last.Code)
				require.True(t, route.Certain(o.err))
				require.WithinDuration(t, call.Deadline, time.Now(), 10*time.Millisecond)
				tries := len(a.requests())
				require.Greater(t, tries, 3)
				require.Less(t, tries, 60, "pauses grow")

				outcomes := send(r, read("y"))
				time.Sleep(50 * time.Millisecond)
				a.handler(echo)
				require.NoError(t, (<-outcomes).err)
			})
		})
	}
}

func TestSendDoesNotRetryWhatWillNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", nil)
		a := w.node("a", deny(&pb.Error{Code: pb.Code_CODE_LIMIT, LimitName: "keys", Limit: 3, Actual: 4, Message: "no"}))
		_, err := r.Do(t.Context(), read("x"))
		var refusal *route.Error
		require.ErrorAs(t, err, &refusal)
		require.Equal(t, route.Error{Code: pb.Code_CODE_LIMIT, LimitName: "keys", Limit: 3, Actual: 4, Message: "no"}, *refusal)
		require.ErrorIs(t, err, route.ErrLimit)
		require.True(t, route.Certain(err))
		require.Len(t, a.requests(), 1)

		_, err = r.Do(t.Context(), route.Call{Group: 7, Request: read("x").Request})
		require.ErrorIs(t, err, route.ErrUnknownGroup)
		require.True(t, route.Certain(err))

		_, err = r.Do(t.Context(), read(strings.Repeat("x", txn.MessageBytesMax)))
		require.ErrorIs(t, err, route.ErrLimit)
		require.True(t, route.Certain(err))
		require.Len(t, a.requests(), 1, "what is too large is not sent")
	})
}

// TestFailover: the primary dies; requests go on as soon as the news of the next one are there, long before
// their pauses would be over.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, c, r := start(t, "a", func(o *route.Options) { o.BackoffMin, o.BackoffMax, o.ReconnectMax = time.Hour, time.Hour, time.Hour })
		a, b := w.node("a", echo), w.node("b", deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, PrimaryAddress: "a", View: 1}))
		w.node("c", deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, PrimaryAddress: "a", View: 1}))
		_, err := r.Do(t.Context(), read("x"))
		require.NoError(t, err)
		a.stop()
		synctest.Wait()
		outcomes := send(r, read("y"))
		synctest.Wait()
		require.Empty(t, outcomes)
		b.handler(echo)
		c.tell(&pb.WatchMapResponse{Primaries: []*pb.Primary{shardPrimary(2, "b")}})
		began := time.Now()
		require.NoError(t, (<-outcomes).err)
		require.Zero(t, time.Since(began))
	})
}

func TestBrokenStream(t *testing.T) {
	for _, resend := range []bool{false, true} {
		t.Run(fmt.Sprintf("resend %v", resend), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, r := start(t, "a", nil)
				a := w.node("a", never)
				call := read("x")
				call.Resend = resend
				outcomes := send(r, call)
				synctest.Wait()
				require.Len(t, a.requests(), 1)
				a.stop()
				again := w.node("a", echo)
				o := <-outcomes
				if resend {
					require.NoError(t, o.err)
					require.Len(t, again.requests(), 1)
					return
				}
				require.ErrorIs(t, o.err, route.ErrOutcomeUnknown)
				require.False(t, route.Certain(o.err))
				_, err := r.Do(t.Context(), read("y"))
				require.NoError(t, err, "the Router connects again")
				require.Len(t, again.requests(), 1)
			})
		})
	}
}

// TestDeadlineOfAWrittenRequest: unknown, while one that still waited for its turn certainly did not happen.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", func(o *route.Options) { o.OutstandingMax, o.ReservedForEnd = 4, 1 })
		a := w.node("a", never)
		var all []<-chan outcome
		for i := range 5 {
			call := read(fmt.Sprint(i))
			call.Deadline = time.Now().Add(300 * time.Millisecond)
			all = append(all, send(r, call))
		}
		synctest.Wait()
		require.Len(t, a.requests(), 3, "bounded, with a place kept")
		require.InDelta(t, 300, a.requests()[0].GetRemainingMillis(), 1)
		for i, outcomes := range all {
			o := <-outcomes
			require.ErrorIs(t, o.err, route.ErrDeadline)
			require.Equal(t, i >= 3, route.Certain(o.err), "request %d", i)
		}
		call := read("late")
		call.Deadline = time.Now()
		o := <-send(r, call)
		require.ErrorIs(t, o.err, route.ErrDeadline)
		require.True(t, route.Certain(o.err))
	})
}

// TestWhatEndsATransactionHasAPlace: requests that wait for a decision at the server must not keep it out.
func TestWhatEndsATransactionHasAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", func(o *route.Options) { o.OutstandingMax, o.ReservedForEnd = 4, 1 })
		a := w.node("a", nil)
		var parked []received
		a.handler(func(q received) {
			if q.GetCommitTxn() == nil {
				parked = append(parked, q)
				return
			}
			echo(q)
			for _, p := range parked {
				echo(p)
			}
			parked = nil
		})
		var all []<-chan outcome
		for i := range 10 {
			all = append(all, send(r, read(fmt.Sprint(i))))
		}
		synctest.Wait()
		require.Len(t, a.requests(), 3)
		all = append(all, send(r, decide()))
		synctest.Wait()
		require.NotNil(t, a.requests()[3].GetCommitTxn())
		a.handler(echo)
		send(r, decide()) // the last three were parked again
		for _, outcomes := range all[:3] {
			require.NoError(t, (<-outcomes).err)
		}
		require.NoError(t, (<-all[10]).err)
	})
}

// TestOrder: what one goroutine sends to one node arrives in that order.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", func(o *route.Options) { o.OutstandingMax, o.ReservedForEnd = 8, 1 })
		a := w.node("a", echo)
		var last <-chan outcome
		for i := range 500 {
			last = send(r, read(fmt.Sprint(i)))
		}
		require.NoError(t, (<-last).err)
		synctest.Wait()
		requests := a.requests()
		require.Len(t, requests, 500)
		ids := map[uint64]bool{}
		for i, request := range requests {
			require.Equal(t, fmt.Sprint(i), name(request))
			require.Zero(t, request.GetRemainingMillis())
			require.False(t, ids[request.GetId()])
			ids[request.GetId()] = true
		}
		require.Len(t, a.greetings, 1)
		require.Equal(t, uint32(1), a.greetings[0].GetVersion())
		require.Equal(t, theCluster[:], a.greetings[0].GetCluster())
		require.Empty(t, a.greetings[0].GetRequests())
		require.Empty(t, a.frames[0].GetCluster())
	})
}

// TestNothingIsWrittenBeforeTheGreeting: not to a server of another cluster that took over the primary's address, nor
// to one that takes connections and never says who it is. The outcome stays certain, and others are asked.
func TestNothingIsWrittenBeforeTheGreeting(t *testing.T) {
	for name, change := range map[string]func(*fakeNode){
		"another cluster": func(n *fakeNode) { n.cluster = make([]byte, 16) },
		"mute":            func(n *fakeNode) { n.mute = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, r := start(t, "a", nil)
				a := w.node("a", echo)
				change(a)
				call := decide()
				call.Deadline = time.Now().Add(2500 * time.Millisecond)
				o := <-send(r, call)
				require.ErrorIs(t, o.err, route.ErrDeadline)
				require.True(t, route.Certain(o.err))
				require.Empty(t, a.requests())
				require.NotEmpty(t, a.greetings)
				b := w.node("b", echo)
				call.Deadline = time.Now().Add(5 * time.Second)
				require.NoError(t, (<-send(r, call)).err)
				require.Len(t, b.requests(), 1)
				require.Empty(t, a.requests())
			})
		})
	}
}

func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", func(o *route.Options) { o.CallsMax = 3 })
		w.node("a", never)
		for range 3 {
			send(r, read("x"))
		}
		o := <-send(r, read("x"))
		require.ErrorIs(t, o.err, route.ErrOverloaded)
		require.True(t, route.Certain(o.err))
	})
}

// TestDoGivesUpWithItsContext: with the context's cause, certain only if nothing was written.
func TestDoGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", nil)
		a := w.node("a", never)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		began := time.Now()
		_, err := r.Do(ctx, read("x"))
		require.ErrorIs(t, err, context.Canceled)
		require.Less(t, time.Since(began), 10*time.Millisecond)
		require.False(t, route.Certain(err))
		a.stop()
		synctest.Wait()

		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = r.Do(ctx, read("y"))
		require.ErrorIs(t, err, route.ErrDeadline)
		require.ErrorIs(t, err, route.ErrNotConnected)
		require.True(t, route.Certain(err))
	})
}

// TestSilentPrimaryIsLeft: a primary that is stopped but not dead breaks no connection. After one request's time
// was used up in silence the next one asks another member, and the stream is given up in the end.
func TestSilentPrimaryIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", nil)
		a := w.node("a", never)
		w.node("b", echo)
		call := read("x")
		call.Deadline = time.Now().Add(time.Second)
		o := <-send(r, call)
		require.ErrorIs(t, o.err, route.ErrDeadline)
		require.False(t, route.Certain(o.err))
		began := time.Now()
		_, err := r.Do(t.Context(), read("y"))
		require.NoError(t, err)
		require.Less(t, time.Since(began), 10*time.Millisecond)
		time.Sleep(2 * route.DefaultStallTimeout)
		a.mu.Lock()
		defer a.mu.Unlock()
		require.Equal(t, 1, a.streams)
		require.Len(t, a.frames, 1)
	})
}

// TestIdleStreamIsNotGivenUpForOneLateAnswer: it was silent because nobody asked.
func TestIdleStreamIsNotGivenUpForOneLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", nil)
		a := w.node("a", echo)
		_, err := r.Do(t.Context(), read("x"))
		require.NoError(t, err)
		time.Sleep(time.Minute)
		a.handler(never)
		slow, hurried := read("slow"), read("hurried")
		slow.Resend = false
		outcomes := send(r, slow)
		hurried.Deadline = time.Now().Add(20 * time.Millisecond)
		require.ErrorIs(t, (<-send(r, hurried)).err, route.ErrDeadline)
		time.Sleep(time.Second)
		require.Empty(t, outcomes, "the other request is still under way")
		time.Sleep(route.DefaultStallTimeout)
		require.ErrorIs(t, (<-outcomes).err, route.ErrOutcomeUnknown, "until the silence is too long")
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", func(o *route.Options) {
			o.OutstandingMax, o.ReservedForEnd, o.BackoffMin, o.BackoffMax, o.ReconnectMax = 4, 1, time.Hour, time.Hour, time.Hour
		})
		w.node("a", func(q received) {
			if name(q.Request) == "parked" {
				deny(&pb.Error{Code: pb.Code_CODE_OVERLOADED})(q)
			}
		})
		parked := send(r, read("parked"))
		synctest.Wait()
		var all []<-chan outcome
		for range 5 {
			all = append(all, send(r, read("x")))
		}
		synctest.Wait()
		require.NoError(t, r.Close())
		for i, outcomes := range all {
			o := <-outcomes
			require.ErrorIs(t, o.err, route.ErrClosed)
			require.Equal(t, i >= 3, route.Certain(o.err))
		}
		o := <-parked
		require.ErrorIs(t, o.err, route.ErrClosed)
		require.True(t, route.Certain(o.err))
		o = <-send(r, read("x"))
		require.ErrorIs(t, o.err, route.ErrClosed)
		_, err := r.Timestamp(t.Context())
		require.ErrorIs(t, err, route.ErrClosed)
		<-r.Done()
		require.NoError(t, r.Close())
	})
}
