// Package vr is Viewstamped Replication as a library: one replica of one group, behind replication.Replicator
// (Liskov and Cowling, "Viewstamped Replication Revisited", 2012).
//
// A group of 2f+1 replicas runs one state machine and goes on while f+1 of them run and reach each other. One of them
// is the primary: it puts operations in order, and answers for one when it is durable on f+1 replicas and applied. When
// the primary fails, the next view has another one, with everything that was acknowledged.
//
// A program brings a state machine and opens, in each of its processes, a Replica with a Storage and a Transport:
//
//	disk, err := storage.Open(directory, storage.Options{}) // replication/vr/storage
//	replica, err := vr.Open(vr.Options{
//		Self: 2, Members: []replication.ReplicaID{1, 2, 3},
//		Transport: streams.Of(group), // replication/vr/streams
//		Storage: disk, StateMachine: machine,
//	})
//	defer replica.Close()
//
// The examples of this package run a group in one process by replication/vr/vrtest, which is also what tests of a state
// machine want. examples/kvhttp is a whole program: processes, HTTP, redirects, requests that happen once.
// examples/metadata is a tree of paths with rules of its own, behind replication/sessions.
//
// The package drives the pure machine in replication/vr/core: persist, send, apply, answer, in the order that
// core.Ready demands. A Replica may be used from many goroutines.
//
// # The state machine
//
// It is a replication.StateMachine. Each replica has its own, and all must be the same after the same operations:
//
//   - Apply is deterministic: the state and the operation decide, and nothing else. No clock, randomness, order of a
//     map, environment or disk; what it needs of those goes into the operation, before Submit.
//   - Apply is total: an operation that makes no sense, or of a newer version of the program, changes nothing and has a
//     result that says so. It returns one result for each operation, or the replica stops.
//   - Operations come in the order of their numbers, each once between two Restores, in batches that differ from replica
//     to replica: a result must not depend on the batch. Operations and results may be kept and are never changed.
//   - Apply runs on the replica's own goroutine, like Snapshot and Restore: while it does, no heartbeat leaves. What
//     takes longer than Options.ViewChangeTimeoutMin may cost a primary its view. It may not call Close, nor wait for an
//     operation, a read barrier or a checkpoint of its own replica.
//   - Snapshot captures the state cheaply, since the replica waits for it; Snapshot.WriteTo runs beside later Applies on
//     another goroutine and must write what was captured. Release comes once, also when nothing was written.
//   - Restore replaces everything, whatever there was before, and reads to the end: bytes that it leaves are an error.
//     It is called by Open when there is a checkpoint, and later whenever this replica is so far behind that it fetches
//     one. What the log has above it is applied when the group is known to have committed it, and not by Open.
//   - An error of Snapshot or Restore stops the replica. What other goroutines read of the state, the machine guards.
//
// # Submitting
//
// Submit is for the primary, and names the view: an operation that was made under an earlier leadership is refused, not
// executed late. The view comes from Events. replication.Propose is Submit for a caller that waits.
//
//	err of the Result        what it means                                           what to do
//	nil                      executed at Result.Op, with Result.Value
//	ErrNotPrimary            did not happen: not the primary of that view.           ask NotPrimaryError.Primary;
//	                         A *replication.NotPrimaryError says who is, if known    0: wait and ask anyone
//	ErrOverloaded            did not happen: QueueMax or QueueBytesMax               later
//	ErrTooLarge              did not happen: above OperationBytesMax                 not again
//	ErrClosed                did not happen: closed, or stopped by what it wraps     another replica
//	ErrOutcomeUnknown        may have happened, or may happen later                  see below
//
// The errors are those of package replication; replication.DidNotHappen is true for all but the last. An outcome is
// unknown when the replica had taken the operation and then lost its view, was closed or stopped, or when the context
// of Propose ended. To propose the operation again may execute it twice. Package replication/sessions, the client-table
// of the paper, makes that safe: it wraps the state machine, and its Client repeats a request until it knows.
//
// The callback of Submit is called once, mostly on the replica's own goroutine and sometimes before Submit returns: it
// must not block. Submit never blocks either; what waits while the disk is busy becomes one batch.
//
// # Reading
//
// A read of the primary's state may be old: another view may have begun. ReadBarrier (AwaitReadBarrier for a caller that
// waits) answers nil when everything that anyone was acknowledged before the call is applied here, so that a read which
// follows is linearizable. Under a lease it is answered at once, and otherwise it costs one round of messages, which all
// who wait share; it never costs a disk. Its errors are ErrNotPrimary, ErrOverloaded (Options.ReadsMax) and
// ErrClosed. ReadBarrier is the primary's; ReadStale lets any replica's state be read.
//
// # Leases
//
// A backup that answers the primary's COMMIT grants it a lease: for Options.LeaseDuration from the receipt, by its own
// clock, it takes part in no change to a later view. The primary counts from the sending, less LeaseMarginPercent. While
// a lease that f backups granted is valid, ReadBarrier is answered without asking anybody. Heartbeats renew it; a primary
// that is cut off has none within two thirds of ViewChangeTimeoutMin, and before another leads.
//
// Such a read is linearizable. It takes effect when the clock is read, which is after the caller asked. At that time the
// lease was valid, so that no f+1 replicas could have left the view: each f+1 have among them one who granted the lease,
// and by the margin his promise lasts longer by any clock, or the primary itself, which drops its lease first. So nothing
// had been acknowledged in a later view, and what was in this one or before, this primary has applied. What the caller
// reads afterwards is at least as new.
//
//   - A message of a later view waits while a lease stands, at most for LeaseDuration; the primary's own, from a restart
//     or a handover, does not. Who has left the view for good is followed then, whatever the primary does.
//   - What was granted is in memory. So a replica that starts in a view whose backup it was joins no change of it for
//     ViewChangeTimeoutMin, unless the primary does. A primary that starts anew waits for nothing.
//   - A lease ends with the view, with a handover, and when the primary has heard from too few for
//     ViewChangeTimeoutMin. A primary that does not lead yet has none. A group of one needs none.
//
// The clock is CLOCK_MONOTONIC, which nobody sets, and which goes on while a process is stopped (SIGSTOP, a debugger, a
// slow disk): one that goes on finds its lease over. It does not go on while the machine is suspended, or a virtual
// machine stopped or moved with its clock: a primary in it may take an old lease for valid, for as long as was left of
// it, and read what is old. Where that can happen, or a clock be slower than another by more than the margin, leases are
// to be off: LeaseDuration is negative. The duration may be changed from one restart to the next, on or off; but
// ViewChangeTimeoutMin must not fall below a lease that was in force when the replica last ran.
//
// # Reading at any replica
//
// ReadStale(ctx, atMost) returns when the state of this replica, whatever its part, is no older than atMost: everything that
// anyone was acknowledged more than Staleness.Age before the call, or read in this way at any replica, is applied here, and
// Age is at most atMost. With atMost 0 the read that follows is linearizable.
//
//	atMost                          an idle or a busy group, every replica
//	2.5 heartbeats and more         with leases: answered at once, from memory, without a message
//	4 heartbeats and more           the same without leases
//	less                            a question to the primary, shared by all who wait: one round trip under a lease, two
//	                                without
//
// A replica that is cut off answers for as long as its state is new enough, and then waits until ctx ends: the error is a
// *replication.TooStaleError, with the age that there is and the primary's id, and the context's own. A context that has
// ended already has ReadStale answer at once, one way or the other. Other errors are ErrOverloaded (Options.ReadsMax
// wait) and ErrClosed. A replica that has just started, recovers or is no member knows no age, or soon too old a one.
//
// No clocks of two machines are compared. A backup puts what its own clock shows, a stamp, into its answers to the
// primary's COMMITs. The primary gives it back, beside its commit-number, in the first COMMIT after it knows that it still
// was the primary when the stamp came: by a lease, or by a round that began later. When the backup has applied
// everything up to that commit-number, its state is as of the stamp. The age is counted on the backup's clock alone and
// made longer by LeaseMarginPercent, so that it holds by any clock that is faster by no more than that; a clock that stands
// still, as that of a virtual machine may, makes it too small. A bound of 0 goes by no clock: its stamp is younger than the
// call, and only the primary's lease, if it has one, is a matter of clocks.
//
// # Whose a storage is
//
// Open makes a storage the replica's: of Options.Cluster (where it is told), Group, Self and Incarnation. Another replica is
// refused with an *OwnerError, and so is an earlier incarnation. A storage is made on purpose, once in a replica's life
// (storage.Create), and never by Open: a replica whose storage is gone, or is an old copy, has forgotten what it
// acknowledged and promised, and nobody can tell it from one that has not. Under its old identity it could help to undo what
// was committed; do not make it a new storage and start it.
//
// It comes back as a later life: an empty storage, Options with a larger Incarnation than its group has of it, Joining, and
// the ids of the other members. It learns what is committed and takes part in nothing (Status says transitioning), until
// Reconfigure has given its Member that Incarnation, which is refused while the earlier life is heard. Until then it is one
// of the f that may fail. The earlier life is over then: what it says counts for nothing (messages_refused,
// stale_incarnation), and if it is started again it is told, and has left. Never start an old copy of a storage under the
// incarnation that it is of; with a larger one it saves what it holds.
//
// # Witnesses
//
// One member of a group of two to four may be a witness (Options.Witness, the same on all): it has no StateMachine, keeps
// log entries, counts in every quorum, and never serves or leads (RoleWitness; ErrNotPrimary, ErrWitness). Two replicas with
// a state and a witness survive the loss of any one of the three, as three replicas with a state do, and store the state
// twice. What a witness stores is the log above the least checkpoint of the others, at most.
//
//   - While a replica with a state is down, or behind, its checkpoint stands still, and the log above it stays in the memory
//     and on the disk of all members: it is the only second copy of what that replica lacks. With more than a gigabyte of
//     payloads, operations are refused with ErrOverloaded, naming the replica: let it come back.
//   - f counts the witness too, but the state is there n - 1 times only. With two states, one that is lost and damage of the
//     other at once is the end of the state, however sound the witness is.
//   - A storage is a witness's, or not, for good (an *OwnerError). A Member's Witness changes with its id or Incarnation only:
//     who is to have a state has to learn it first. A group of one gets its second state first, and then a witness.
//   - Where f+1 replicas are forced (storage.Force), at least one of them must have a state.
//
// # Events and views
//
// Events says when this replica begins to lead and when it stops. A program reads it in one goroutine for as long as the
// replica lives:
//
//	for event := range replica.Events() { // until Close
//		if event.Leading {
//			lead(event.View)
//		} else {
//			follow()
//		}
//	}
//
// Leading comes when a quorum is in the view and everything inherited is applied. Only the newest event is kept for a
// slow reader: two with Leading in a row mean that the view in between was lost. The views of Leading events only
// rise, over all replicas and epochs, so a view is a fencing token. The primary of view v is the member at
// place v modulo n, in ascending order of ids (of those that have a state, where one has none). Status answers the same questions at any time, in more detail: Protocol is
// normal, view-change, recovering, transferring or stopped; transitioning, leaving or left for one that is no member.
//
// A primary that hears nothing from a quorum for ViewChangeTimeoutMin stops leading. After a fault the next one usually
// leads after one time-out, which each backup draws between ViewChangeTimeoutMin and ViewChangeTimeoutMax (0.3 and 0.6 s
// by default), and a few rounds of messages.
//
// # Handing over
//
// TransferPrimary has the primary hand its role over to a replica of one's choice, or to the backup that is most caught
// up: before maintenance, without waiting for a time-out. The primary goes on until its target has everything that is
// committed; takes no operation for the moment that the rest needs (ErrNotPrimary, naming nobody), so that nothing that
// it took is left without an answer; and begins the view change itself. From then on ErrNotPrimary names the new
// primary. A target that does not catch up is given up after four times ViewChangeTimeoutMax, or once operations are
// being refused after ViewChangeTimeoutMin (ErrBehind), and the primary goes on as if nothing had been.
//
// # Changing the members
//
// Reconfigure has the primary begin a new epoch with other members, while the group serves (VRR 7): add, remove, replace
// any number of them, the primary too, so that it grows from 1 to 3 to 5 and shrinks again. Newcomers come first. Each has
// an id above every id that was ever a member's, a storage of its own, and Options with Joining and the ids of some present
// members; it asks them for what is committed, takes part in nothing (Status says transitioning), and says how far it is:
//
//	change := replication.Change{Epoch: before.Epoch + 1} // before is replica.Membership() of the primary
//	change.Members = append(before.Members, replication.Member{ID: 4, Address: "10.0.0.4:7000"})
//	report, err := replica.Reconfigure(ctx, change)
//
//	err                      what it means                                           what to do
//	nil                      the old group has committed it: it is for ever          wait until a new member leads
//	ErrNewcomer              did not happen: one is not heard, or lacks more than    again, a little later; the report says
//	                         the primary's newest checkpoint                         how much each lacks
//	ErrQuorum                did not happen: the new group could not commit          bring those up that are down
//	ErrMembership            did not happen: an id that was used before, no change,  make it from the present Membership
//	                         somebody else's change in between
//	ErrReconfiguring         did not happen: one at a time                           later
//	ErrTransferUnderWay      did not happen: the role is being handed over           later
//	ErrNotPrimary            did not happen: not the primary, or not any more        ask NotPrimaryError.Primary
//	ErrOutcomeUnknown        proposed, and ctx ended or the replica did              Membership of whoever leads tells
//
// DryRun gives verdict and report, and changes nothing. A change that was proposed cannot be taken back.
//
//   - From the proposal until the first primary of the new epoch leads, a few rounds of messages, operations are refused
//     with ErrNotPrimary, certainly not done. What was taken before is finished. The first view of an epoch is one above the
//     last of the one before, so that leading views go on rising; its first primary is the member at place view modulo n, as
//     always, and may be a newcomer.
//   - Until a new member leads, the old group is needed too: do not stop anything. A member that is to go says left in
//     Status when f'+1 of the new members (with a witness: all or f'+1 of those with a state) have begun; then it may be closed and its storage removed. Who is dead need not
//     leave. Afterwards f' of the new members may fail, and no one else counts.
//   - A replica that is no member refuses everything with a *replication.NotMemberError, which names the epoch's members and
//     is a NotPrimaryError too. Its events say that it does not lead.
//   - Epoch and members are in the storage. Options.Members and Joining stay what they were when the replica was opened first:
//     a restart goes by what is stored. A member that was away, for several epochs too, hears of the newest from whoever it
//     meets, and fetches what it lacks.
//   - Give every Member an Address where the transport is over a network, old ones too: newcomers know nobody else. A newcomer
//     that nobody was told of is answered at the address that its own handshake names (transport.Options.Address), and so
//     counts what transport security vouches for. Who has left is dropped from the transport's ways a few seconds after the
//     last word of the epoch's beginning.
//   - An odd number of members is best, as always. From 1 to 2 is the one step in which both must run afterwards.
//   - The state machine never sees a change: its op-numbers skip one.
//
// # Checkpoints
//
// A checkpoint is written after CheckpointEvery operations or CheckpointBytes bytes. Checkpoint writes one now and
// waits. The log, which is in memory as well as on disk, goes back to the checkpoint before the newest; who lacks more
// than that fetches the newest one, from any replica that has it.
//
// It travels in chunks of 256 KiB, each with its index and the checksum that was made with it, which is verified before the
// chunk is written. A fetch that breaks, or stands still for FetchTimeout, goes on at the chunk where it stopped, and so does
// that of a replica that was restarted: with the same checkpoint, of the same replica or of another that has the same bytes. A
// checkpoint is the same when its op-number, view, hash and digest (over the checksums of all chunks) are. A replica keeps the
// checkpoint that others fetch from it, and the log above it, until HoldTimeout after the last chunk was read or until
// HoldCheckpointsMax newer ones have been written, two different ones at most; whoever comes back later is told that it is gone
// and begins with the newest. Whoever fetches keeps its disk busy for FetchDutyPercent of the time, so that the
// fsyncs of the log beside it, and of other replicas that share the disk, do not wait in a queue; ServeBytesPerSecond bounds
// what all fetches take of one replica. Status and Measure tell of a fetch that is under way (checkpoint_fetch_done_bytes of
// checkpoint_fetch_total_bytes).
//
// # Storage
//
// A Storage belongs to one Replica, which closes it; when Open fails it is still the caller's. storage.Create makes a
// log (storage.CreateLog one of another kind, which costs one fsync a batch), once in a replica's life: it is never done
// because a directory is found empty, since a replica whose directory is gone has forgotten what it promised. Such a
// replica stays out; so does one that was copied, or restored from a backup. The storage does not know whose directory it
// is: a program that could confuse two directories writes the replica's id into each and compares.
//
// What a crash may take is the durability. It is the same on all replicas of a group, and it is said twice, to the
// storage that it opens (storage.Options) and to the replica that drives it (Options.Durability); Open refuses a
// storage that keeps less than the replica promises. View-number and last-normal view are on the disk before a message
// that depends on them leaves, in all three:
//
//	          acknowledged means, on f+1 replicas      an acknowledged operation survives
//	sync      on the disk (fsync); the primary's own   a crash of all processes, a power cut of all machines
//	          may follow
//	async     written; on the disk 100 ms or 4 MiB     crashes of up to f replicas at a time; a stop of all by Close
//	          later
//	memory    in memory; on the disk after Close       the same
//
// In async and memory a replica that did not end with Close may have lost what it acknowledged. It recovers from the
// others first, and takes part in nothing meanwhile (Status().Protocol is recovering): f+1 others must be up and one of
// them the primary. When more than f have crashed at once the group stays stopped, for there is nobody to know what was
// acknowledged; a group of one does not even open (core.ErrRestored). A durability is changed by stopping every replica
// with Close and opening it with another.
//
// An error of the Storage is final: the replica stops (below). Only ErrNoSpace, for a checkpoint, is not.
//
// What does not verify is never dropped and never voted from. It depends on what it is:
//
//	damage of                          at Open                                     while it runs
//	log entries                        repaired: the replica recovers from the     not read
//	                                   others (4.3) before it takes part
//	the checkpoint, or it is gone      the same                                    met when a peer fetches it: a new
//	                                                                               one is written from the state
//	view-numbers, bounds of the log,   Open fails with an ErrDamaged               the write fails, and the replica
//	mark, structure of the database                                                stops
//	any, in a group of one, or with    Open fails with an ErrDamaged and has
//	RefuseDamage                       changed nothing
//
// Where more than f replicas have lost something, storage.Examine and storage.Force are an operator's last resort, as
// viewline force uses them: exactly f+1 members of the newest epoch that any of the directories knows, all stopped, the best
// first, start from what they have.
//
// A replica that repairs itself says so in its log and in Status().Reason, and counts as failed until it has. Nothing on
// its disk changes before what replaces the damage is whole, so that a crash begins again. With damage on more than f
// replicas at once the group stays stopped, in sync too.
//
// # Transport
//
// Messages may be lost, repeated, reordered and late, but not changed: replication/transport has a checksum over each.
// streams.Of makes its Group a Transport; vrtest.Network is one within a process. A transport must know who speaks: a
// replica believes the sender that Receive is told. The receiving gRPC server takes messages of transport.Options'
// PayloadBytesMax + transport.MessageOverhead (grpc.MaxRecvMsgSize), and PayloadBytesMax exceeds OperationBytesMax by
// 64 KiB at least.
//
// The messages, with the paper's names and sections:
//
//	PREPARE             primary to backup      entries, linked to the one below; commit-number              4.1
//	PREPAREOK           backup to primary      my log of this view is durable up to here                    4.1
//	COMMIT              primary to all         I am here; commit-number; a round; a lease?; your stamp      4.1
//	COMMITOK            backup to primary      that round reached me; my log's end; the lease; a stamp      ours
//	STARTVIEWCHANGE     all to all             I have left the earlier views for this one                   4.2
//	DOVIEWCHANGE        all to new primary     my log's end, its last-normal view, commit-number            4.2
//	STARTVIEW           new primary to all     the view's log begins like this                              4.2
//	GETSTATE            any to any             what I lack                                                  5.2
//	NEWSTATE            any to any             entries, or that only a checkpoint has them                  5.2
//	PROBE, PROBEOK      any to any             have you lost the primary too?                               ours
//	RECOVERY            recovering to all      I may have lost what I acknowledged                          4.3
//	RECOVERYRESPONSE    normal to recovering   my view; from its primary also the log's end                 4.3
//	STARTEPOCH          any to who is behind   an epoch has begun: its members, and where in the log         7.1
//	EPOCHSTARTED        members to leavers     I have begun that epoch                                      7.1
//	GETCOMMITTED        newcomers, and who is  what I lack of what is committed; how far I am               ours
//	                    behind, to any
//	NEWCOMMITTED        any to them            entries, or a checkpoint                                     ours
//
// docs/FORMATS.md has their fields, docs/DIVERGENCE.md where they differ from the paper's and why. Options.Trace sees
// each of them, and Measure counts them.
//
// # The end
//
// Close stops the replica and waits; operations that wait end with ErrOutcomeUnknown or a certain error. It closes the
// storage and not the transport, which is closed after it. It must not be called from a function that the replica calls.
//
// A replica that cannot go on safely stops by itself: its storage failed or is damaged (ErrDamaged), its state machine
// broke the contract, or its log contradicts what the group does. Status().Failure says why, Events that it does not
// lead, and everything else is ErrClosed. After a failed write, closing and opening again is safe: Load tells what is
// there. After an ErrDamaged of Open it is not: that replica is lost to the group, unless RefuseDamage alone refused it.
//
// # Groups
//
// The replicas that a group begins with have the same Members, 1 to 63 (core.MembersMax). A commit waits for the fastest majority, and
// the primary sends each operation to every backup: 3 replicas survive one failure, 5 two, 7 three, and more are slower
// without being safer in practice. An even number survives no more than the odd one below it. A group of one needs no
// Transport. Ids begin at 1 and are never used again for another replica.
//
// # For those who know hashicorp/raft
//
//	raft.NewRaft, Config                  Open, Options
//	FSM.Apply, BatchingFSM                StateMachine.Apply, always in batches; results are bytes
//	FSMSnapshot.Persist, Release          Snapshot.WriteTo, Release
//	FSM.Restore                           StateMachine.Restore
//	Raft.Apply(cmd, timeout)              Submit, or replication.Propose(ctx, ...), in a view
//	ErrNotLeader                          ErrNotPrimary, with the primary's id
//	ErrLeadershipLost                     ErrOutcomeUnknown
//	VerifyLeader, then Barrier            ReadBarrier, which writes nothing
//	LastContact, for stale reads          ReadStale, with a bound on the age of what is read
//	LeaderCh                              Events, which say the view as well
//	Snapshot, SnapshotInterval            Checkpoint, CheckpointEvery and CheckpointBytes
//	TrailingLogs                          the log since the checkpoint before the newest
//	LogStore, StableStore, SnapshotStore  one Storage, whose Write is atomic
//	NetworkTransport, InmemTransport      streams.Of, vrtest.Network
//	BootstrapCluster                      storage.Create on each member, and Members
//	AddVoter, RemoveServer                Reconfigure, any number at once; newcomers catch up before
//	AddNonvoter                           Options.Joining: whoever learns and is no member
//	LeadershipTransfer(ToServer)          TransferPrimary, which waits for the outcome
//	term, vote                            view-number, last-normal view; the view decides who is primary, and the new
//	                                      primary takes the best log of a majority instead of having to have it
//	PreVote, LeaderLeaseTimeout           PROBE, and the quorum that a primary has to hear; always on
//
// Reads under a lease go by clocks, and can be had without (Leases, above). Duplicates are a wrapper's affair
// (replication/sessions) and not everyone's own.
//
// # Limits
//
//	operation                     OperationBytesMax, 20 MiB by default
//	operations not answered       QueueMax and QueueBytesMax, 65,536 and 64 MiB by default
//	read barriers that wait       ReadsMax, 65,536 by default; as many stale reads
//	callers of Checkpoint         1,024
//	owed to a primary's own disk  64 batches and 8 MiB; with more, the primary waits for it
//	messages not handled          MessagesMax and MessagesBytesMax, 16,384 and 64 MiB by default; more are dropped
//	memory for the log            about two checkpoints' worth: twice CheckpointBytes and what is not committed
package vr
