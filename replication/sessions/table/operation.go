package table

import "encoding/binary"

// operationVersion is the first byte of every operation.
const operationVersion = 1

type kind uint8

// The second byte of every operation.
const (
	kindMalformed kind = iota // never on the wire: what cannot be read
	kindRegister
	kindRequest
)

const (
	registerBytes      = 2 + 8
	requestHeaderBytes = 2 + 4*8
)

// Request is one request of a client, as it lies in the log.
type Request struct {
	// Session is the op-number of the session's Register, Nonce what that contained.
	Session, Nonce uint64
	// Number is the request's own, from 1. Every copy has the same.
	Number uint64
	// Acknowledged: the client asks for nothing below this number any more. It is at most Number.
	Acknowledged uint64
	// Operation is for the machine behind the table.
	Operation []byte
}

// Register returns the operation that makes a session. The nonce keeps others from using it: it is drawn at random.
func Register(nonce uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{operationVersion, byte(kindRegister)}, nonce)
}

// Append appends the request's bytes to data.
func (r Request) Append(data []byte) []byte {
	data = append(data, operationVersion, byte(kindRequest))
	for _, number := range [...]uint64{r.Session, r.Nonce, r.Number, r.Acknowledged} {
		data = binary.LittleEndian.AppendUint64(data, number)
	}
	return append(data, r.Operation...)
}

// Encode returns the request's bytes, exactly as many as it needs.
func (r Request) Encode() []byte {
	return r.Append(make([]byte, 0, requestHeaderBytes+len(r.Operation)))
}

// read tells what an operation of the log is. The Operation of a request is a part of data.
func read(data []byte) (kind, Request) {
	if len(data) < 2 || data[0] != operationVersion {
		return kindMalformed, Request{}
	}
	number := func(at int) uint64 { return binary.LittleEndian.Uint64(data[2+8*at:]) }
	switch what := kind(data[1]); {
	case what == kindRegister && len(data) == registerBytes:
		return kindRegister, Request{Nonce: number(0)}
	case what == kindRequest && len(data) >= requestHeaderBytes:
		r := Request{Session: number(0), Nonce: number(1), Number: number(2), Acknowledged: number(3)}
		if r.Number == 0 || r.Acknowledged > r.Number {
			return kindMalformed, Request{}
		}
		r.Operation = data[requestHeaderBytes:len(data):len(data)]
		return kindRequest, r
	}
	return kindMalformed, Request{}
}
