package coordinator

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/viewline/viewline/coordinator/state"
	"github.com/viewline/viewline/internal/placement"
	pb "github.com/viewline/viewline/proto/viewline/v1"
	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/txn"
)

// formatVersion is that of operations and checkpoints.
const formatVersion = 1

// checkpointBytesMax is more than the largest checkpoint: the largest map has 1,024 shards of 63 members.
const checkpointBytesMax = 64 << 20

// Errors of decoding. They never reach the replicated state: an operation that cannot be read has no effect.
var (
	// ErrOperation: the bytes are no operation of the coordinator.
	ErrOperation = errors.New("coordinator: malformed operation")
	// ErrCheckpoint: the bytes are no checkpoint of the coordinator.
	ErrCheckpoint = errors.New("coordinator: malformed checkpoint")
)

func encodeBootstrap(layout *state.Map) ([]byte, error) {
	return proto.Marshal(&pb.CoordinatorOperation{
		Version: formatVersion, Body: &pb.CoordinatorOperation_Bootstrap{Bootstrap: mapMessage(layout)},
	})
}

func encodeRaiseMark(mark txn.Timestamp) ([]byte, error) {
	return proto.Marshal(&pb.CoordinatorOperation{
		Version: formatVersion, Body: &pb.CoordinatorOperation_RaiseMark{RaiseMark: &pb.RaiseMark{Mark: uint64(mark)}},
	})
}

func encodeChangeGroup(group *state.Group) ([]byte, error) {
	return proto.Marshal(&pb.CoordinatorOperation{
		Version: formatVersion, Body: &pb.CoordinatorOperation_ChangeGroup{ChangeGroup: groupMessage(group)},
	})
}

// decodeOperation reads any bytes; every error is an ErrOperation.
func decodeOperation(bytes []byte) (state.Operation, error) {
	var message pb.CoordinatorOperation
	if err := proto.Unmarshal(bytes, &message); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOperation, err)
	}
	if message.GetVersion() != formatVersion {
		return nil, fmt.Errorf("%w: version %d", ErrOperation, message.GetVersion())
	}
	switch body := message.GetBody().(type) {
	case *pb.CoordinatorOperation_Bootstrap:
		layout, err := parseMap(body.Bootstrap)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOperation, err)
		}
		return state.Bootstrap{Map: layout}, nil
	case *pb.CoordinatorOperation_RaiseMark:
		return state.RaiseMark{Mark: txn.Timestamp(body.RaiseMark.GetMark())}, nil
	case *pb.CoordinatorOperation_ChangeGroup:
		group := parseGroup(body.ChangeGroup)
		if err := group.Validate(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrOperation, err)
		}
		return state.ChangeGroup{Group: group}, nil
	default:
		return nil, fmt.Errorf("%w: it says nothing", ErrOperation)
	}
}

func encodeCheckpoint(mark txn.Timestamp, current *state.Map, applied replication.OpNumber) ([]byte, error) {
	message := &pb.CoordinatorCheckpoint{Version: formatVersion, Mark: uint64(mark), Applied: uint64(applied)}
	if current != nil {
		message.Map = mapMessage(current)
	}
	return proto.Marshal(message)
}

// decodeCheckpoint reads any bytes; every error is an ErrCheckpoint.
func decodeCheckpoint(bytes []byte) (*state.State, replication.OpNumber, error) {
	var message pb.CoordinatorCheckpoint
	if err := proto.Unmarshal(bytes, &message); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	if message.GetVersion() != formatVersion {
		return nil, 0, fmt.Errorf("%w: version %d", ErrCheckpoint, message.GetVersion())
	}
	var current *state.Map
	if message.GetMap() != nil {
		var err error
		if current, err = parseMap(message.GetMap()); err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrCheckpoint, err)
		}
	}
	restored, err := state.Restore(state.Options{}, txn.Timestamp(message.GetMark()), current)
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return restored, replication.OpNumber(message.GetApplied()), nil
}

// parseMap checks a map whole; every error is state.ErrLayout.
func parseMap(message *pb.ShardMap) (*state.Map, error) {
	if got := len(message.GetSlots()); got != placement.SlotCount {
		return nil, fmt.Errorf("%w: %d slots instead of %d", state.ErrLayout, got, placement.SlotCount)
	}
	if technique := message.GetTechnique(); technique != pb.Technique_TECHNIQUE_HASH {
		return nil, fmt.Errorf("%w: unknown placement technique %d", state.ErrLayout, technique)
	}
	m := &state.Map{
		Version: message.GetVersion(), Technique: state.Hash, Coordinator: parseGroup(message.GetCoordinator()),
		Slots: [placement.SlotCount]uint32(message.GetSlots()),
	}
	for _, group := range message.GetShards() {
		m.Shards = append(m.Shards, parseGroup(group))
	}
	return m, m.Validate()
}

func parseGroup(message *pb.Group) state.Group {
	group := state.Group{ID: message.GetId(), Epoch: message.GetEpoch()}
	for _, member := range message.GetMembers() {
		group.Members = append(group.Members, state.Member{
			Replica: member.GetReplica(), Address: member.GetAddress(), Witness: member.GetWitness(),
		})
	}
	return group
}

func mapMessage(m *state.Map) *pb.ShardMap {
	message := &pb.ShardMap{
		Version: m.Version, Technique: pb.Technique_TECHNIQUE_HASH, Coordinator: groupMessage(&m.Coordinator), Slots: m.Slots[:],
	}
	for i := range m.Shards {
		message.Shards = append(message.Shards, groupMessage(&m.Shards[i]))
	}
	return message
}

func groupMessage(group *state.Group) *pb.Group {
	message := &pb.Group{Id: group.ID, Epoch: group.Epoch}
	for _, member := range group.Members {
		message.Members = append(message.Members, &pb.Member{Replica: member.Replica, Address: member.Address, Witness: member.Witness})
	}
	return message
}

func primaryMessage(p state.Primary) *pb.Primary {
	return &pb.Primary{Group: p.Group, Epoch: p.Epoch, View: p.View, Replica: p.Replica, Address: p.Address}
}

func parsePrimary(message *pb.Primary) state.Primary {
	return state.Primary{
		Group: message.GetGroup(), Epoch: message.GetEpoch(), View: message.GetView(), Replica: message.GetReplica(), Address: message.GetAddress(),
	}
}
