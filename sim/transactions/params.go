package transactions

import (
	"github.com/viewline/viewline/internal/omit"
	"github.com/viewline/viewline/txn"
)

// Params are what one history is drawn from. Numbers that say how often are per thousand.
type Params struct {
	Shards, Replicas, Objects, Jobs, Steps int

	// What the jobs are.
	Views      int // read-only at a snapshot
	ReadsMax   int
	WritesMax  int
	Deletes    int
	Blind      int // an update that reads nothing
	StaleViews int // of the views: at a timestamp that was issued before
	Hasty      int // a clerk that asks for its first timestamp before it reads
	WrongMap   int // a clerk that sends a write to the wrong shard
	FalseAt    int // a read that claims to be younger than it is, as from a careless cache
	ForeignAt  int // a read that carries another shard's number
	Repeat     int // a timestamp that the coordinator gives out twice; never in an ordinary history

	// What the machines may do.
	Copies, Attempts, Reruns int

	// What goes wrong with a message or a clerk.
	Lose      int // a request or a reply
	Astray    int // a request, to any replica
	Slow      int // a request is not there yet, each time it could be
	GiveUp    int // the sender stops waiting while the request is under way
	Duplicate int // a request that may be repeated freely
	Die       int // a clerk or terminator, before each action
	Cancel    int // a caller gives up, at each step
	// DieAfter kills the first clerk before its action of this number, counted from 1; 0 does not.
	DieAfter int

	// What the shards do, at each step.
	Apply      int
	ViewChange int
	Restart    int // a replica, from a checkpoint
	Truncate   int // of view changes: what nobody has applied is lost in part
	Stray      int // of proposals of a primary that was replaced meanwhile: into the log all the same
	Linger     int // of primaries that are replaced: go on serving until they apply the new Lead
	ReadWait   int // of reads of an update at a primary: wait for writers
	Backups    int // of reads of an update: at any replica
	LateOwn    int // a shard learns only later which slots it serves

	// What runs beside the clerks, at each step.
	Terminate, Redrive, Outcome, Advance int
	// HorizonLag is how far, at most, the threshold and the horizons asked for lie behind the coordinator.
	HorizonLag int
	// EarlyOutcome is how many Outcomes ask about an attempt that is not the last.
	EarlyOutcome int

	// AttemptSpan is the shards' and the clerks', in timestamps.
	AttemptSpan txn.Timestamp
	// Bounds; 0 means the default.
	ReadStampsMax, SnapStampsMax, DecisionsMax, PreparedMax, InFlightMax int

	// What is left out.
	History, Commit, Terminator omit.Set
	Mistakes                    Mistakes
}

// Mistakes are duties of the machines' drivers that a driver may neglect.
type Mistakes uint8

// The mistakes.
const (
	// WaitBeforeRaise: a snapshot waits for writers first and raises the stamp when it reads.
	WaitBeforeRaise Mistakes = 1 << iota
	// NoLeaseCheck: a snapshot is answered without a look whether the primary still is one.
	NoLeaseCheck
	// ServeBeforeLead: a new primary serves under the Lead of the one before it.
	ServeBeforeLead
	// EarlyFloor: a new primary's floor was fetched before it became primary.
	EarlyFloor
	// TimestampFromBefore: a transaction takes a timestamp that was allocated before it began.
	TimestampFromBefore
	// ServeInheritedLead: a primary begins to serve when a Lead is applied that it logged in an earlier view,
	// while the floor of the next one is on its way.
	ServeInheritedLead
)

// String names one mistake.
func (m Mistakes) String() string {
	switch m {
	case WaitBeforeRaise:
		return "wait, then raise"
	case NoLeaseCheck:
		return "no lease check after the read"
	case ServeBeforeLead:
		return "serve before one's own Lead"
	case EarlyFloor:
		return "floor from before the view"
	case ServeInheritedLead:
		return "serve under an inherited Lead"
	case TimestampFromBefore:
		return "timestamp from before the transaction"
	default:
		return "mistakes"
	}
}

// Ordinary draws the mixture of one ordinary history: each kind of fault is on in about half of them.
func Ordinary(seed uint64) Params {
	r := &random{state: seed ^ 0x5eed}
	sometimes := func(permille int) int {
		if r.below(2) == 0 {
			return 0
		}
		return r.between(permille/4, permille)
	}
	p := Params{
		Shards: r.between(1, 3), Replicas: r.between(1, 2), Jobs: r.between(3, 6), Steps: r.between(60, 200),
		Views: sometimes(500), ReadsMax: r.between(1, 3), WritesMax: r.between(1, 2), Deletes: sometimes(400),
		Blind: sometimes(400), StaleViews: sometimes(300), Hasty: sometimes(500), WrongMap: sometimes(60),
		FalseAt: sometimes(200), ForeignAt: sometimes(60), Astray: sometimes(300), HorizonLag: r.between(2, 20),
		Copies: r.between(1, 3), Attempts: r.between(1, 4), Reruns: r.between(0, 2),
		Lose: sometimes(120), Slow: sometimes(800), GiveUp: sometimes(200), Duplicate: sometimes(200), Die: sometimes(60), Cancel: sometimes(10),
		Apply: r.between(100, 400), ViewChange: sometimes(25), Restart: sometimes(10), Truncate: sometimes(1000), Stray: sometimes(1000),
		Linger: sometimes(1000), ReadWait: sometimes(500), Backups: sometimes(800), LateOwn: sometimes(60),
		Terminate: sometimes(40), Redrive: sometimes(30), Outcome: sometimes(20), Advance: sometimes(60),
		EarlyOutcome: sometimes(500), AttemptSpan: txn.Timestamp(r.between(1, 20)),
	}
	p.Objects = r.between(p.Shards, p.Shards+2)
	if p.Shards == 1 && r.below(4) > 0 {
		p.Shards, p.Objects = 2, r.between(2, 4)
	}
	if r.below(8) == 0 {
		p.ReadStampsMax, p.SnapStampsMax = r.between(1, 2), r.between(1, 2)
	}
	if r.below(8) == 0 {
		p.PreparedMax, p.InFlightMax = r.between(2, 4), r.between(1, 3)
		p.DecisionsMax = p.PreparedMax + r.between(3, 8)
	}
	return p
}
