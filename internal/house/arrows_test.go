package house

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// module is the prefix of every room's import path.
const module = "github.com/viewline/viewline/"

// arrows is who may import whom, of ours: the plan of the house, as data. A room that is not listed may not
// exist. Do not change this table to make a build pass: an arrow is a decision (ARCHITECTURE.md, "Rooms").
// A name that ends in /... stands for everything below it.
var arrows = map[string][]string{
	"txn":                         {},
	"txn/commit":                  {"txn", "internal/omit"},
	"txn/terminate":               {"txn", "internal/omit"},
	"txn/history":                 {"txn", "internal/omit"},
	"check":                       {"txn"},
	"replication":                 {},
	"replication/vr/core":         {"internal/omit"},
	"replication/vr/transfer":     {"replication/vr/core", "internal/omit"},
	"replication/vr":              {"replication", "replication/vr/core", "replication/vr/transfer", "proto/viewline/v1", "internal/latency", "internal/notice"},
	"replication/vr/force":        {"replication/vr/core", "internal/omit"},
	"replication/vr/storage":      {"replication", "replication/vr", "replication/vr/core", "replication/vr/transfer", "replication/vr/force"},
	"replication/vr/streams":      {"replication", "replication/transport", "replication/vr", "replication/vr/core"},
	"replication/vr/vrtest":       {"replication", "replication/vr", "replication/vr/core", "replication/vr/storage"},
	"replication/raft":            {"replication", "proto/viewline/v1", "internal/latency", "internal/notice"},
	"replication/raft/streams":    {"replication", "replication/transport", "replication/raft"},
	"replication/raft/rafttest":   {"replication", "replication/raft"},
	"replication/replicationtest": {"replication", "replication/sessions", "replication/transport", "internal/signals"},
	"replication/sessions/table":  {"internal/omit"},
	"replication/sessions":        {"replication", "replication/sessions/table"},
	"replication/transport":       {"replication", "proto/viewline/v1", "internal/frame", "internal/notice"},
	"proto/viewline/v1":           {},
	"coordinator/state":           {"txn", "internal/placement", "internal/omit"},
	"coordinator":                 {"coordinator/state", "txn", "replication", "proto/viewline/v1", "internal/placement"},
	"shardserver": {
		"txn", "txn/history", "txn/terminate", "replication", "proto/viewline/v1", "internal/route", "internal/placement", "internal/wire",
	},
	"clerk":              {"txn", "txn/commit", "txn/terminate", "proto/viewline/v1", "internal/route", "internal/wire"},
	"internal/omit":      {},
	"internal/placement": {},
	"internal/frame":     {},
	"internal/latency":   {"replication"},
	"internal/notice":    {},
	"internal/script":    {},
	// What hurts a cluster of processes knows nothing of it.
	"internal/faultproxy": {},
	"internal/namespaces": {},
	"internal/signals":    {},
	"internal/house":      {},
	"internal/wire":       {"txn", "proto/viewline/v1"},
	"internal/route":      {"txn", "internal/placement", "proto/viewline/v1", "internal/frame"},
	"internal/node":       {"replication", "replication/transport", "proto/viewline/v1", "internal/frame"},
	"internal/metrics":    {"replication", "proto/viewline/v1"},
	"internal/survey":     {"proto/viewline/v1"},
	"internal/tree":       {"clerk"},
	"internal/registers":  {"clerk"},
	"internal/bank":       {"clerk", "txn"},
	"internal/demo":       {"clerk", "cluster", "cluster/process", "internal/bank", "internal/tree", "txn"},
	"internal/chaos": {
		"clerk", "cluster", "cluster/process", "internal/bank", "internal/survey", "proto/viewline/v1", "txn", "internal/faultproxy",
		"internal/namespaces", "internal/registers",
	},
	"cluster": {
		"txn", "replication", "replication/vr", "replication/vr/force", "replication/vr/storage", "replication/vr/streams", "replication/raft", "replication/raft/streams",
		"replication/transport", "coordinator",
		"shardserver", "clerk", "proto/viewline/v1", "internal/metrics", "internal/node", "internal/route", "internal/placement",
		"internal/survey",
	},
	"cluster/clustertest": {"cluster", "clerk"},
	"cluster/process":     {"cluster", "internal/signals", "internal/survey"},
	"sim":                 {},
	"sim/group":           {"replication/vr/core", "replication/vr/transfer", "replication/vr/force", "internal/omit"},
	"sim/transactions":    {"txn", "txn/commit", "txn/terminate", "txn/history", "check", "internal/omit"},
	"bench":               {"txn", "check", "clerk", "cluster", "cluster/process", "internal/survey"},
	"bench/backends": {
		"replication", "replication/transport", "replication/raft", "replication/raft/streams", "replication/vr", "replication/vr/storage",
		"replication/vr/streams", "internal/signals",
	},
	"examples/kvhttp": {
		"replication", "replication/sessions", "replication/transport", "replication/vr", "replication/vr/storage", "replication/vr/streams",
	},
	"examples/metadata": {"replication", "replication/sessions"},
	"cmd/viewline": {
		"txn", "clerk", "cluster", "bench", "bench/backends", "internal/bank", "internal/chaos", "internal/demo", "internal/node", "internal/route",
		"internal/registers", "internal/script", "internal/survey", "internal/tree", "sim/group",
	},
}

// pure names the rooms that decide and do nothing else.
var pure = []string{
	"txn", "txn/commit", "txn/terminate", "txn/history", "check", "replication/vr/core", "replication/vr/transfer", "replication/vr/force", "coordinator/state",
	"replication/sessions/table",
	"internal/omit", "internal/placement",
}

// impure names what a pure room may not import, with the reason that the failing test gives.
var impure = map[string]string{
	"net":           "effects belong to a driver",
	"os":            "effects belong to a driver",
	"time":          "time enters as ticks or numbers",
	"sync":          "a machine belongs to one goroutine",
	"sync/atomic":   "a machine belongs to one goroutine",
	"context":       "waiting belongs to a driver",
	"math/rand":     "randomness enters as a function",
	"math/rand/v2":  "randomness enters as a function",
	"crypto/rand":   "randomness enters as a function",
	"runtime":       "effects belong to a driver",
	"log/slog":      "effects belong to a driver",
	"unsafe":        "not here",
	"maps":          "map order is not deterministic; build a sorted slice",
	"hash/maphash":  "it is seeded at random",
	"go.etcd.io":    "effects belong to a driver",
	"google.golang": "effects belong to a driver",
}

func TestArrows(t *testing.T) {
	packages := listPackages(t)
	require.Greater(t, len(packages), 5, "go list found next to nothing: the test would prove nothing")
	for _, p := range packages {
		room := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := arrows[room]
		require.True(t, known, "room %s is not in the plan of the house", room)
		for _, imported := range p.Imports {
			if name, ours := strings.CutPrefix(imported, module); ours {
				require.True(t, slices.Contains(allowed, name), "%s imports %s: no such arrow", room, name)
			}
		}
	}
}

func TestPureRoomsHaveNoEffects(t *testing.T) {
	seen := 0
	for _, p := range listPackages(t) {
		if !slices.Contains(pure, strings.TrimPrefix(p.ImportPath, module)) {
			continue
		}
		seen++
		for _, imported := range p.Imports {
			for banned, why := range impure {
				require.False(t, imported == banned || strings.HasPrefix(imported, banned+"/") || strings.HasPrefix(imported, banned+"."),
					"%s imports %s: %s", p.ImportPath, imported, why)
			}
		}
	}
	require.Equal(t, len(pure), seen, "a pure room is missing")
}

// TestClerkLinksGRPCAndProtobufOnly keeps the client library light: no module but those two and what they
// bring may be linked into a user's program.
func TestClerkLinksGRPCAndProtobufOnly(t *testing.T) {
	allowed := []string{
		"github.com/viewline/viewline", "google.golang.org/grpc", "google.golang.org/protobuf", "google.golang.org/genproto/",
		"golang.org/x/net", "golang.org/x/sys", "golang.org/x/text",
	}
	dependencies := goList(t, "-deps", module+"clerk")
	require.Greater(t, len(dependencies), 50)
	for _, p := range dependencies {
		if p.Standard {
			continue
		}
		require.True(t, slices.ContainsFunc(allowed, func(prefix string) bool {
			return strings.HasPrefix(p.ImportPath, prefix)
		}), "the clerk links %s", p.ImportPath)
	}
}

// TestOnlyMetricsImportsPrometheus: what other rooms count is theirs; how it is shown is one room's.
func TestOnlyMetricsImportsPrometheus(t *testing.T) {
	var rooms []string
	for _, p := range listPackages(t) {
		if slices.ContainsFunc(p.Imports, func(path string) bool { return strings.HasPrefix(path, "github.com/prometheus/") }) {
			rooms = append(rooms, strings.TrimPrefix(p.ImportPath, module))
		}
	}
	require.Equal(t, []string{"internal/metrics"}, rooms)
}

// TestServersLinkNoPacketFilter: namespaces and packet filters are for those who hurt a cluster, never for its nodes or
// its clients.
func TestServersLinkNoPacketFilter(t *testing.T) {
	for _, room := range []string{"cluster", "clerk", "cluster/process", "replication/vr"} {
		for _, p := range goList(t, "-deps", module+room) {
			for _, banned := range []string{"github.com/google/nftables", "github.com/vishvananda/", "github.com/mdlayher/", module + "internal/namespaces"} {
				require.False(t, strings.HasPrefix(p.ImportPath, banned), "%s links %s", room, p.ImportPath)
			}
		}
	}
}

// TestOnlyTestsTakeRulesOut: a Set of omitted rules is made nowhere but in tests.
func TestOnlyTestsTakeRulesOut(t *testing.T) {
	for _, file := range sourceFiles(t) {
		if strings.HasPrefix(file.path, "sim/") || strings.HasPrefix(file.path, "internal/omit/") {
			continue
		}
		require.NotContains(t, file.text, "omit.Of(", "%s takes a safety rule out", file.path)
	}
}
