package transport

import "sync/atomic"

// dropReason is why a frame was dropped.
type dropReason uint8

const (
	dropQueueFull dropReason = iota
	dropNotConnected
	dropNotMember
	dropUnknownSender
	dropUnknownReceiver
	dropChecksum
	dropOversized
	dropFault
	dropBackend
	dropReasons
)

// name is the counter's name.
func (r dropReason) name() string {
	return [dropReasons]string{
		dropQueueFull:       "dropped_queue_full",
		dropNotConnected:    "dropped_not_connected",
		dropNotMember:       "dropped_not_a_member",
		dropUnknownSender:   "dropped_unknown_sender",
		dropUnknownReceiver: "dropped_unknown_receiver",
		dropChecksum:        "dropped_checksum",
		dropOversized:       "dropped_oversized",
		dropFault:           "dropped_fault",
		dropBackend:         "dropped_other_backend",
	}[r]
}

// refusalReason is why a stream of frames was refused or ended here.
type refusalReason uint8

const (
	refusedNoHandshake refusalReason = iota
	refusedSecondHandshake
	refusedSilent
	refusedVersion
	refusedCluster
	refusedReplicas
	refusedAddress
	refusedStreams
	refusedOversized
	refusedMalformed
	refusalReasons
)

// name is the reason as a label.
func (r refusalReason) name() string {
	return [refusalReasons]string{
		refusedNoHandshake:     "no_handshake",
		refusedSecondHandshake: "second_handshake",
		refusedSilent:          "silent",
		refusedVersion:         "version",
		refusedCluster:         "cluster",
		refusedReplicas:        "too_many_replicas",
		refusedAddress:         "address",
		refusedStreams:         "too_many_streams",
		refusedOversized:       "oversized_message",
		refusedMalformed:       "malformed_message",
	}[r]
}

// counters are totals since the start.
type counters struct {
	framesSent, bytesSent, messagesSent             atomic.Uint64
	framesReceived, bytesReceived, messagesReceived atomic.Uint64
	streamsOpened, streamsLost                      atomic.Uint64 // outgoing
	refusedByPeer                                   atomic.Uint64 // handshakes
	checkpointsSent, checkpointsFetched             atomic.Uint64 // whole ones
	checkpointBytesSent, checkpointBytesFetched     atomic.Uint64
	dropped                                         [dropReasons]atomic.Uint64
	refused                                         [refusalReasons]atomic.Uint64 // incoming streams
}

func (c *counters) drop(reason dropReason, frames int) { c.dropped[reason].Add(uint64(frames)) }

func (c *counters) snapshot() map[string]uint64 {
	values := map[string]uint64{
		"frames_sent":              c.framesSent.Load(),
		"bytes_sent":               c.bytesSent.Load(),
		"messages_sent":            c.messagesSent.Load(),
		"frames_received":          c.framesReceived.Load(),
		"bytes_received":           c.bytesReceived.Load(),
		"messages_received":        c.messagesReceived.Load(),
		"streams_opened":           c.streamsOpened.Load(),
		"streams_lost":             c.streamsLost.Load(),
		"refused_by_peer":          c.refusedByPeer.Load(),
		"checkpoints_sent":         c.checkpointsSent.Load(),
		"checkpoints_fetched":      c.checkpointsFetched.Load(),
		"checkpoint_bytes_sent":    c.checkpointBytesSent.Load(),
		"checkpoint_bytes_fetched": c.checkpointBytesFetched.Load(),
	}
	for reason := range dropReasons {
		values[reason.name()] = c.dropped[reason].Load()
	}
	for reason := range refusalReasons {
		values["refused_here."+reason.name()] = c.refused[reason].Load()
	}
	return values
}
