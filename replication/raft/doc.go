// Package raft is Raft behind the contract of package replication: hashicorp/raft v1.7.3, its log in raft-boltdb v2.3.1.
// What a state machine and its clients see of it is what replication/vr shows them; replication/replicationtest holds both
// to that. It is there to be compared with, and for those who rather trust an implementation that has run for longer.
//
// A program brings a state machine and opens, in each of its processes, a Replica with a Storage and a Transport:
//
//	err := raft.Create(directory, raft.DurabilitySync) // once in a replica's life
//	...
//	disk, err := raft.OpenStorage(directory, raft.DurabilitySync)
//	replica, err := raft.Open(raft.Options{
//		Self: 2, Members: []replication.ReplicaID{1, 2, 3},
//		Transport: streams.Of(group), // replication/raft/streams
//		Storage: disk, StateMachine: machine,
//	})
//	defer replica.Close()
//
// Package rafttest runs a group in one process, for tests. replication/sessions works on top, unchanged. What a state
// machine has to keep to is in the manual of replication/vr, and is the same; Apply, Snapshot and Restore run on one
// goroutine of the library, and heartbeats go on meanwhile. Measure and Status().Counters have the names of the other backend,
// as far as there is the same here.
//
// # Words
//
//	contract              here
//	view                  term: only its leader leads in it, and terms rise over all replicas
//	primary, backup       leader, follower
//	op-number             index in the log. No-ops, barriers and configurations take one too, so they have gaps
//	Leading               elected, and a barrier of the term is committed and applied: so is all that was inherited
//	checkpoint            snapshot, with the log back to the one before it
//	Applied (Status)      handed to the state machine, which may still be at it
//	Epoch (Status)        changes of the members so far; the library's configuration follows them
//	Members (Status)      those of the epoch, whether they vote already or not
//	recovering            of durability memory, and did not end with Close (below)
//	view-change           a candidate, or knows no leader
//
// Outcomes and errors are the contract's and mean what they mean there:
//
//	hashicorp/raft                                     here
//	ErrNotLeader, ErrLeadershipTransferInProgress      ErrNotPrimary: certainly did not happen
//	ErrLeadershipLost, an error of the log store       ErrOutcomeUnknown
//	committed under another term than proposed in      ErrNotPrimary: it stands in the log and has no effect
//
// The last one is this package's. The library takes a command whenever it leads, also when it has lost the leadership
// since it was proposed, and got it back. So each command carries the term that it was proposed in, and every replica
// passes over one that stands under another: who proposes in a view has it done in that view or not at all.
//
// # Reading
//
// ReadBarrier writes nothing: it waits until a majority of the voters has answered what was sent after it was called, in
// this very term. All who wait share a round, which begins at once. There are no leases. VerifyLeader of the library is only
// what makes it ask, and not what decides: it counts non-voters, and it counts answers to what was sent before it was called,
// which a leader finds that was stopped for a while. A Barrier before the first read of a term, rather than one for each, is
// enough: nothing of an earlier term is committed later, and what is acknowledged in this one was applied here first.
//
// A follower's ReadStale asks the leader how far it has committed, which it tells after such a round, and waits until that is
// applied; the state is then as of when it asked. How far the leader has committed, and not what it has applied: another
// follower may be ahead of it, and somebody may have read there. Ages go by the follower's clock alone, with a margin of 10
// percent; one that stands still, as that of a virtual machine may, makes them too small. A bound of 0 goes by no clock.
//
// # Members
//
// Reconfigure begins the next epoch with any number of other members at once, the primary among them, as in replication/vr:
// newcomers run first, with Joining, ids above every id that was ever a member's and the ids of some members to ask; one that
// has lost its storage comes back, on a new one, as a later Incarnation. Errors, report and dry run are those of
// replication.Reconfigurer. What differs:
//
//   - The epoch begins with a command in the log, for all members in one step. hashicorp/raft changes one server at a time: the
//     leader, whoever that is, brings its configuration to the members step by step (steps.go), and Reconfigure waits for
//     that a little when the epoch has begun. Until then a new member says transitioning in Status, and one that is to go
//     leaving; when all are normal or left, as many may fail as the new members allow. Before, more may be needed.
//   - A primary that stays goes on in its view, and takes operations meanwhile. One that leaves refuses them from the moment
//     that the epoch begins, and has another member lead before anything else.
//   - Who is dead and is to go is removed first; who is alive and is to go, when all new members have the log and vote.
//     Where one of those is lost in between, another change can name others.
//   - A newcomer that asks gets the log as a server that does not vote, which takes an entry in the log, and another one when it
//     has asked no more for 10 ViewChangeTimeouts.
//   - There are no witnesses (ErrMembership says so).
//   - A replica of durability memory that the group began with alone, and that did not end with Close, is not opened though the
//     group has grown since (ErrForgotten): it comes back as a later incarnation.
//
// Each life of a replica is a server of its own to hashicorp/raft, so that nothing which one has acknowledged or promised
// counts for another; and a replica votes for candidates whom it does not know yet (electorate.go), which that library refuses,
// so that one which was away while the others were replaced is of use to them.
//
// # Durability
//
//	sync      term, vote and log in raft.db, two fsyncs for each write, on a majority before an operation is acknowledged.
//	          bbolt's list of free pages is not written (NoFreelistSync), as in the log of the other backend
//	memory    only term and vote are in raft.db; log and snapshots are in memory, and on disk after Close. A replica that
//	          did not end so has lost what it acknowledged. It neither votes nor leads until it has an entry of a later
//	          term than it was ever in, and has the others elect a leader of one (type forgotten tells why that is enough):
//	          so each crash costs the group a change of view. With a majority in this state the group stays stopped, and a
//	          group of one is not opened (ErrForgotten)
//
// There is no async: the library has no way to acknowledge before its log store has, and none to recover what it had. Each
// entry and each block of a snapshot has a CRC-32C, which the library's own stores do not have; docs/FORMATS.md has the
// files. Damage is not repaired: a replica whose log or snapshot does not verify is not opened, or stops (ErrDamaged), and
// stays out. A full disk costs a snapshot, and any other error of the disk the replica.
//
// # When something breaks
//
// hashicorp/raft ends the process when its stable store does not take a term, when its log store does not give an entry
// that is committed, and when a message has a configuration or an entry in it that it cannot read. Here a process may hold
// replicas of many groups. So the stores are behind a guard, which on an error cuts the replica off from the others and
// from its state machine at once, and tells the library a harmless untruth, which can go nowhere any more; and messages are
// checked before the library sees them. The replica stops: Status().Failure says why, and everything else is ErrClosed.
//
// At its end the library leaves futures without an answer for ever, of what was committed and not applied. So a replica
// that ends is made to lose its leadership first, by a log that takes nothing; then everybody has an answer, and it is
// shut down.
//
// A follower that is sent a snapshot takes what comes next, whatever its log had been: what is up to the end of a snapshot is
// committed and not compared again, and entries of its own that stand there go (settled.go). The library would refuse, and
// would be sent the same snapshot again without end.
//
// After a replica has not answered for long, the library would leave it without entries for up to 10 seconds more. Calls
// to it wait here instead until it is heard again, which heartbeats see to.
//
// # Transport
//
// It is calls and answers in frames of replication/transport, and not a raft.StreamLayer with the library's own
// NetworkTransport over it. The frames of all groups of a node share one stream to each other node, and one flush; they
// have checksums, and a sender whom the handshake has named, so that what a message says of its sender is made where it is
// received and nobody speaks for another; queues are bounded in bytes; the hook that cuts and loses is the same for both
// backends; and nothing has to be copied into a byte stream and found in it again. A stream would have needed a connection
// of its own within gRPC for every pair of replicas and every pipeline, deadlines on it, and a way to end those that the
// library's transport leaves open. A message of entries is cut at BatchBytesMax, which the library does not bound. A
// snapshot is offered by a call, and fetched in chunks with checksums as the other backend's checkpoints are; a fetch that
// breaks begins anew. transport.Local.Backend is "raft": replicas of one group with different backends do not hear each
// other, and the log of the node says so.
//
// # Limits
//
//	operation                     OperationBytesMax, 20 MiB by default
//	operations not answered       QueueMax and QueueBytesMax, 65,536 and 64 MiB by default
//	read barriers that wait       ReadsMax, 65,536 by default
//	callers of Checkpoint         1,024
//	messages not handled          MessagesMax and MessagesBytesMax, 1,024 and 64 MiB by default; more are dropped
//	members                       1 to 63
//	entries in memory             EntryCacheBytesMax beside the log store, 16 MiB by default; in memory, the whole log: about
//	                              two snapshots' worth
//
// For a follower that lacks entries, the library reads up to BatchEntriesMax of them before they are cut to a message:
// with operations of megabytes, give it fewer.
package raft
