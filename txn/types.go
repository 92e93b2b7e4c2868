package txn

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Timestamp is a point in the order of all transactions: physical milliseconds above an 18-bit counter,
// strictly increasing over the coordinator's whole life. Zero is before everything.
type Timestamp uint64

// CounterBits is the number of low bits of a Timestamp that count within one millisecond.
const CounterBits = 18

// TimestampAt returns the first timestamp of a millisecond since the Unix epoch.
func TimestampAt(millis uint64) Timestamp { return Timestamp(millis << CounterBits) }

// Millis returns the physical part, in milliseconds since the Unix epoch.
func (t Timestamp) Millis() uint64 { return uint64(t) >> CounterBits }

// Before returns the timestamp that lies the given number of milliseconds earlier, or zero.
func (t Timestamp) Before(millis uint64) Timestamp {
	if millis > t.Millis() {
		return 0
	}
	return t - TimestampAt(millis)
}

// OpNumber is a position in the log of one shard's group.
type OpNumber uint64

// ShardID names the group of replicas that serves a shard. Zero is the coordinator's and no shard.
type ShardID uint32

// ClerkID is drawn at random by each clerk when it starts.
type ClerkID [16]byte

// TxnID names a transaction for ever. Home is a participant of every attempt of it; its decision record
// answers for the transaction.
type TxnID struct {
	Clerk    ClerkID
	Sequence uint64
	Home     ShardID
}

// Compare orders ids by clerk, sequence and home; the order means nothing but is the same everywhere.
func (id TxnID) Compare(other TxnID) int {
	for i := range id.Clerk {
		if id.Clerk[i] != other.Clerk[i] {
			if id.Clerk[i] < other.Clerk[i] {
				return -1
			}
			return 1
		}
	}
	switch {
	case id.Sequence != other.Sequence && id.Sequence < other.Sequence:
		return -1
	case id.Sequence != other.Sequence:
		return 1
	case id.Home < other.Home:
		return -1
	case id.Home > other.Home:
		return 1
	default:
		return 0
	}
}

// Attempt is one try of a transaction. Number starts at 1; every attempt has a timestamp of its own.
type Attempt struct {
	ID     TxnID
	Number uint32
	TS     Timestamp
}

// String gives the form that ParseAttempt reads: clerk-sequence-home.number@timestamp.
func (a Attempt) String() string {
	return fmt.Sprintf("%s-%d-%d.%d@%d", hex.EncodeToString(a.ID.Clerk[:]), a.ID.Sequence, a.ID.Home, a.Number, a.TS)
}

// ErrMalformedID says that a text is not an attempt's id.
var ErrMalformedID = errors.New("txn: malformed transaction id")

// ParseAttempt reads what Attempt.String wrote. Every error is ErrMalformedID.
func ParseAttempt(text string) (Attempt, error) {
	malformed := func() (Attempt, error) { return Attempt{}, fmt.Errorf("%w: %.80q", ErrMalformedID, text) }
	id, stamp, ok := strings.Cut(text, "@")
	if !ok {
		return malformed()
	}
	id, number, ok := strings.Cut(id, ".")
	if !ok {
		return malformed()
	}
	parts := strings.Split(id, "-")
	if len(parts) != 3 || len(parts[0]) != 2*len(ClerkID{}) {
		return malformed()
	}
	var attempt Attempt
	clerk, err := hex.DecodeString(parts[0])
	if err != nil {
		return malformed()
	}
	copy(attempt.ID.Clerk[:], clerk)
	var numbers [4]uint64
	for i, field := range []struct {
		text string
		bits int
	}{{parts[1], 64}, {parts[2], 32}, {number, 32}, {stamp, 64}} {
		if numbers[i], err = strconv.ParseUint(field.text, 10, field.bits); err != nil {
			return malformed()
		}
	}
	attempt.ID.Sequence, attempt.ID.Home = numbers[0], ShardID(numbers[1])
	attempt.Number, attempt.TS = uint32(numbers[2]), Timestamp(numbers[3])
	if attempt.ID.Home == 0 || attempt.Number == 0 || attempt.String() != text {
		return malformed()
	}
	return attempt, nil
}

// ReadEntry is one element of a read set: the version that was seen (0: absent, never written or folded
// away), and where the shard that answered stood when it did.
type ReadEntry struct {
	OID     string
	Version Timestamp
	At      OpNumber
	Shard   ShardID
}

// WriteKind says what a write does.
type WriteKind uint8

// The kinds of write.
const (
	Put WriteKind = iota + 1
	Delete
)

// String returns the kind's name.
func (k WriteKind) String() string {
	switch k {
	case Put:
		return "put"
	case Delete:
		return "delete"
	default:
		return fmt.Sprintf("write kind %d", uint8(k))
	}
}

// WriteEntry is one element of a write set. Value is nil for a Delete and must not be changed once given.
type WriteEntry struct {
	OID   string
	Kind  WriteKind
	Value []byte
}

// Transaction is one participant's part of an attempt: its own reads and writes, and everybody's names.
// Participants are ascending and hold the home shard; reads and writes are ascending by OID, each OID at
// most once in each. A Transaction is never changed once it has been handed on.
type Transaction struct {
	Attempt
	Participants []ShardID
	Reads        []ReadEntry
	Writes       []WriteEntry
	MapVersion   uint64
}

// OnePhase reports whether the only participant may validate and install in one operation.
func (t *Transaction) OnePhase() bool { return len(t.Participants) == 1 }
