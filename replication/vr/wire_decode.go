package vr

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/viewline/viewline/replication/vr/core"
)

// entriesMax bounds the entries of one message, whatever its bytes claim. No replica sends more than its
// BatchEntriesMax.
const entriesMax = 1 << 16

// decodeMessage reads a message. Its entries' payloads share data's memory. What it returns is well formed; the
// core decides whether a correct member could have sent it.
func decodeMessage(from, to core.ReplicaID, data []byte) (core.Message, error) {
	d := messageDecoder{message: core.Message{From: from, To: to}}
	for len(data) > 0 {
		field, kind, n, err := consumeTag(data)
		if err != nil {
			return core.Message{}, err
		}
		n, err = d.field(field, kind, data[n:], n)
		if err != nil {
			return core.Message{}, err
		}
		data = data[n:]
	}
	m := d.message
	if m.Kind < core.KindPrepare || m.Kind > core.KindNewCommitted {
		return core.Message{}, fmt.Errorf("%w: kind %d", errMalformed, m.Kind)
	}
	for i := range m.Entries {
		if want := m.First + core.OpNumber(i); want < m.First || m.Entries[i].Op != want || want == 0 {
			return core.Message{}, fmt.Errorf("%w: entry %d in the place of %d", errMalformed, m.Entries[i].Op, want)
		}
	}
	return m, nil
}

// consumeTag refuses what the generated code refuses: protowire alone lets field numbers above the largest pass.
func consumeTag(data []byte) (protowire.Number, protowire.Type, int, error) {
	field, kind, n := protowire.ConsumeTag(data)
	if n < 0 {
		return 0, 0, 0, fmt.Errorf("%w: %w", errMalformed, protowire.ParseError(n))
	}
	if field > protowire.MaxValidNumber {
		return 0, 0, 0, fmt.Errorf("%w: field %d", errMalformed, field)
	}
	return field, kind, n, nil
}

type messageDecoder struct {
	message core.Message
}

// field takes one field's value off data and returns how far it goes, tag included.
func (d *messageDecoder) field(field protowire.Number, kind protowire.Type, data []byte, tag int) (int, error) {
	var n int
	var err error
	switch {
	case field == fieldEntries && kind == protowire.BytesType:
		var value []byte
		if value, n = protowire.ConsumeBytes(data); n >= 0 {
			d.makeRoom(len(value), len(data))
			err = d.entry(value)
		}
	case (field == fieldMembership || field == fieldCheckpointMembership) && kind == protowire.BytesType:
		var value []byte
		if value, n = protowire.ConsumeBytes(data); n >= 0 && field == fieldMembership {
			d.message.Membership = core.EncodedMembership(value)
		} else if n >= 0 {
			d.message.Checkpoint.Membership = core.EncodedMembership(value)
		}
	case kind == protowire.VarintType:
		var value uint64
		if value, n = protowire.ConsumeVarint(data); n >= 0 {
			err = d.number(field, value)
		}
	case kind == protowire.Fixed64Type:
		var value uint64
		if value, n = protowire.ConsumeFixed64(data); n >= 0 {
			d.hash(field, core.Hash(value))
		}
	default:
		// A field that this version does not know, or not with this type: a later version's, and skipped.
		n = protowire.ConsumeFieldValue(field, kind, data)
	}
	if n < 0 {
		return 0, fmt.Errorf("%w: field %d: %w", errMalformed, field, protowire.ParseError(n))
	}
	return tag + n, err
}

func (d *messageDecoder) number(field protowire.Number, value uint64) error {
	m := &d.message
	switch field {
	case fieldKind:
		if value > uint64(core.KindNewCommitted) {
			return fmt.Errorf("%w: kind %d", errMalformed, value)
		}
		m.Kind = core.Kind(value)
	case fieldEpoch:
		m.Epoch = core.EpochNumber(value)
	case fieldView:
		m.View = core.ViewNumber(value)
	case fieldOp:
		m.Op = core.OpNumber(value)
	case fieldCommit:
		m.Commit = core.OpNumber(value)
	case fieldLastNormalView:
		m.LastNormalView = core.ViewNumber(value)
	case fieldNonce:
		m.Nonce = value
	case fieldRound:
		m.Round = value
	case fieldCheckpointOp:
		m.Checkpoint.Op = core.OpNumber(value)
	case fieldCheckpointView:
		m.Checkpoint.View = core.ViewNumber(value)
	case fieldFirst:
		m.First = core.OpNumber(value)
	case fieldLease:
		m.Lease = value
	case fieldIncarnation:
		m.Incarnation = value
	case fieldStamp:
		m.Stamp = value
	case fieldKept:
		m.Kept = core.OpNumber(value)
	case fieldClock:
		m.Clock = value
	case fieldAgree:
		m.Agree = value != 0
	default: // a later version's
	}
	return nil
}

func (d *messageDecoder) hash(field protowire.Number, value core.Hash) {
	switch field {
	case fieldPreviousHash:
		d.message.PreviousHash = value
	case fieldCheckpointHash:
		d.message.Checkpoint.Hash = value
	case fieldHash:
		d.message.Hash = value
	default: // a later version's
	}
}

// entriesRoomMax bounds the entries that room is made for before they are seen.
const entriesRoomMax = 1024

// makeRoom makes room at the first entry, which is so long, for as many as the rest may hold if they are like it.
func (d *messageDecoder) makeRoom(entry, rest int) {
	if d.message.Entries == nil {
		d.message.Entries = make([]core.Entry, 0, min(rest/(entry+2)+1, entriesRoomMax))
	}
}

func (d *messageDecoder) entry(data []byte) error {
	if len(d.message.Entries) == entriesMax {
		return fmt.Errorf("%w: more than %d entries", errMalformed, entriesMax)
	}
	var e core.Entry
	for len(data) > 0 {
		field, kind, n, err := consumeTag(data)
		if err != nil {
			return err
		}
		value := data[n:]
		var number uint64
		var m int
		switch {
		case kind == protowire.VarintType && (field == entryFieldOp || field == entryFieldView || field == entryFieldKind):
			number, m = protowire.ConsumeVarint(value)
			switch field {
			case entryFieldOp:
				e.Op = core.OpNumber(number)
			case entryFieldView:
				e.View = core.ViewNumber(number)
			default:
				if number > uint64(core.EntryReconfiguration) {
					return fmt.Errorf("%w: entry of kind %d", errMalformed, number)
				}
				e.Kind = core.EntryKind(number)
			}
		case kind == protowire.BytesType && field == entryFieldPayload:
			e.Payload, m = protowire.ConsumeBytes(value)
		case kind == protowire.Fixed64Type && field == entryFieldHash:
			number, m = protowire.ConsumeFixed64(value)
			e.Hash = core.Hash(number)
		default:
			m = protowire.ConsumeFieldValue(field, kind, value)
		}
		if m < 0 {
			return fmt.Errorf("%w: entry: %w", errMalformed, protowire.ParseError(m))
		}
		data = value[m:]
	}
	e.Payload = e.Payload[:len(e.Payload):len(e.Payload)]
	d.message.Entries = append(d.message.Entries, e)
	return nil
}
