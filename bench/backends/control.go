package backends

import (
	"encoding/json"

	"github.com/viewline/viewline/replication"
)

// The verbs that a replica's process obeys, one at a time.
const (
	verbListen    = "listen"    // listenRequest: an address in return
	verbOpen      = "open"      // openRequest
	verbMeter     = "meter"     // Meter
	verbLoad      = "load"      // loadRequest; ends the load before
	verbLap       = "lap"       // Lap
	verbRest      = "rest"      // Outcomes of all loads so far, when every proposer has had its last answer
	verbTrail     = "trail"     // trail
	verbProfile   = "profile"   // profileRequest
	verbUnprofile = "unprofile" // ends the profile
	verbEnd       = "end"       // ends the replica in order, and the process
)

// request goes to a replica's process.
type request struct {
	Number uint64          `json:"number"`
	Verb   string          `json:"verb"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// reply comes back. One with number 0 is no answer but says that an operation was committed, the first in a view.
type reply struct {
	Number    uint64                 `json:"number"`
	Error     string                 `json:"error,omitempty"`
	Body      json.RawMessage        `json:"body,omitempty"`
	Committed replication.ViewNumber `json:"committed,omitempty"`
}

type listenRequest struct {
	// Address is where the replica listened in its life before; "": somewhere on loopback.
	Address string `json:"address"`
	// Audit: the kernel is to tell of fsyncs, if it can.
	Audit bool `json:"audit"`
}

type openRequest struct {
	Backend    string                           `json:"backend"`
	Durability string                           `json:"durability"`
	Self       replication.ReplicaID            `json:"self"`
	Members    map[replication.ReplicaID]string `json:"members"`
	Directory  string                           `json:"directory"`
	// Create: it is the replica's first life.
	Create bool  `json:"create"`
	Terms  Terms `json:"terms"`
}

type profileRequest struct {
	File string `json:"file"`
}

// trail is what a probe of a backend's policy leaves in one process.
type trail struct {
	// Audited: the kernel was asked. Fsyncs are when each was begun, and Spans when operations were under way.
	Audited bool     `json:"audited"`
	Fsyncs  []uint64 `json:"fsyncs"`
	Spans   []span   `json:"spans"`
}

// Meter is what a process has used so far, and how its replica is.
type Meter struct {
	CPUSeconds float64 `json:"cpu_seconds"`
	// Fsyncs are those that the backend counts. Frames are the messages of the protocol, Bytes their payloads; Flushes are
	// what went out together. BytesFetched are those of checkpoints; both are what came in.
	Fsyncs        uint64 `json:"fsyncs"`
	Frames        uint64 `json:"frames"`
	Flushes       uint64 `json:"flushes"`
	Bytes         uint64 `json:"bytes"`
	BytesReceived uint64 `json:"bytes_received"`
	BytesFetched  uint64 `json:"bytes_fetched"`

	Leading  bool                   `json:"leading"`
	Protocol string                 `json:"protocol"`
	View     replication.ViewNumber `json:"view"`
	Commit   replication.OpNumber   `json:"commit"`
	Applied  replication.OpNumber   `json:"applied"`
	// Log is how the log is kept, by the backend's own word.
	Log      string   `json:"log"`
	State    State    `json:"state"`
	Outcomes Outcomes `json:"outcomes"`
	Failure  string   `json:"failure,omitempty"`
}
