package route_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

// backlog is a node that reads nothing. One request under way to it is larger than all the buffers between; the
// next one is being written and blocks; those behind were handed to the stream and are not written.
func backlog(t *testing.T, behind int, deadline time.Time) (w *world, a *fakeNode, r *route.Router, written, rest []<-chan outcome) {
	w, _, r = start(t, "a", nil)
	a = w.node("a", echo)
	a.deaf = make(chan struct{})
	for _, name := range []string{strings.Repeat("x", 10<<20), "blocks"} {
		call := read(name)
		call.Resend = false
		written = append(written, send(r, call))
		synctest.Wait()
	}
	for i := range behind {
		call := read(fmt.Sprint(i))
		call.Resend, call.Deadline = false, deadline
		rest = append(rest, send(r, call))
	}
	synctest.Wait()
	return w, a, r, written, rest
}

// TestWhatWasNotWrittenGoesOn: the stream breaks while requests are on their way to it. Those that had not been
// written certainly did not happen: they go out again, each of them once.
func TestWhatWasNotWrittenGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, a, _, written, rest := backlog(t, 100, time.Time{})
		a.stop()
		next := w.node("a", echo)
		for _, outcomes := range written {
			require.ErrorIs(t, (<-outcomes).err, route.ErrOutcomeUnknown)
		}
		for _, outcomes := range rest {
			require.NoError(t, (<-outcomes).err)
		}
		seen := map[string]int{}
		for _, request := range next.requests() {
			seen[name(request)]++
		}
		require.Len(t, seen, 100)
		require.Len(t, next.requests(), 100)
	})
}

// TestWhatWasNotWrittenInTimeNeverIs: its caller was told that it certainly did not happen.
func TestWhatWasNotWrittenInTimeNeverIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, a, r, written, rest := backlog(t, 10, time.Now().Add(time.Second))
		for _, outcomes := range rest {
			o := <-outcomes
			require.ErrorIs(t, o.err, route.ErrDeadline)
			require.True(t, route.Certain(o.err))
		}
		close(a.deaf)
		for _, outcomes := range written {
			require.NoError(t, (<-outcomes).err)
		}
		_, err := r.Do(t.Context(), read("after"))
		require.NoError(t, err)
		require.Len(t, a.requests(), 3)
		require.Equal(t, "after", name(a.requests()[2]))
	})
}

// TestNewsReleaseWhoPauses: a redirect into a newer view, which one request meets, is news for all.
func TestNewsReleaseWhoPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, _, r := start(t, "a", func(o *route.Options) { o.BackoffMin, o.BackoffMax, o.ReconnectMax = time.Hour, time.Hour, time.Hour })
		a := w.node("a", deny(&pb.Error{Code: pb.Code_CODE_OVERLOADED}))
		w.node("b", echo)
		parked := send(r, read("parked"))
		synctest.Wait()
		require.Len(t, a.requests(), 1)
		a.handler(deny(&pb.Error{Code: pb.Code_CODE_NOT_PRIMARY, PrimaryAddress: "b", View: 2}))
		began := time.Now()
		_, err := r.Do(t.Context(), read("x"))
		require.NoError(t, err)
		require.NoError(t, (<-parked).err)
		require.Zero(t, time.Since(began))
	})
}
