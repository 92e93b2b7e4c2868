package route

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/internal/placement"
	pb "github.com/viewline/viewline/proto/viewline/v1"
)

func goodMap() *pb.ShardMap {
	slots := placement.Even([]uint32{2, 1})
	return &pb.ShardMap{
		Version: 1, Technique: pb.Technique_TECHNIQUE_HASH,
		Coordinator: &pb.Group{Members: []*pb.Member{{Replica: 1, Address: "c"}}},
		Shards: []*pb.Group{
			{Id: 2, Members: []*pb.Member{{Replica: 2, Address: "b"}, {Replica: 1, Address: "a"}}},
			{Id: 1, Members: []*pb.Member{{Replica: 1, Address: "a"}}},
		},
		Slots: slots[:],
	}
}

func TestMapFromTheWire(t *testing.T) {
	m, err := newMap([16]byte{7}, goodMap())
	require.NoError(t, err)
	require.Equal(t, []Member{{Replica: 1, Address: "a"}, {Replica: 2, Address: "b"}}, m.Members(2), "ascending")
	require.EqualValues(t, 1, m.Shards()[0])
	require.Len(t, m.Slots(1), 512)
	require.Nil(t, m.Members(3))
	require.Zero(t, m.Epoch(3))
	later := goodMap()
	later.Shards[0].Epoch, later.Shards[0].Members[1].Witness = 5, true
	m, err = newMap([16]byte{7}, later)
	require.NoError(t, err)
	require.EqualValues(t, 5, m.Epoch(2))
	require.Zero(t, m.Epoch(1))
	require.Equal(t, []Member{{Replica: 1, Address: "a", Witness: true}, {Replica: 2, Address: "b"}}, m.Members(2))
	require.Equal(t, m.slots[placement.Slot("x")], m.Locate("x"))

	for _, c := range []struct {
		name  string
		spoil func(*pb.ShardMap)
	}{
		{"no version", func(m *pb.ShardMap) { m.Version = 0 }},
		{"unknown technique", func(m *pb.ShardMap) { m.Technique = 9 }},
		{"too few slots", func(m *pb.ShardMap) { m.Slots = m.Slots[1:] }},
		{"a slot of nobody", func(m *pb.ShardMap) { m.Slots[3] = 4 }},
		{"a slot of the coordinator", func(m *pb.ShardMap) { m.Slots[3] = 0 }},
		{"no coordinator", func(m *pb.ShardMap) { m.Coordinator = nil }},
		{"a coordinator that is not group 0", func(m *pb.ShardMap) { m.Coordinator.Id = 3 }},
		{"a shard that is group 0", func(m *pb.ShardMap) { m.Shards[0].Id = 0 }},
		{"a shard twice", func(m *pb.ShardMap) { m.Shards[0].Id = 1 }},
		{"a shard without members", func(m *pb.ShardMap) { m.Shards[0].Members = nil }},
		{"a member without an address", func(m *pb.ShardMap) { m.Shards[0].Members[0].Address = "" }},
		{"witnesses alone", func(m *pb.ShardMap) { m.Shards[1].Members[0].Witness = true }},
		{"a member without a number", func(m *pb.ShardMap) { m.Shards[0].Members[0].Replica = 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			wire := goodMap()
			c.spoil(wire)
			_, err := newMap([16]byte{7}, wire)
			require.Error(t, err)
		})
	}
}

func FuzzMap(f *testing.F) {
	good, err := proto.Marshal(goodMap())
	require.NoError(f, err)
	f.Add(good)
	later := goodMap()
	later.Shards[0].Epoch, later.Shards[0].Members[1].Witness = 5, true
	changed, err := proto.Marshal(later)
	require.NoError(f, err)
	f.Add(changed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var wire pb.ShardMap
		if proto.Unmarshal(data, &wire) != nil {
			return
		}
		m, err := newMap([16]byte{7}, &wire)
		if err != nil {
			return
		}
		require.True(t, m.Has(m.Locate("x")))
		for _, shard := range m.Shards() {
			require.NotEmpty(t, m.Members(uint32(shard)))
		}
	})
}

func TestErrors(t *testing.T) {
	for code := range pb.Code_name {
		e := &Error{Code: pb.Code(code), Message: "words"}
		require.ErrorIs(t, e, e.sentinel())
		require.ErrorContains(t, e, "words")
		uncertain := e.Code == pb.Code_CODE_UNSPECIFIED || e.Code == pb.Code_CODE_OUTCOME_UNKNOWN || e.Code == pb.Code_CODE_INTERNAL
		require.Equal(t, !uncertain, Certain(e), "%v", e.Code)
	}
	require.False(t, Certain(nil))
	require.False(t, Certain(unknown(&Error{Code: pb.Code_CODE_WRONG_SHARD})))
	require.NoError(t, unknown(nil))
}

func TestOptions(t *testing.T) {
	good := Options{Coordinators: []string{"a:1"}}
	require.NoError(t, good.Validate())
	for name, spoil := range map[string]func(*Options){
		"no coordinators":         func(o *Options) { o.Coordinators = nil },
		"an empty address":        func(o *Options) { o.Coordinators = []string{""} },
		"less than nothing":       func(o *Options) { o.CallsMax = -1 },
		"nothing but reserved":    func(o *Options) { o.OutstandingMax, o.ReservedForEnd = 4, 4 },
		"pauses the wrong way up": func(o *Options) { o.BackoffMin, o.BackoffMax = 2, 1 },
	} {
		o := good
		spoil(&o)
		require.ErrorIs(t, o.Validate(), ErrOptions, name)
	}
}
