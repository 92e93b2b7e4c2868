package cluster_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/node"
)

// metricsDocument lists every metric.
const metricsDocument = "../docs/METRICS.md"

// unmoved are the metrics that need not move in the test below, and why. All others have to.
func unmoved() map[string]string {
	moments := "it stands at 0 whenever nothing waits at that moment"
	defects := "it tells of a defect, or of input that no correct program sends"
	bounds := "it tells that a bound is reached, or a fault of the network"
	clients := "it tells of clients that give up, or that ask a node which cannot help"
	disks := "it tells of a disk that went bad, or of an operator's last resort; other tests move it"
	late := "it takes longer than a test, or something that is not there yet"
	still := map[string]string{
		"viewline_replication_failed":                          defects,
		"viewline_replication_messages_refused_total":          defects,
		"viewline_node_answers_repeated_total":                 defects,
		"viewline_shard_contradictions_total":                  defects,
		"viewline_shard_invariant_breaks_total":                defects,
		"viewline_shard_wrong_shard_total":                     defects,
		"viewline_replication_checkpoint_chunks_refused_total": defects,
		"viewline_shard_future_timestamps_total":               defects,
		"viewline_peers_handshakes_refused_total":              defects,
		"viewline_peers_handshakes_refused_by_peer_total":      defects,
		"viewline_coordinator_refused_operations_total":        defects,

		"viewline_replication_messages_dropped_total":            bounds,
		"viewline_replication_overloads_total":                   bounds,
		"viewline_shard_overloads_total":                         bounds,
		"viewline_node_connections_turned_away_total":            bounds,
		"viewline_replication_checkpoint_fetches_failed_total":   bounds,
		"viewline_replication_checkpoint_fetch_resumes_total":    bounds,
		"viewline_replication_checkpoint_fetches_replaced_total": bounds,

		"viewline_replication_damages_total": disks,
		"viewline_replication_repairs_total": disks,
		"viewline_replication_forced":        disks,

		"viewline_shard_deadlines_total":   clients,
		"viewline_node_refused_total":      clients,
		"viewline_node_answers_lost_total": clients,

		"viewline_coordinator_map_version":       late,
		"viewline_coordinator_low_marks_total":   late,
		"viewline_shard_bound_refreshes_total":   late,
		"viewline_shard_snapshots_too_old_total": late,

		"viewline_replication_lag_operations":              moments,
		"viewline_replication_queue_operations":            moments,
		"viewline_replication_queue_operation_bytes":       moments,
		"viewline_replication_queue_reads":                 moments,
		"viewline_replication_queue_messages":              moments,
		"viewline_replication_queue_message_bytes":         moments,
		"viewline_replication_transferring":                moments,
		"viewline_replication_learners":                    moments, // but see membersChange
		"viewline_replication_checkpoint_fetch_bytes":      moments,
		"viewline_replication_checkpoint_fetch_done_bytes": moments,
		"viewline_peers_queue_frames":                      moments,
		"viewline_peers_queue_bytes":                       moments,
		"viewline_txns_in_flight":                          moments,
		"viewline_prepared_txns":                           moments,
		"viewline_oldest_prepared_seconds":                 moments,
		"viewline_shard_waiting":                           moments,
		"viewline_node_answer_bytes":                       moments,
		"viewline_shard_request_bytes":                     moments,
		"viewline_coordinator_waiting":                     moments,
		"viewline_shard_unended":                           moments,
	}
	maps.Copy(still, untried())
	return still
}

// untried are those of what a replica can do and no cluster has it do.
func untried() map[string]string {
	unused := "no part of a cluster reads at backups; the replicas' own tests move it"
	return map[string]string{
		"viewline_replication_queue_stale_reads": unused,
		"viewline_replication_stale_reads_total": unused,
	}
}

// scraped is what all nodes of a cluster show: the metrics of every node by family, and the values by family, node
// and labels.
type scraped struct {
	families map[string]*dto.MetricFamily
	values   map[string]map[string]float64
}

func scrape(t *testing.T, c *cluster.Cluster) scraped {
	t.Helper()
	all := scraped{map[string]*dto.MetricFamily{}, map[string]map[string]float64{}}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // goleak would see kept connections
	for node, address := range c.AdminAddrs() {
		response, err := client.Get("http://" + address + "/metrics")
		require.NoError(t, err, node)
		text, err := io.ReadAll(response.Body)
		require.NoError(t, errors.Join(err, response.Body.Close()))
		require.Equal(t, http.StatusOK, response.StatusCode, "%s", text)
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
		require.NoError(t, err)
		for name, family := range families {
			if strings.HasPrefix(name, "viewline_") {
				all.add(node, name, family)
			}
		}
	}
	return all
}

func (s scraped) add(node, name string, family *dto.MetricFamily) {
	if s.families[name] == nil {
		s.families[name], s.values[name] = &dto.MetricFamily{Type: family.Type, Help: family.Help}, map[string]float64{}
	}
	s.families[name].Metric = append(s.families[name].Metric, family.Metric...)
	for _, m := range family.Metric {
		s.values[name][fmt.Sprint(node, m.GetLabel())] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
}

// of leaves out what others than those nodes show that were there before: a new node's metrics have not moved.
func (s scraped) of(before scraped) scraped {
	for name, values := range s.values {
		maps.DeleteFunc(values, func(labels string, _ float64) bool {
			_, known := before.values[name][labels]
			return !known
		})
	}
	return s
}

// rows are the lines of the document's table.
func (s scraped) rows() (rows []string) {
	for _, name := range slices.Sorted(maps.Keys(s.families)) {
		family := s.families[name]
		labels := map[string]bool{}
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				labels[label.GetName()] = true
			}
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", name, strings.ToLower(family.GetType().String()),
			strings.Join(slices.Sorted(maps.Keys(labels)), ", "), family.GetHelp()))
	}
	return rows
}

// TestEveryMetricIsDocumentedAndMoves: what a real cluster shows and what docs/METRICS.md says is the same, and
// work and faults move it.
func TestEveryMetricIsDocumentedAndMoves(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Admin: true, Tuning: cluster.Tuning{CheckpointEvery: 50, InDoubtAge: time.Second}})
	before := scrape(t, c)
	text, err := os.ReadFile(metricsDocument)
	require.NoError(t, err)
	var documented []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "| `viewline_") {
			documented = append(documented, strings.TrimSpace(line))
		}
	}
	require.Equal(t, strings.Join(before.rows(), "\n"), strings.Join(documented, "\n"), metricsDocument+" is not current")

	work(t, c)
	membersChange(t, c)
	worked := scrape(t, c).of(before)
	primariesFail(t, c) // whose counters begin anew
	after := scrape(t, c).of(before)
	exempt := unmoved()
	for name, values := range before.values {
		if exempt[name] == "" && maps.Equal(values, worked.values[name]) && maps.Equal(values, after.values[name]) {
			t.Errorf("%s has not moved", name)
		}
		delete(exempt, name)
		for _, m := range after.families[name].GetMetric() {
			for _, label := range m.GetLabel() {
				require.Contains(t, []string{"group", "replica", "kind", "reason"}, label.GetName(), "%s: a label may not name keys or transactions", name)
			}
		}
	}
	require.Empty(t, exempt, "no such metrics")
}

// work does what a cluster does: transactions that get into each other's way on both shards, reads, a transaction
// that stays prepared, and a replica that is away until only a checkpoint helps it.
func work(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	connected := clustertest.Clerk(t, c)
	away := 1
	primary, err := c.Primary(within(t), 1)
	require.NoError(t, err)
	if primary == 1 {
		away = 2
	}
	require.NoError(t, c.Kill(1, uint32(away)))
	oids := []string{onShard(connected, 1, "one"), onShard(connected, 2, "two")}
	var running sync.WaitGroup
	for range 3 {
		running.Go(func() {
			for range 40 {
				if err := increment(t, connected, oids); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	strand(t, c, connected, oids)
	_, err = c.Transfer(within(t), 2, 0)
	require.NoError(t, err)
	put(t, connected, oids[0], "alone")
	requireValue(t, connected, oids[0], "alone")
	require.NoError(t, c.Restart(1, uint32(away)))
	awaitMoved(t, c, "viewline_replication_checkpoint_fetches_total", "viewline_peers_checkpoints_sent_total")
}

// membersChange replaces a backup of shard 2, as soon as the newcomer is heard.
func membersChange(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	primary, err := c.Primary(within(t), 2)
	require.NoError(t, err)
	newcomer, err := c.AddNode(within(t), 2)
	require.NoError(t, err)
	awaitMoved(t, c, "viewline_replication_learners")
	leaver := primary%3 + 1
	require.NoError(t, c.ChangeMembers(within(t), 2, []uint32{newcomer}, []uint32{leaver}))
	require.NoError(t, c.AwaitWhole(within(t)))
}

// primariesFail kills primaries, which come back.
func primariesFail(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	connected := clustertest.Clerk(t, c)
	for _, group := range []uint32{1, cluster.CoordinatorGroup} {
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		require.NoError(t, c.Kill(group, primary))
		put(t, connected, fmt.Sprint(group), "again")
		require.NoError(t, c.Restart(group, primary))
		require.NoError(t, c.AwaitWhole(within(t)))
	}
}

// increment reads and writes all the objects.
func increment(t *testing.T, c *clerk.Clerk, oids []string) error {
	return c.Update(within(t), func(tx *clerk.Txn) error {
		for _, oid := range oids {
			value, err := tx.Get(within(t), oid)
			if err != nil && !errors.Is(err, clerk.ErrNotFound) {
				return err
			}
			if err := tx.Put(oid, append(value, 1)); err != nil {
				return err
			}
		}
		return nil
	})
}

// strand leaves a transaction prepared on shard 1, since shard 2 has no majority, until shard 1 takes it up; then
// shard 2 comes back, and it is decided.
func strand(t *testing.T, c *cluster.Cluster, connected *clerk.Clerk, oids []string) {
	t.Helper()
	primary, err := c.Primary(within(t), 2)
	require.NoError(t, err)
	backups := slices.DeleteFunc([]uint32{1, 2, 3}, func(replica uint32) bool { return replica == primary })
	for _, replica := range backups {
		require.NoError(t, c.Kill(2, replica))
	}
	updated := make(chan error, 1)
	go func() { updated <- increment(t, connected, oids) }()
	awaitMoved(t, c, "viewline_shard_terminations_begun_total", "viewline_prepared_txns", "viewline_oldest_prepared_seconds")
	for _, replica := range backups {
		require.NoError(t, c.Restart(2, replica))
	}
	require.NoError(t, <-updated)
	awaitMoved(t, c, "viewline_shard_terminations_total")
}

// awaitMoved waits until each of the metrics is above 0 at some node.
func awaitMoved(t *testing.T, c *cluster.Cluster, names ...string) {
	t.Helper()
	require.Eventually(t, func() bool {
		now := scrape(t, c)
		return !slices.ContainsFunc(names, func(name string) bool {
			return !slices.ContainsFunc(slices.Collect(maps.Values(now.values[name])), func(value float64) bool { return value > 0 })
		})
	}, patience, 20*time.Millisecond, "%v", names)
}

// TestMetricsOfRaft: they are some of the documented ones, and move.
func TestMetricsOfRaft(t *testing.T) {
	c := startOn(t, cluster.BackendRaft, cluster.Options{Admin: true, Coordinators: 1, Shards: 1})
	connected := clustertest.Clerk(t, c)
	for n := range 20 {
		put(t, connected, fmt.Sprint("key/", n), "x")
		requireValue(t, connected, fmt.Sprint("key/", n), "x")
	}
	shown := scrape(t, c)
	text, err := os.ReadFile(metricsDocument)
	require.NoError(t, err)
	for name := range shown.families {
		require.Contains(t, string(text), "\n| `"+name+"` | ")
	}
	for _, name := range []string{
		"viewline_serving", "viewline_replication_leading", "viewline_replication_view", "viewline_replication_op_number", "viewline_replication_commit_number",
		"viewline_replication_applied_number", "viewline_replication_operations_applied_total", "viewline_replication_fsyncs_total",
		"viewline_replication_reads_total", "viewline_txn_committed_total", "viewline_peers_frames_sent_total",
	} {
		require.True(t, slices.ContainsFunc(slices.Collect(maps.Values(shown.values[name])), func(value float64) bool { return value > 0 }), name)
	}
}

// TestAdminAddressIsGuarded as the node's own is.
func TestAdminAddressIsGuarded(t *testing.T) {
	layout, err := cluster.LocalLayout(t.TempDir(), 1, 1, 1)
	require.NoError(t, err)
	set, err := cluster.Initialise(layout)
	require.NoError(t, err)
	config, err := cluster.ReadNodeConfig(set.Nodes[0])
	require.NoError(t, err)

	data := config.Data
	config.Data = "nowhere" // nothing of it is looked at before
	config.Admin = "0.0.0.0:0"
	_, err = cluster.StartNode(config, cluster.NodeOptions{})
	var insecure *node.InsecureListenError
	require.ErrorAs(t, err, &insecure)

	config.Admin = "nowhere"
	_, err = cluster.StartNode(config, cluster.NodeOptions{})
	require.ErrorIs(t, err, cluster.ErrConfig)

	config.Data, config.Admin = data, ""
	off, err := cluster.StartNode(config, cluster.NodeOptions{})
	require.NoError(t, err)
	require.Empty(t, off.AdminAddr())
	require.NoError(t, off.Close())
}
