package raft

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	hraft "github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
)

// entries are commands of term 1 with so many bytes.
func entries(first, last uint64, bytes int) []*hraft.Log {
	var logs []*hraft.Log
	for index := first; index <= last; index++ {
		logs = append(logs, &hraft.Log{Index: index, Term: 1, Type: hraft.LogCommand, Data: make([]byte, bytes), Extensions: extension(1)})
	}
	return logs
}

func newTestMachine(inner replication.StateMachine) *machine {
	m := &machine{inner: inner, counters: &counters{}, fail: func(error) {}, due: func() {}, every: 1000, bytes: 1 << 30, changed: func() {}}
	m.members.Store(firstMembership(three()))
	return m
}

// TestACommandOfAnotherTermHasNoEffect: the library took it after it had lost its leadership and got it back.
func TestACommandOfAnotherTermHasNoEffect(t *testing.T) {
	inner := &notes{}
	m := newTestMachine(inner)
	command := func(index, term uint64, view replication.ViewNumber, data string) *hraft.Log {
		return &hraft.Log{Index: index, Term: term, Type: hraft.LogCommand, Data: []byte(data), Extensions: extension(view)}
	}
	results := m.ApplyBatch([]*hraft.Log{
		command(4, 5, 5, "a"), command(5, 5, 4, "late"), command(6, 5, 5, "b"),
		{Index: 7, Term: 5, Type: hraft.LogConfiguration},
		command(8, 5, 6, "early"),
		{Index: 9, Term: 5, Type: hraft.LogCommand, Data: []byte("of nobody")},
		command(12, 5, 5, "c"),
	})
	require.Equal(t, []string{"a", "b", "c"}, inner.all())
	require.Equal(t, []any{
		outcome{value: []byte("a")},
		outcome{stale: true},
		outcome{value: []byte("b")},
		nil,
		outcome{stale: true},
		outcome{stale: true},
		outcome{value: []byte("c")},
	}, results)
}

func TestRunsOfCommandsHaveNoGap(t *testing.T) {
	inner := &runs{}
	m := newTestMachine(inner)
	logs := append(entries(3, 5, 1), entries(7, 8, 1)...)
	m.ApplyBatch(append(logs, &hraft.Log{Index: 9, Type: hraft.LogConfiguration}, entries(10, 10, 1)[0]))
	require.Equal(t, []string{"3+3", "7+2", "10+1"}, inner.seen)
}

type runs struct {
	notes
	seen []string
}

func (r *runs) Apply(first replication.OpNumber, operations [][]byte) [][]byte {
	r.seen = append(r.seen, fmt.Sprintf("%d+%d", first, len(operations)))
	return operations
}

func TestSealedEntries(t *testing.T) {
	log := &hraft.Log{Index: 9, Term: 3, Type: hraft.LogCommand, Data: []byte("data"), Extensions: extension(3)}
	for _, change := range []func(*hraft.Log){
		func(l *hraft.Log) { l.Term++ },
		func(l *hraft.Log) { l.Type = hraft.LogNoop },
		func(l *hraft.Log) { l.Data = []byte("date") },
		func(l *hraft.Log) { l.Extensions[3]++ },
		func(l *hraft.Log) { l.Extensions = l.Extensions[:2] },
		func(l *hraft.Log) { l.Index = 8 },
	} {
		sealed := seal(log)
		change(sealed)
		require.False(t, unseal(9, sealed))
	}
	sealed := seal(log)
	require.True(t, unseal(9, sealed))
	require.Equal(t, log, sealed)
	noop := seal(&hraft.Log{Index: 1, Term: 1, Type: hraft.LogNoop})
	require.True(t, unseal(1, noop))
}

func TestEntryCacheAgainstAMap(t *testing.T) {
	c := entryCache{bytesMax: 10 * (entryOverhead + 20 + extensionBytes)}
	c.add(entries(1, 30, 20))
	require.Nil(t, c.get(20))
	for index := uint64(21); index <= 30; index++ {
		require.Equal(t, index, c.get(index).Index)
	}
	require.Nil(t, c.get(31))
	c.remove(28, 30)
	require.Nil(t, c.get(28))
	require.NotNil(t, c.get(27))
	c.remove(1, 22)
	require.Nil(t, c.get(22))
	require.NotNil(t, c.get(23))
	c.remove(40, 50)
	c.add(entries(100, 101, 20)) // a gap: what was before is of no use
	require.Nil(t, c.get(23))
	require.NotNil(t, c.get(101))
	c.remove(1, 200)
	require.Zero(t, c.bytes)
	c.add(entries(200, 200, 1<<20))
	require.Nil(t, c.get(200), "it is larger than the cache")
	require.Zero(t, c.bytes)
}

// TestAnswersToEarlierQuestionsAreNoNews: a read is answered by what was sent after it, by a majority of the members, and
// by nobody else.
func TestAnswersToEarlierQuestionsAreNoNews(t *testing.T) {
	members := []hraft.ServerID{"1", "2", "3", "4", "5"}
	r := newRounds(2)
	before := r.now()
	require.NoError(t, r.add(7, func(error) {}))
	r.acknowledged("2", 7, before)
	r.acknowledged("3", 7, before)
	r.acknowledged("4", 7, before)
	require.Empty(t, r.verified(members, "1"), "they answer what was sent before")
	after := r.now()
	r.acknowledged("2", 7, after)
	r.acknowledged("9", 7, after)
	r.acknowledged("8", 7, after)
	require.Empty(t, r.verified(members, "1"), "those are no members")
	r.acknowledged("3", 6, after)
	require.Empty(t, r.verified(members, "1"), "that is another term")
	r.acknowledged("3", 7, after)
	reads := r.verified(members, "1")
	require.Len(t, reads, 1)
	require.EqualValues(t, 7, reads[0].view)
	// A read that comes later needs another round, and one of another view is not answered by this one.
	require.NoError(t, r.add(8, func(error) {}))
	require.Empty(t, r.verified(members, "1"))
	later := r.now()
	r.acknowledged("2", 7, later)
	r.acknowledged("3", 7, later)
	require.Empty(t, r.verified(members, "1"))
	require.Len(t, r.take(9), 1)
	require.NoError(t, r.add(9, nil))
	require.NoError(t, r.add(9, nil))
	require.ErrorIs(t, r.add(9, nil), replication.ErrOverloaded)
	require.Len(t, r.close(replication.ErrClosed), 2)
	require.ErrorIs(t, r.add(9, nil), replication.ErrClosed)
}

func TestMessagesThatTheLibraryWouldNotSurvive(t *testing.T) {
	good := hraft.EncodeConfiguration(bootstrap([]replication.ReplicaID{1, 2}))
	entry := func(change func(*pb.RaftEntry)) *pb.RaftMessage {
		e := &pb.RaftEntry{Term: 2, Type: uint32(hraft.LogConfiguration), Data: good}
		change(e)
		return &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Term: 2, Index: 4, IndexTerm: 1, Entries: []*pb.RaftEntry{e}}
	}
	for name, message := range map[string]*pb.RaftMessage{
		"a configuration that is none":            entry(func(e *pb.RaftEntry) { e.Data = []byte("\xc1") }),
		"a type that there is not":                entry(func(e *pb.RaftEntry) { e.Type = 9 }),
		"a type above 255":                        entry(func(e *pb.RaftEntry) { e.Type = 256 }),
		"an entry of a later term":                entry(func(e *pb.RaftEntry) { e.Term = 3 }),
		"an entry of no term":                     entry(func(e *pb.RaftEntry) { e.Term = 0 }),
		"a snapshot with a configuration like it": {Kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, Configuration: []byte{0xc1}},
		"a snapshot that is too large":            {Kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, Configuration: good, Size: 1 << 63},
		"too many entries":                        {Kind: pb.RaftKind_RAFT_KIND_APPEND_ENTRIES, Term: 1, Entries: make([]*pb.RaftEntry, batchEntriesMax+1)},
	} {
		_, err := command(peer{id: 2}, message)
		require.ErrorIs(t, err, errMalformed, name)
	}
	_, err := command(peer{id: 2}, entry(func(*pb.RaftEntry) {}))
	require.NoError(t, err)
	for _, payload := range [][]byte{{0xff}, {}, mustMarshal(t, &pb.RaftMessage{Kind: 77})} {
		_, err := decode(payload)
		require.ErrorIs(t, err, errMalformed)
	}
}

func mustMarshal(t testing.TB, m *pb.RaftMessage) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	require.NoError(t, err)
	return data
}

// FuzzMessages: no bytes bring the decoder down, and what it lets pass is in order.
func FuzzMessages(f *testing.F) {
	f.Add(mustMarshal(f, encodeAppend(&hraft.AppendEntriesRequest{Term: 3, PrevLogEntry: 7, PrevLogTerm: 2, Entries: entries(8, 10, 3)})))
	f.Add(mustMarshal(f, &pb.RaftMessage{
		Kind: pb.RaftKind_RAFT_KIND_INSTALL_SNAPSHOT, Term: 3, Configuration: hraft.EncodeConfiguration(bootstrap([]replication.ReplicaID{1, 2, 3})),
	}))
	f.Add(mustMarshal(f, &pb.RaftMessage{Kind: pb.RaftKind_RAFT_KIND_REQUEST_VOTE, Term: 3, Answer: true, Error: "no"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decode(data)
		if err != nil {
			return
		}
		made, err := command(peer{id: 3}, m)
		if err != nil {
			return
		}
		if a, ok := made.(*hraft.AppendEntriesRequest); ok {
			for i, entry := range a.Entries {
				require.Equal(t, a.PrevLogEntry+1+uint64(i), entry.Index)
				require.LessOrEqual(t, entry.Term, a.Term)
			}
			require.Equal(t, "3", string(a.ID))
		}
	})
}

// FuzzConfigurations: the library panics on bytes that are none.
func FuzzConfigurations(f *testing.F) {
	f.Add(hraft.EncodeConfiguration(bootstrap([]replication.ReplicaID{1, 2, 3})))
	f.Fuzz(func(_ *testing.T, data []byte) { _, _ = decodeConfiguration(data) })
}

func TestFitLeavesOneEntryAtLeast(t *testing.T) {
	a := &hraft.AppendEntriesRequest{Entries: entries(1, 10, 1000)}
	fit(a, 3500)
	require.Len(t, a.Entries, 3)
	fit(a, 10)
	require.Len(t, a.Entries, 1)
	fit(a, 10)
	require.Len(t, a.Entries, 1)
}

func TestWhatTheLibraryLogs(t *testing.T) {
	var out bytes.Buffer
	s := newSlogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	s.With("peer", hclog.Fmt("%d!", 3)).Info("hello", "n", 1)
	require.Contains(t, out.String(), `level=DEBUG msg="raft: hello" peer=3! n=1`)
	s.Error("no contact", "peer", "2")
	s.Error("no contact", "peer", "3")
	require.Equal(t, 1, strings.Count(out.String(), "no contact"), "once a minute")
	s.StandardLogger(nil).Println("plain")
	require.Contains(t, out.String(), "plain")
	require.True(t, s.IsDebug())
	require.False(t, s.IsTrace())
	require.Equal(t, s, s.Named("x"))
}
