package route

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/txn"
)

// TestTurns: whoever asks while a request is under way gets the next one, which asks for exactly as many as
// wait for it.
func TestTurns(t *testing.T) {
	var s turns
	join := func() bool {
		begin, ok := s.join()
		require.True(t, ok)
		return begin
	}
	require.True(t, join(), "nothing is under way")
	require.Equal(t, 1, s.begin())
	for range 5 {
		require.False(t, join(), "one is under way")
	}
	s.leave()
	require.True(t, s.end(), "some wait")
	require.Equal(t, 4, s.begin(), "exactly as many as wait")
	require.False(t, s.end(), "nobody waits")
	require.True(t, join())
	s.begin()
	for range txn.TimestampsMax {
		require.False(t, join())
	}
	_, ok := s.join()
	require.False(t, ok, "bounded")
}

func TestWorthAnother(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{ErrClosed, false},
		{unknown(ErrClosed), false},
		{ErrDeadline, true},
		{unknown(ErrDeadline), true},
		{fmt.Errorf("%w: %w", ErrDeadline, &Error{Code: pb.Code_CODE_OVERLOADED}), true},
		{&Error{Code: pb.Code_CODE_DEADLINE}, true},
		{ErrNotConnected, true},
		{&Error{Code: pb.Code_CODE_OUTCOME_UNKNOWN}, true},
		{ErrOverloaded, false},
		{&Error{Code: pb.Code_CODE_INTERNAL}, false},
		{&Error{Code: pb.Code_CODE_INVALID_ARGUMENT}, false},
		{&Error{Code: pb.Code_CODE_WRONG_CLUSTER}, false},
	} {
		require.Equal(t, c.want, worthAnother(c.err), "%v", c.err)
	}
}

func TestWatch(t *testing.T) {
	pause := backoff{min: 10 * time.Millisecond, max: 80 * time.Millisecond}
	w := &watch{}
	w.know(nil, []string{"a", "b", "c"})
	require.Equal(t, "a", w.next(0))
	require.Zero(t, w.ended("a", false, 0, pause, 0), "the next one is tried at once")
	require.Equal(t, "b", w.next(0))
	require.Equal(t, 5*time.Millisecond, w.ended("b", false, 0, pause, 0), "then with growing pauses")
	require.Equal(t, "c", w.next(0))
	require.Equal(t, 10*time.Millisecond, w.ended("c", false, 0, pause, 0))
	require.Equal(t, "a", w.next(0))

	require.False(t, w.heard("a", "", true, 0), "a replica that knows no primary is good enough")
	require.True(t, w.heard("a", "c", true, 0), "the primary is better")
	require.Zero(t, w.ended("a", true, 0, pause, 0))
	require.Equal(t, "c", w.next(0))
	w.ended("c", false, time.Second, pause, 0)
	require.Equal(t, "a", w.next(time.Second), "the primary was not reached: back to who answered")
	require.False(t, w.heard("a", "c", true, time.Second), "and there it stays for a while")
	require.True(t, w.heard("a", "c", true, time.Second+preferPause))
	w.ended("a", true, time.Second+preferPause, pause, 0)
	require.Equal(t, "c", w.next(time.Second+preferPause))
	w.ended("c", false, 4*time.Second, pause, 0)
	require.True(t, w.heard("a", "b", true, 4*time.Second), "another primary is tried at once")
	require.False(t, w.heard("b", "b", true, 4*time.Second))
}

// TestWatchDoesNotRunInCircles: two replicas that name each other are not connected to as fast as that goes.
func TestWatchDoesNotRunInCircles(t *testing.T) {
	pause := backoff{min: 10 * time.Millisecond, max: 80 * time.Millisecond}
	w := &watch{}
	w.know(nil, []string{"a", "b"})
	move := func() time.Duration {
		from := w.next(0)
		require.True(t, w.heard(from, map[string]string{"a": "b", "b": "a"}[from], true, 0))
		return w.ended(from, true, 0, pause, 0)
	}
	for range hopsMax {
		require.Zero(t, move())
	}
	for _, want := range []time.Duration{5, 10, 20, 40, 40} {
		require.Equal(t, want*time.Millisecond, move())
	}
	at := w.next(0)
	require.False(t, w.heard(at, at, true, 0), "it is the primary")
	require.Zero(t, move())
}

// TestWatchLeavesWhoIsAlone: a replica that knows no primary for long may know no more of its group than that.
func TestWatchLeavesWhoIsAlone(t *testing.T) {
	w := &watch{}
	w.know(nil, []string{"a", "b"})
	require.False(t, w.heard("a", "", true, time.Second))
	require.False(t, w.heard("a", "", true, time.Second+alonePause-1))
	require.True(t, w.heard("a", "", true, time.Second+alonePause))
	require.Equal(t, "b", w.next(time.Second+alonePause))
	require.False(t, w.heard("b", "", true, time.Second+alonePause), "which has its time, too")
	require.False(t, w.heard("b", "b", true, time.Second+2*alonePause))
	require.False(t, w.heard("b", "", true, time.Second+3*alonePause), "it was the primary in between")
	require.True(t, w.heard("b", "", true, time.Second+4*alonePause))
	require.Equal(t, "a", w.next(time.Second+4*alonePause))
}

// TestWatchLeavesWhoHasLeft: whoever is no member any more names those who are, and is not listened to any longer; and if
// nobody of them is reached, the next that was configured is asked, without haste.
func TestWatchLeavesWhoHasLeft(t *testing.T) {
	pause := backoff{min: 10 * time.Millisecond, max: 80 * time.Millisecond}
	w := &watch{}
	w.know(nil, []string{"a", "b"})
	require.True(t, w.heard(w.next(0), "d", false, 0))
	require.Zero(t, w.ended("a", true, 0, pause, 0))
	require.Equal(t, "d", w.next(0), "the primary that it knows")
	w.ended("d", false, 0, pause, 0)
	require.Equal(t, "b", w.next(0), "it is not reached; and a has nothing else to say")
	require.True(t, w.heard("b", "d", false, 0))
	require.Zero(t, w.ended("b", true, 0, pause, 0))
	require.Equal(t, "a", w.next(0), "d was tried already")
	var last time.Duration
	for range 9 {
		at := w.next(0)
		require.True(t, w.heard(at, "d", false, 0), "never")
		last = w.ended(at, true, 0, pause, 0)
	}
	require.Equal(t, 40*time.Millisecond, last, "slower and slower")

	w.know([]string{"d", "e"}, []string{"a", "b"})
	require.Equal(t, "d", w.next(0))
	w.ended("d", false, 0, pause, 0)
	require.Equal(t, "e", w.next(0), "those who came after")
	require.False(t, w.heard("e", "e", true, 0))

	require.True(t, w.heard("e", "", false, 0))
	require.Equal(t, "a", w.next(0), "a primary that says it is no member is none")
}

func TestWatchKnowsMembersFirst(t *testing.T) {
	w := &watch{}
	w.know(nil, []string{"x", "b"})
	w.know([]string{"a", "b"}, []string{"x", "b"})
	require.Equal(t, []string{"a", "b", "x"}, w.addresses)
}
