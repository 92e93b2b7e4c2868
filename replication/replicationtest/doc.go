// Package replicationtest is one suite of tests, by name, for every backend behind replication.Replicator: what one
// acknowledges or refuses, the other does.
//
//	func TestConformance(t *testing.T) {
//		replicationtest.Run(t, replicationtest.Backend{Name: "raft, sync", Make: makeReplicas})
//	}
//
// A backend brings its replicas and what they are stored in; the suite brings the network between them, which it cuts
// and holds up, and the state machine. It knows no backend. A test that a backend cannot run fails.
//
// The tests have the names of those that they follow: Viewstamped Replication of TAPIR's sources, Go-VR, and what a
// report on Raft at Duke lists. The words are the contract's. Where the backends have words of their own:
//
//	contract            Viewstamped Replication              Raft
//	view                view-number                          term
//	primary, backup     primary, backup                      leader, follower
//	op-number           every operation has the next         index of the log, in which no-ops, barriers and
//	                                                         configurations stand too: op-numbers have gaps
//	view change         STARTVIEWCHANGE ... STARTVIEW        election; the next primary is whoever gets the votes
//	checkpoint          checkpoint, fetched by who lacks it  snapshot, which the leader offers
//	recovering          recovery (4.3)                       in memory only: no vote until a later term's entry is there
//	ReadBarrier         a lease, or a round                  a round
package replicationtest
