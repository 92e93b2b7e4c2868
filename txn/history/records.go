package history

import "github.com/viewline/viewline/txn"

// Bounds of one Object record; an object with more versions is told in several records, one after the
// other. A single version may be larger than ObjectRecordBytesMax by itself.
const (
	ObjectRecordVersionsMax = 256
	ObjectRecordBytesMax    = 1 << 20
)

// Record is one element of a checkpoint. A checkpoint is one Header, then Objects ascending by OID,
// Prepareds ascending by timestamp, Decisions ascending by TxnID (Compare), ReadStamps ascending by OID. What
// a record points to belongs to the state and must not be changed.
type Record interface{ record() }

// Header is what a state knows besides its collections.
type Header struct {
	Shard           txn.ShardID
	Applied         txn.OpNumber
	LeadNumber      uint64
	LeadView        uint64
	Floor           txn.Timestamp
	Threshold       txn.Timestamp
	VersionHorizon  txn.Timestamp
	RecordHorizon   txn.Timestamp
	ReadStampLow    txn.Timestamp
	Owned           bool
	MapVersion      uint64
	Slots           []uint16
	InvariantBreaks uint64
}

// Object is some or all versions of one object, newest first.
type Object struct {
	OID      string
	Versions []Version
}

// Version is one write of an object.
type Version struct {
	TS        txn.Timestamp
	Installed txn.OpNumber
	Kind      txn.WriteKind
	Value     []byte
}

// Prepared is a transaction on the history line.
type Prepared struct {
	Txn *txn.Transaction
	Op  txn.OpNumber
}

// Decision is what is remembered of a transaction: its highest decided attempt. Status is Committed or
// Aborted; or Prepared, when nothing is decided yet but the id is Closed, and Attempt is then the one on
// the line.
type Decision struct {
	Attempt      txn.Attempt
	Status       txn.Status
	Reason       txn.Reason
	Op           txn.OpNumber
	Participants []txn.ShardID
	// Ended: every participant has applied the commit.
	Ended bool
	// Closed: no later attempt may prepare.
	Closed bool
}

// ReadStamp is the timestamp of an object's largest committed reader.
type ReadStamp struct {
	OID string
	TS  txn.Timestamp
}

func (Header) record()    {}
func (Object) record()    {}
func (Prepared) record()  {}
func (Decision) record()  {}
func (ReadStamp) record() {}
