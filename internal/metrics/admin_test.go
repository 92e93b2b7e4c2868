package metrics_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"runtime/trace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/internal/metrics"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// still is a replicator that only has a status, and measures if measures is set.
type still struct {
	replication.Replicator
	status replication.Status
}

func (s still) Status() replication.Status { return s.status }

type measuring struct {
	still
	measures replication.Measures
}

func (m measuring) Measure() replication.Measures { return m.measures }

func node() map[string]uint64 {
	return map[string]uint64{"connections_open": 3, "refused_overloaded": 5}
}

func open(t *testing.T, options metrics.Options) *metrics.Admin {
	t.Helper()
	options.Listen, options.Node = "127.0.0.1:0", node
	admin, err := metrics.Open(options)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, admin.Close()) })
	return admin
}

// client keeps no connection: goleak would see it.
func client() *http.Client { return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} }

func get(t *testing.T, url string) (code int, body string) {
	t.Helper()
	response, err := client().Get(url)
	require.NoError(t, err)
	text, err := io.ReadAll(response.Body)
	require.NoError(t, errors.Join(err, response.Body.Close()))
	return response.StatusCode, string(text)
}

func TestMetricsAreMadeOfTheirValues(t *testing.T) {
	shard := metrics.Replica{
		Group: 4, Replica: 2,
		Replicator: measuring{
			still{status: replication.Status{View: 9, Commit: 7, Failure: errors.New("disk")}},
			replication.Measures{
				Values: map[string]uint64{"lag": 6, "view_changes": 3, "view_changes.restart": 1, "view_changes.higher_view": 2},
				Histograms: map[string]replication.Histogram{
					"durable_write_seconds": {Bounds: []float64{0.001, 0.002}, Counts: []uint64{1, 2, 4}, Sum: 12.5},
				},
			},
		},
		Describe: func(s *pb.ReplicaStatus, stateHash bool) {
			require.False(t, stateHash, "a scrape must not read the whole state")
			s.Serving = true
			s.Counters["oldest_prepared_milliseconds"], s.Counters["txn_aborted.stale_read"], s.Counters["txn_aborted"] = 1500, 8, 9
			s.Counters["timestamps"] = 1 // no shard's
		},
	}
	coordinator := metrics.Replica{
		Group: 0, Replica: 1, Replicator: still{status: replication.Status{Counters: map[string]uint64{"fsyncs": 11}}},
		Describe: func(s *pb.ReplicaStatus, _ bool) { s.Counters["timestamps"], s.Counters["prepared"] = 12, 13 },
	}
	admin := open(t, metrics.Options{Replicas: []metrics.Replica{shard, coordinator}})
	code, text := get(t, "http://"+admin.Addr()+"/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, line := range []string{
		`viewline_replication_view{group="4",replica="2"} 9`,
		`viewline_replication_commit_number{group="4",replica="2"} 7`,
		`viewline_replication_failed{group="4",replica="2"} 1`,
		`viewline_replication_failed{group="0",replica="1"} 0`,
		`viewline_replication_lag_operations{group="4",replica="2"} 6`,
		`viewline_replication_view_changes_total{group="4",reason="restart",replica="2"} 1`,
		`viewline_replication_view_changes_total{group="4",reason="higher_view",replica="2"} 2`,
		`viewline_replication_durable_write_seconds_bucket{group="4",replica="2",le="0.001"} 1`,
		`viewline_replication_durable_write_seconds_bucket{group="4",replica="2",le="0.002"} 3`,
		`viewline_replication_durable_write_seconds_bucket{group="4",replica="2",le="+Inf"} 7`,
		`viewline_replication_durable_write_seconds_sum{group="4",replica="2"} 12.5`,
		`viewline_replication_durable_write_seconds_count{group="4",replica="2"} 7`,
		`viewline_replication_fsyncs_total{group="0",replica="1"} 11`,
		`viewline_serving{group="4",replica="2"} 1`,
		`viewline_oldest_prepared_seconds{group="4",replica="2"} 1.5`,
		`viewline_txn_aborted_total{group="4",reason="stale_read",replica="2"} 8`,
		`viewline_coordinator_timestamps_total{group="0",replica="1"} 12`,
		`viewline_node_connections 3`,
		`viewline_node_refused_total{reason="overloaded"} 5`,
	} {
		require.Contains(t, text, line+"\n")
	}
	require.Equal(t, 2, strings.Count(text, "\nviewline_replication_view_changes_total{"), "the total is no reason")
	require.NotContains(t, text, "viewline_prepared_txns", "no coordinator's")
	require.Equal(t, 1, strings.Count(text, "\nviewline_coordinator_timestamps_total{"))
	require.Contains(t, text, "go_goroutines")
	require.Contains(t, text, "process_cpu_seconds_total")
	require.Contains(t, text, "go_build_info")
}

func TestOptionsThatAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		options metrics.Options
		want    error
	}{
		"no node":          {metrics.Options{Listen: "127.0.0.1:0"}, metrics.ErrOptions},
		"no replicator":    {metrics.Options{Listen: "127.0.0.1:0", Node: node, Replicas: []metrics.Replica{{}}}, metrics.ErrOptions},
		"no port":          {metrics.Options{Listen: "127.0.0.1", Node: node}, metrics.ErrOptions},
		"all addresses":    {metrics.Options{Listen: ":0", Node: node}, metrics.ErrInsecure},
		"any IPv4 address": {metrics.Options{Listen: "0.0.0.0:0", Node: node}, metrics.ErrInsecure},
		"another machine":  {metrics.Options{Listen: "192.0.2.1:0", Node: node}, metrics.ErrInsecure},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := metrics.Open(test.options)
			require.ErrorIs(t, err, test.want)
		})
	}
	taken := open(t, metrics.Options{})
	_, err := metrics.Open(metrics.Options{Listen: taken.Addr(), Node: node})
	require.Error(t, err)
	require.NotErrorIs(t, err, metrics.ErrOptions)
	everywhere, err := metrics.Open(metrics.Options{Listen: ":0", Node: node, Insecure: true})
	require.NoError(t, err)
	require.NoError(t, everywhere.Close())
}

func TestOnlyWhatIsServed(t *testing.T) {
	admin := open(t, metrics.Options{})
	for path, want := range map[string]int{
		"/metrics": http.StatusOK, "/debug/pprof/": http.StatusOK, "/debug/pprof/goroutine?debug=1": http.StatusOK,
		"/debug/pprof/cmdline": http.StatusOK, "/": http.StatusNotFound, "/trace": http.StatusNotFound,
	} {
		code, _ := get(t, "http://"+admin.Addr()+path)
		require.Equal(t, want, code, path)
	}
	response, err := client().Post("http://"+admin.Addr()+"/metrics", "text/plain", nil)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, response.StatusCode)
}

// TestOtherNamesAreRefused: a page whose name was made to lead here is not shown anything.
func TestOtherNamesAreRefused(t *testing.T) {
	admin := open(t, metrics.Options{})
	_, port, err := net.SplitHostPort(admin.Addr())
	require.NoError(t, err)
	for host, want := range map[string]int{
		"localhost:" + port: http.StatusOK, "127.0.0.1:" + port: http.StatusOK, "localhost": http.StatusOK, "[::1]:" + port: http.StatusOK,
		"example.org:" + port: http.StatusForbidden, "192.0.2.1:" + port: http.StatusForbidden, "example.org": http.StatusForbidden,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin.Addr()+"/metrics", nil)
		require.NoError(t, err)
		request.Host = host
		response, err := client().Do(request)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		require.Equal(t, want, response.StatusCode, host)
	}
}

func TestHeadersAreBounded(t *testing.T) {
	admin := open(t, metrics.Options{})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+admin.Addr()+"/metrics", nil)
	require.NoError(t, err)
	request.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	response, err := client().Do(request)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, response.StatusCode)
}

// TestCloseEndsAProfile: Close does not wait for a profile of a minute, and nothing of it is left.
func TestCloseEndsAProfile(t *testing.T) {
	admin, err := metrics.Open(metrics.Options{Listen: "127.0.0.1:0", Node: node})
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if response, err := client().Get("http://" + admin.Addr() + "/debug/pprof/trace?seconds=60"); err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
		}
	}()
	require.Eventually(t, trace.IsEnabled, 10*time.Second, time.Millisecond)
	before := time.Now()
	require.NoError(t, admin.Close())
	require.False(t, trace.IsEnabled())
	require.NoError(t, admin.Close())
	<-ended
	require.Less(t, time.Since(before), 30*time.Second)
	_, err = client().Get("http://" + admin.Addr() + "/metrics")
	require.Error(t, err)
}

// TestTooManyRequestsAreRefused: more than there are places for.
func TestTooManyRequestsAreRefused(t *testing.T) {
	release, inside := make(chan struct{}), make(chan struct{}, 100)
	admin, err := metrics.Open(metrics.Options{Listen: "127.0.0.1:0", Node: func() map[string]uint64 {
		inside <- struct{}{}
		<-release
		return nil
	}})
	require.NoError(t, err)
	codes := make(chan int, 16)
	for range 16 {
		go func() {
			code := 0
			if response, err := client().Get("http://" + admin.Addr() + "/metrics"); err == nil {
				_ = response.Body.Close()
				code = response.StatusCode
			}
			codes <- code
		}()
	}
	for range 16 {
		<-inside
	}
	code, _ := get(t, "http://"+admin.Addr()+"/metrics")
	require.Equal(t, http.StatusServiceUnavailable, code)
	close(release)
	for range 16 {
		require.Equal(t, http.StatusOK, <-codes)
	}
	require.NoError(t, admin.Close())
}
