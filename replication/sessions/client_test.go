package sessions

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions/table"
)

// outcome is what a caller was told of one request.
type outcome struct {
	id    uint64
	reply Reply
	err   error
}

// TestEveryOutcomeIsTrue: whatever a client says of a request, the machine agrees, however the network behaves and
// whatever sessions are dropped meanwhile.
func TestEveryOutcomeIsTrue(t *testing.T) {
	seeds := uint64(60)
	if testing.Short() {
		seeds /= 6
	}
	all := map[string]int{}
	for seed := range seeds {
		synctest.Test(t, func(t *testing.T) {
			g := newShaky(t, seed, Options{
				SessionsMax: 3 + 3*int(seed%4), WindowMax: 6, SessionReplyBytesMax: 18 * 3, ReplyBytesMax: 18 * 8,
			})
			outcomes := g.load(3, 8, 12)
			for name, times := range g.check(outcomes) {
				all[name] += times
			}
			if t.Failed() {
				t.Logf("seed %d", seed)
			}
		})
	}
	t.Logf("%d seeds: %v", seeds, all)
	for _, name := range []string{
		"happened", "did not", "unknown", "asked: happened", "asked: dropped", "lost", "answers lost", "late", "late copies", "not primary",
		"overloaded", "clean", "restarts", "requests_repeated", "sessions_dropped", "requests_refused_dropped",
	} {
		require.Greater(t, all[name], int(seeds)/10, "%s: too few to prove anything", name)
	}
}

// load has clients with some goroutines each ask so many requests each, with little patience.
func (g *shaky) load(clients, goroutines, requests int) (outcomes []outcome) {
	var mu sync.Mutex
	var working sync.WaitGroup
	id := uint64(0)
	for range clients {
		c := g.client(ClientOptions{InFlightMax: 5, BackoffMax: 20 * time.Millisecond})
		for range goroutines {
			working.Go(func() {
				for range requests {
					mu.Lock()
					id++
					o := outcome{id: id}
					mu.Unlock()
					g.mu.Lock()
					patience := time.Duration(1+g.random.IntN(60)) * time.Millisecond
					stranger := g.random.IntN(50) == 0
					g.mu.Unlock()
					if stranger {
						g.strangers(2)
					}
					ctx, cancel := context.WithTimeout(g.t.Context(), patience)
					o.reply, o.err = c.Do(ctx, named(o.id))
					cancel()
					o = g.askSometimes(c, o)
					mu.Lock()
					outcomes = append(outcomes, o)
					mu.Unlock()
				}
			})
		}
	}
	working.Wait()
	return outcomes
}

// askSometimes asks at once for what is not known, while the network is as it is.
func (g *shaky) askSometimes(c *Client, o outcome) outcome {
	var unknown *UnknownError
	g.mu.Lock()
	ask := g.random.IntN(2) == 0
	g.mu.Unlock()
	if ask && errors.As(o.err, &unknown) {
		ctx, cancel := context.WithTimeout(g.t.Context(), 50*time.Millisecond)
		defer cancel()
		o.reply, o.err = c.Ask(ctx, unknown)
	}
	return o
}

// check compares what callers were told with what the machine executed.
func (g *shaky) check(outcomes []outcome) map[string]int {
	g.flush()
	seen := g.seen
	for id, times := range g.inner.times {
		require.Equal(g.t, 1, times, "request %d", id)
	}
	asker := g.client(ClientOptions{})
	for _, o := range outcomes {
		var unknown *UnknownError
		switch {
		case o.err == nil:
			seen["happened"]++
			require.Equal(g.t, 1, g.times(o.id), "request %d is said to have happened", o.id)
			require.True(g.t, valueIs(o.reply, o.id), "%+v for request %d", o.reply, o.id)
		case errors.As(o.err, &unknown):
			seen["unknown"]++
			require.ErrorIs(g.t, o.err, replication.ErrOutcomeUnknown)
			require.False(g.t, replication.DidNotHappen(o.err))
			reply, err := asker.Ask(g.t.Context(), unknown)
			if err == nil {
				seen["asked: happened"]++
				require.Equal(g.t, 1, g.times(o.id))
				require.True(g.t, valueIs(reply, o.id), "%+v for request %d", reply, o.id)
				continue
			}
			require.ErrorIs(g.t, err, ErrSessionDropped, "a number that somebody may ask for stays in the window")
			seen["asked: dropped"]++
		default:
			seen["did not"]++
			require.True(g.t, replication.DidNotHappen(o.err), "%v", o.err)
			require.Zero(g.t, g.times(o.id), "request %d is said not to have happened: %v", o.id, o.err)
		}
	}
	return seen
}

// scripted answers attempts one after the other; a nil function executes.
type scripted struct {
	*shaky
	answers []func(operation []byte) replication.Result
	asked   [][]byte
}

func (s *scripted) propose(_ context.Context, operation []byte) replication.Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, operation)
	if len(s.answers) == 0 {
		return s.log(operation)
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	if answer == nil {
		return s.log(operation)
	}
	return answer(operation)
}

func failing(err error) func([]byte) replication.Result {
	return func([]byte) replication.Result { return replication.Result{Err: err} }
}

func script(t *testing.T, options Options, answers ...func([]byte) replication.Result) (*scripted, *Client) {
	s := &scripted{shaky: newShaky(t, 0, options), answers: answers}
	c, err := NewClient(s.propose, ClientOptions{})
	require.NoError(t, err)
	return s, c
}

func TestRetriesAreTheSameBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unknown := failing(replication.ErrOutcomeUnknown)
		s, c := script(t, Options{}, unknown, failing(&replication.NotPrimaryError{}), nil, unknown, nil)
		reply, err := c.Do(t.Context(), named(5))
		require.NoError(t, err)
		require.True(t, valueIs(reply, 5))
		require.Len(t, s.asked, 5)
		require.Equal(t, s.asked[0], s.asked[2])
		require.Equal(t, s.asked[3], s.asked[4])
	})
}

func TestCertainRefusalsComeBackAtOnce(t *testing.T) {
	for _, refusal := range []error{replication.ErrOverloaded, replication.ErrClosed, replication.ErrTooLarge} {
		_, c := script(t, Options{}, nil, failing(refusal))
		_, err := c.Do(t.Context(), named(1))
		require.ErrorIs(t, err, refusal)
		require.True(t, replication.DidNotHappen(err))
		_, c = script(t, Options{}, failing(refusal))
		_, err = c.Do(t.Context(), named(1))
		require.ErrorIs(t, err, ErrNotSent)
		require.ErrorIs(t, err, refusal)
		require.True(t, replication.DidNotHappen(err))
	}
}

// TestARefusalAfterAnUnknownAttemptProvesNothing: the earlier copy may be in the log.
func TestARefusalAfterAnUnknownAttemptProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := script(t, Options{})
		s.answers = append(s.answers, nil, func(operation []byte) replication.Result {
			s.log(operation)
			return replication.Result{Err: replication.ErrOutcomeUnknown}
		}, failing(replication.ErrClosed))
		_, err := c.Do(t.Context(), named(1))
		require.ErrorIs(t, err, replication.ErrClosed)
		require.False(t, replication.DidNotHappen(err))
		var unknown *UnknownError
		require.ErrorAs(t, err, &unknown)
		require.Equal(t, uint64(1), unknown.Session)
		require.Equal(t, uint64(1), unknown.Request)
		require.Contains(t, err.Error(), "request 1 of session 1")
		s.answers = append(s.answers, failing(replication.ErrOverloaded)) // Ask goes on: it says nothing of the first copy
		for range 2 {
			reply, err := c.Ask(t.Context(), unknown)
			require.NoError(t, err)
			require.True(t, valueIs(reply, 1))
		}
		require.Equal(t, 1, s.times(1))
	})
}

func TestDroppedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := script(t, Options{SessionsMax: 2})
		_, err := c.Do(t.Context(), named(1))
		require.NoError(t, err)
		s.strangers(2)
		reply, err := c.Do(t.Context(), named(2))
		require.NoError(t, err, "what certainly did not happen is asked in a new session")
		require.True(t, valueIs(reply, 2))
		require.Equal(t, 1, s.times(2))

		s.answers = append(s.answers, func(operation []byte) replication.Result {
			s.log(operation)
			for range 2 {
				s.log(table.Register(0))
			}
			return replication.Result{Err: replication.ErrOutcomeUnknown}
		})
		_, err = c.Do(t.Context(), named(3))
		require.ErrorIs(t, err, ErrSessionDropped)
		require.ErrorIs(t, err, replication.ErrOutcomeUnknown, "the first copy may have been executed, and was")
		require.Equal(t, 1, s.times(3))
		var unknown *UnknownError
		require.ErrorAs(t, err, &unknown)
		_, err = c.Ask(t.Context(), unknown)
		require.ErrorIs(t, err, ErrSessionDropped)
		require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
		require.Equal(t, 1, s.times(3))
		_, err = c.Do(t.Context(), named(4))
		require.NoError(t, err, "the client goes on")
		c.retire(&line{})
		require.NotNil(t, c.current(), "who is late with an older session does not take away the new one")
	})
}

// TestUnknownRequestsKeepTheirPlace: what nobody waits for is not acknowledged, and when the window is full of it
// the client goes on in another session.
func TestUnknownRequestsKeepTheirPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := script(t, Options{WindowMax: 3})
		s.answers = append(s.answers, nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		_, err := c.Do(t.Context(), named(1))
		require.NoError(t, err)
		s.answers = append(s.answers, func([]byte) replication.Result {
			cancel()
			return replication.Result{Err: replication.ErrOutcomeUnknown}
		})
		_, err = c.Do(ctx, named(2))
		var unknown *UnknownError
		require.ErrorAs(t, err, &unknown)
		require.ErrorIs(t, err, context.Canceled)
		for id := uint64(3); id < 10; id++ {
			_, err := c.Do(t.Context(), named(id))
			require.NoError(t, err)
		}
		require.Equal(t, uint64(2), s.machine.Counters()["sessions"])
		require.Zero(t, s.times(2))
		reply, err := c.Ask(t.Context(), unknown)
		require.NoError(t, err, "its session has kept the place")
		require.True(t, valueIs(reply, 2))
		require.Equal(t, 1, s.times(2))
		require.Zero(t, s.machine.Counters()["requests_refused_above"])
	})
}

func TestContextThatEndsBeforeAnythingIsSent(t *testing.T) {
	s, c := script(t, Options{})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 { // a select may prefer either
		_, err := c.Do(ended, named(1))
		require.ErrorIs(t, err, ErrNotSent)
		require.ErrorIs(t, err, context.Canceled)
		require.True(t, replication.DidNotHappen(err))
	}
	require.Empty(t, s.asked)
}

// TestRegisterInDoubtLeavesNoDoubtAboutTheRequest.
func TestRegisterInDoubtLeavesNoDoubtAboutTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		propose := func(ctx context.Context, _ []byte) replication.Result {
			<-ctx.Done()
			return replication.Result{Err: replication.ErrOutcomeUnknown}
		}
		c, err := NewClient(propose, ClientOptions{InFlightMax: 1})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var waiting sync.WaitGroup
		for range 3 { // one registers, the others wait for their turn
			waiting.Go(func() {
				_, err := c.Do(ctx, named(1))
				require.ErrorIs(t, err, ErrNotSent)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.True(t, replication.DidNotHappen(err), "%v", err)
			})
		}
		waiting.Wait()
		for range 20 { // a select may prefer either
			_, err = c.Ask(ctx, &UnknownError{Session: 3, Request: 4})
			require.ErrorIs(t, err, replication.ErrOutcomeUnknown)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, ErrNotSent, "an earlier copy was")
		}
	})
}

// TestInFlightIsBounded by the client's own bound and by the window.
func TestInFlightIsBounded(t *testing.T) {
	for _, test := range []struct{ inFlight, window, most int }{{3, 8, 3}, {8, 3, 3}} {
		synctest.Test(t, func(t *testing.T) {
			s := newShaky(t, 1, Options{WindowMax: test.window})
			s.calm = true
			under, most := 0, 0
			c, err := NewClient(func(ctx context.Context, operation []byte) replication.Result {
				s.mu.Lock()
				under++
				most = max(most, under)
				s.mu.Unlock()
				time.Sleep(time.Second)
				s.mu.Lock()
				under--
				s.mu.Unlock()
				return s.propose(ctx, operation)
			}, ClientOptions{InFlightMax: test.inFlight})
			require.NoError(t, err)
			var working sync.WaitGroup
			for i := range 30 {
				working.Go(func() {
					_, err := c.Do(t.Context(), named(uint64(i)))
					require.NoError(t, err)
				})
			}
			working.Wait()
			require.Equal(t, test.most, most)
			require.Zero(t, s.machine.Counters()["requests_refused_above"])
			require.Equal(t, uint64(1), s.machine.Counters()["sessions"])
		})
	}
}
