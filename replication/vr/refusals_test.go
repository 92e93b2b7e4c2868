package vr_test

import (
	"bytes"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/core"
)

// warnings is a log that can be read while it is written.
type warnings struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *warnings) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(line)
}

func (w *warnings) count(text string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.text.String(), text)
}

// What no correct member sends is refused, counted by reason, and told once a minute for each sender and reason: a
// flood of it is one line; but of other epochs nothing is told. The group works on, and nobody follows a view that cannot be.
func TestWhatIsRefusedIsCountedAndToldOnce(t *testing.T) {
	log := &warnings{}
	g := newMemoryGroup(t, 3, func(o *vr.Options) {
		o.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	})
	g.mustCommit(1, 1)
	leader, view := g.primary()
	target := g.network.way(99, core.ReplicaID(leader+1))
	other := core.ReplicaID(g.backups(leader)[0] + 1)
	message := func(m *pb.VRMessage) []byte {
		data, err := proto.Marshal(m)
		require.NoError(t, err)
		return data
	}
	commit := pb.VRKind_VR_KIND_COMMIT
	const times = 100
	for _, c := range []struct {
		reason string
		from   core.ReplicaID
		data   []byte
	}{
		{"malformed", other, []byte{0xff, 0xff}},
		{"epoch", other, message(&pb.VRMessage{Kind: commit, Epoch: 5, View: uint64(view)})},
		{"stranger", 99, message(&pb.VRMessage{Kind: commit, View: uint64(view)})},
		{"view", other, message(&pb.VRMessage{Kind: pb.VRKind_VR_KIND_START_VIEW_CHANGE, View: math.MaxUint64})},
		{"invalid", other, message(&pb.VRMessage{Kind: commit, View: uint64(view)})},
	} {
		before := counted(g.replicas[leader], "messages_refused."+c.reason)
		for range times {
			target.receive(c.from, c.data)
		}
		g.eventually(c.reason+" is counted", func() bool {
			return counted(g.replicas[leader], "messages_refused."+c.reason) == before+times
		})
		told := 1
		if c.reason == "epoch" {
			told = 0 // the members of a group do not enter an epoch at one and the same time
		}
		require.Equal(t, told, log.count("reason="+c.reason), c.reason)
	}
	require.EqualValues(t, 5*times, g.replicas[leader].Status().Counters["messages_refused"])
	require.Equal(t, 4, log.count(`msg="message refused"`))
	target.receive(core.ReplicaID(g.backups(leader)[1]+1), nil)
	g.eventually("another sender is told of too", func() bool { return log.count("reason=malformed") == 2 })
	g.mustCommit(2, 3)
	_, now := g.primary()
	require.Equal(t, view, now)
}

func counted(r replication.Measurer, name string) uint64 { return r.Measure().Values[name] }
