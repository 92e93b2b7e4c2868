package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is three nodes in this process, which find each other over the loopback.
type service struct {
	t       *testing.T
	options []nodeOptions
	nodes   []*node
	cut     atomic.Uint32 // the replica that no other one hears, or 0
	http    *http.Client
}

func startService(t *testing.T) *service {
	t.Helper()
	const replicas = 3
	s := &service{t: t, nodes: make([]*node, replicas), http: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(s.http.CloseIdleConnections)
	peers, web := make([]string, replicas), make([]string, replicas)
	listeners := make([][2]net.Listener, replicas)
	for i := range replicas {
		listeners[i] = [2]net.Listener{listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")}
		peers[i], web[i] = listeners[i][0].Addr().String(), listeners[i][1].Addr().String()
	}
	for i := range replicas {
		options := addressed(peers, web)
		options.self, options.directory = replication.ReplicaID(i+1), t.TempDir()
		options.pass = func(_, from, to uint32) bool { cut := s.cut.Load(); return from != cut && to != cut }
		s.options = append(s.options, options)
		require.NoError(t, storage.Create(options.directory))
		s.start(i, listeners[i])
	}
	t.Cleanup(func() {
		for i := range s.nodes {
			s.kill(i)
		}
	})
	return s
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	require.NoError(t, err)
	return listener
}

func (s *service) start(i int, listeners [2]net.Listener) {
	s.t.Helper()
	options := s.options[i]
	options.peerListener, options.httpListener = listeners[0], listeners[1]
	n, err := openNode(options)
	require.NoError(s.t, err)
	s.nodes[i] = n
}

// restart starts a node from its directory, at the addresses that it had.
func (s *service) restart(i int) {
	s.t.Helper()
	options := s.options[i]
	web := strings.TrimPrefix(options.urls[options.self], "http://")
	s.start(i, [2]net.Listener{listen(s.t, options.peers[options.self]), listen(s.t, web)})
}

// kill ends a node in the middle of whatever it does.
func (s *service) kill(i int) {
	if n := s.nodes[i]; n != nil {
		s.nodes[i] = nil
		assert.NoError(s.t, n.close())
	}
}

func (s *service) url(i int) string { return s.options[i].urls[s.options[i].self] }

func (s *service) client(requests *http.Client) *client {
	s.t.Helper()
	c, err := newClient(requests, []string{s.url(0), s.url(1), s.url(2)})
	require.NoError(s.t, err)
	return c
}

// primary returns the node that leads in the latest view.
func (s *service) primary() (found int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		newest := replication.Event{}
		for i, n := range s.nodes {
			if n != nil && n.newest.Load().Leading && n.newest.Load().View > newest.View {
				found, newest = i, *n.newest.Load()
			}
		}
		return newest.Leading
	}, 30*time.Second, time.Millisecond)
	return found
}

// do sends one request, without following anything, and returns status, body and Location.
func (s *service) do(method, url, body string) (status int, answer, location string) {
	s.t.Helper()
	requests := *s.http
	requests.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	request, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	require.NoError(s.t, err)
	response, err := requests.Do(request)
	require.NoError(s.t, err)
	read, err := io.ReadAll(response.Body)
	require.NoError(s.t, errors.Join(err, response.Body.Close()))
	return response.StatusCode, string(read), response.Header.Get("Location")
}

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestByHand(t *testing.T) {
	s := startService(t)
	primary := s.primary()
	for _, step := range []struct {
		method, key, body string
		status            int
		answer            string
	}{
		{http.MethodGet, "a", "", 404, "404 page not found\n"},
		{http.MethodPut, "a", "1", 201, ""},
		{http.MethodPut, "a", "2", 204, ""},
		{http.MethodGet, "a", "", 200, "2"},
		{http.MethodPut, "with%2Fslash", "", 201, ""},
		{http.MethodGet, "with%2Fslash", "", 200, ""},
		{http.MethodDelete, "a", "", 204, ""},
		{http.MethodDelete, "a", "", 404, ""},
		{http.MethodGet, "a", "", 404, "404 page not found\n"},
		{http.MethodPut, strings.Repeat("k", keyBytesMax+1), "1", 400, errBounds.Error() + "\n"},
		{http.MethodPut, "large", strings.Repeat("v", valueBytesMax+1), 413, "http: request body too large\n"},
		{http.MethodPut, "large", strings.Repeat("v", valueBytesMax), 201, ""},
	} {
		path := "/keys/" + step.key
		status, answer, _ := s.do(step.method, s.url(primary)+path, step.body)
		require.Equal(t, step.status, status, "%s %.40s: %s", step.method, path, answer)
		require.Equal(t, step.answer, answer, "%s %.40s", step.method, path)
		status, _, location := s.do(step.method, s.url((primary+1)%3)+path, step.body)
		if status == http.StatusRequestEntityTooLarge {
			continue // which a backup knows as well
		}
		require.Equal(t, http.StatusTemporaryRedirect, status, "%s %.40s", step.method, path)
		require.Equal(t, s.url(primary)+path, location)
	}
	status, _, _ := s.do(http.MethodPost, s.url(primary)+"/operations", "no operation of a session")
	require.Equal(t, http.StatusOK, status, "the client-table says what it thinks of that")
}

// forgetful loses the answers to some requests, after they were executed.
type forgetful struct {
	http.RoundTripper
	asked, lost atomic.Uint64
}

func (f *forgetful) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := f.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodPost && f.asked.Add(1)%5 == 0 {
		f.lost.Add(1)
		return nil, errors.Join(errors.New("the answer is lost"), response.Body.Close())
	}
	return response, err
}

// TestEveryRequestIsExecutedOnce while answers are lost and one primary after the other dies: a put that finds its key
// there, or a delete that does not, was executed twice or not at all.
func TestEveryRequestIsExecutedOnce(t *testing.T) {
	s := startService(t)
	ctx := bounded(t)
	lossy := &forgetful{RoundTripper: s.http.Transport}
	c := s.client(&http.Client{Transport: lossy})
	const workers, rounds = 8, 60
	var working sync.WaitGroup
	var done atomic.Int64
	for worker := range workers {
		working.Go(func() {
			key := fmt.Sprintf("key %d", worker)
			for round := range rounds {
				existed, err := c.put(ctx, key, []byte{byte(round)})
				if !assert.NoError(t, err) || !assert.False(t, existed, "round %d", round) {
					return
				}
				value, found, err := c.get(ctx, key)
				if !assert.NoError(t, err) || !assert.True(t, found) || !assert.Equal(t, []byte{byte(round)}, value) {
					return
				}
				existed, err = c.remove(ctx, key)
				if !assert.NoError(t, err) || !assert.True(t, existed, "round %d", round) {
					return
				}
				done.Add(1)
			}
		})
	}
	const kills = 3
	for kill := range int64(kills) {
		require.Eventually(t, func() bool { return done.Load() > kill*workers*rounds/(kills+1) || t.Failed() }, time.Minute, time.Millisecond)
		primary := s.primary()
		s.kill(primary)
		s.primary()
		s.restart(primary)
	}
	working.Wait()
	require.EqualValues(t, workers*rounds, done.Load())
	require.Greater(t, lossy.lost.Load(), uint64(workers*rounds/10), "too few to prove anything")
	t.Logf("%d requests to the primaries, %d answers lost, %d primaries killed", lossy.asked.Load(), lossy.lost.Load(), kills)
}

// TestAPrimaryThatIsCutOffReadsNothing: it has the old value, and another primary a newer one.
func TestAPrimaryThatIsCutOffReadsNothing(t *testing.T) {
	s := startService(t)
	ctx := bounded(t)
	c := s.client(s.http)
	_, err := c.put(ctx, "a", []byte("old"))
	require.NoError(t, err)
	old := s.primary()
	s.cut.Store(uint32(s.options[old].self))
	require.Eventually(t, func() bool {
		for i, n := range s.nodes {
			if i != old && n.newest.Load().Leading {
				return true
			}
		}
		status, answer, _ := s.do(http.MethodGet, s.url(old)+"/keys/a", "")
		if status == http.StatusOK { // its lease is not over, so that nobody can have written anything else
			assert.Equal(t, "old", answer)
		}
		return t.Failed()
	}, 30*time.Second, time.Millisecond)
	_, err = c.put(ctx, "a", []byte("new"))
	require.NoError(t, err)
	status, answer, _ := s.do(http.MethodGet, s.url(old)+"/keys/a", "")
	require.Equal(t, http.StatusServiceUnavailable, status, answer)
	s.cut.Store(0)
	value, _, err := c.get(ctx, "a")
	require.NoError(t, err)
	require.Equal(t, "new", string(value))
}

// TestStaleReadsAnywhere: a replica answers by itself what may be a little old, and leads to the primary when it cannot.
func TestStaleReadsAnywhere(t *testing.T) {
	s := startService(t)
	ctx := bounded(t)
	_, err := s.client(s.http).put(ctx, "a", []byte("1"))
	require.NoError(t, err)
	for i := range s.nodes {
		require.Eventually(t, func() bool { // a view may change meanwhile
			status, answer, _ := s.do(http.MethodGet, s.url(i)+"/keys/a?stale=0s", "")
			return status == http.StatusOK && answer == "1"
		}, 30*time.Second, time.Millisecond, "node %d", i)
		status, _, _ := s.do(http.MethodGet, s.url(i)+"/keys/a?stale=soon", "")
		require.Equal(t, http.StatusBadRequest, status)
	}
	primary := s.primary()
	backup := (primary + 1) % 3
	s.cut.Store(uint32(s.options[backup].self))
	require.Eventually(t, func() bool {
		status, _, location := s.do(http.MethodGet, s.url(backup)+"/keys/a?stale=1ms", "")
		if status == http.StatusTemporaryRedirect {
			assert.True(t, strings.HasSuffix(location, "/keys/a?stale=1ms"), location)
			return true
		}
		return status == http.StatusServiceUnavailable // it believes to be the primary itself
	}, 30*time.Second, time.Millisecond)
	status, answer, _ := s.do(http.MethodGet, s.url(backup)+"/keys/a?stale=1h", "")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "1", answer)
}

// TestEverythingStops and starts again from the directories.
func TestEverythingStops(t *testing.T) {
	s := startService(t)
	ctx := bounded(t)
	c := s.client(s.http)
	_, err := c.put(ctx, "a", []byte("kept"))
	require.NoError(t, err)
	for i := range s.nodes {
		s.kill(i)
	}
	s.http.CloseIdleConnections() // who asks on one of those cannot know that nobody reads it
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = c.put(short, "a", []byte("nobody hears this"))
	require.True(t, replication.DidNotHappen(err), "%v", err)
	for i := range s.nodes {
		s.restart(i)
	}
	value, found, err := c.get(ctx, "a")
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, "kept", string(value))
}
