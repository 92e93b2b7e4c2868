package table

import "encoding/binary"

// resultVersion is the first byte of every result.
const resultVersion = 1

// Status is what became of one copy of an operation. All but StatusRegistered and StatusExecuted say that this
// copy had no effect; whether another had one is said with each.
type Status uint8

// The second byte of every result.
const (
	// StatusRegistered: there is a new session.
	StatusRegistered Status = iota + 1
	// StatusExecuted: the request was executed, by this copy or an earlier one; its reply is here.
	StatusExecuted
	// StatusReplyDropped: an earlier copy was executed; its reply is not kept any more.
	StatusReplyDropped
	// StatusSessionDropped: there is no such session, or no longer. Earlier copies may have been executed; no
	// later one will be.
	StatusSessionDropped
	// StatusBelowWindow: the client has said that it does not ask for this number any more. Earlier copies may
	// have been executed; no later one will be.
	StatusBelowWindow
	// StatusAboveWindow: the window has no room for this number yet. No earlier copy was executed; a later one
	// may be.
	StatusAboveWindow
	// StatusMalformed: the operation makes no sense, or is of another version. No copy is ever executed.
	StatusMalformed
)

// resultHeaderBytes is the length of a result without the reply itself.
const resultHeaderBytes = 2 + 8

// Result is what Table.Apply says of one operation.
type Result struct {
	Status Status
	// Session and Window come with StatusRegistered: its id, and how many request numbers it has open at once.
	Session uint64
	Window  int
	// Op comes with StatusExecuted and StatusReplyDropped: where the request was executed.
	Op uint64
	// Reply comes with StatusExecuted: what the machine returned.
	Reply []byte
	// Lowest comes with StatusBelowWindow and StatusAboveWindow: where the window begins.
	Lowest uint64
}

// ReadResult reads a result; ok is false when it is none. The Reply is a part of data.
func ReadResult(data []byte) (r Result, ok bool) {
	if len(data) < 2 || data[0] != resultVersion {
		return Result{}, false
	}
	r.Status = Status(data[1])
	rest := data[2:]
	switch r.Status {
	case StatusRegistered:
		if len(rest) != 12 {
			return Result{}, false
		}
		r.Session, r.Window = binary.LittleEndian.Uint64(rest), int(binary.LittleEndian.Uint32(rest[8:]))
		return r, r.Session > 0 && r.Window > 0 && r.Window <= WindowLimit
	case StatusExecuted:
		if len(rest) < 8 {
			return Result{}, false
		}
		r.Op, r.Reply = binary.LittleEndian.Uint64(rest), rest[8:len(rest):len(rest)]
		return r, true
	case StatusReplyDropped, StatusBelowWindow, StatusAboveWindow:
		if len(rest) != 8 {
			return Result{}, false
		}
		if number := binary.LittleEndian.Uint64(rest); r.Status == StatusReplyDropped {
			r.Op = number
		} else {
			r.Lowest = number
		}
		return r, true
	case StatusSessionDropped, StatusMalformed:
		return r, len(rest) == 0
	}
	return Result{}, false
}

func registered(session uint64, window int) []byte {
	data := append(make([]byte, 0, 14), resultVersion, byte(StatusRegistered))
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint64(data, session), uint32(window))
}

// executed is a reply as it is returned, kept and returned again: it is made once.
func executed(op uint64, reply []byte) []byte {
	return append(numbered(StatusExecuted, op, len(reply)), reply...)
}

// numbered is a result with a number in it and room for more.
func numbered(status Status, number uint64, room int) []byte {
	data := append(make([]byte, 0, resultHeaderBytes+room), resultVersion, byte(status))
	return binary.LittleEndian.AppendUint64(data, number)
}

func plain(status Status) []byte { return []byte{resultVersion, byte(status)} }
