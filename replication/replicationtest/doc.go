// Package replicationtest is one suite of tests, by name, for every backend behind replication.Replicator: what one
// acknowledges or refuses, the other does.
//
//	func TestMain(m *testing.M) {
//		replicationtest.Main(backends()...) // one for each durability
//		goleak.VerifyTestMain(m)
//	}
//
//	func TestConformance(t *testing.T) {
//		for _, backend := range backends() {
//			t.Run(backend.Name, func(t *testing.T) { replicationtest.Run(t, backend) })
//		}
//	}
//
// A backend brings its replicas and what they are stored in; the suite brings the network between them, which it cuts,
// holds up and counts, and the state machine. It knows no backend. Nothing is skipped: an optional interface that a backend
// has not is named in Backend.Lacks, and the case OptionalInterfaces fails when that is not true.
//
// The names are those of the tests that they follow: Viewstamped Replication of TAPIR's sources, each with batches and with
// a message for every operation; Go-VR; and what a report on Raft at Duke lists. The others are the contract's own: read
// barriers, transfers, checkpoints, sessions, changes of the members, stale reads. What every group of the suite is watched
// for is in its harness: a view is led once, and later ones have larger numbers; a state machine gets op-numbers that rise;
// an operation has one outcome; two replicas that have applied as many operations have applied the same.
//
// The cases that begin with Process have each replica be a process, over loopback: Main makes one of the test's own binary
// when it is started anew with an order in its environment. They are stopped and go on (SIGSTOP, SIGCONT), and killed
// (SIGKILL). What a power cut takes is not tried here: no backend's files can be made to forget what was not synced, only
// their stand-ins in memory; those are tried where they are.
//
// Try runs a case that is hoped to fail. The backends' own tests use it to find out whether the suite sees mistakes.
//
// The words are the contract's. Where the backends have words of their own:
//
//	contract            Viewstamped Replication              Raft
//	view                view-number                          term
//	primary, backup     primary, backup                      leader, follower
//	op-number           every operation has the next, but    index of the log, in which no-ops, barriers and
//	                    for changes of the members           configurations stand too: op-numbers have gaps
//	view change         STARTVIEWCHANGE ... STARTVIEW        election; the next primary is whoever gets the votes
//	checkpoint          checkpoint, fetched by who lacks it  snapshot, which the leader offers
//	recovering          recovery (4.3)                       in memory only: no vote until a later term's entry is there
//	epoch               epoch (7), begun by a                begun by a command, which the library's configuration
//	                    RECONFIGURATION                      follows, one server at a time
//	newcomer            learns by GETCOMMITTED               a server that does not vote
//	ReadBarrier         a lease, or a round                  a round
package replicationtest
