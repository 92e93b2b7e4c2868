// Package sessions makes every request of a client happen exactly once, whatever replicates it.
//
// It is the client-table of Viewstamped Replication (Liskov and Cowling, sections 4.1 and 4.5) as a wrapper: New
// puts it around any replication.StateMachine, and the result is replicated instead. Since the table is a part of
// the replicated state and of its checkpoints, the promise holds over changes of primary, restarts, recovery and
// state transfer. Client is the other side: it registers a session, numbers requests and repeats them until it
// knows what became of them.
//
// # What is promised
//
// A request is executed at most once, however often it is sent, and while its number is in its session's window a
// copy is answered with the reply of the first execution. The window begins at the lowest number that the client
// waits for. When the table is full, the session that was used longest ago is dropped: its requests are refused
// from then on, and never executed by a session that is made anew under the same name. When there are too many
// bytes of replies, old replies are dropped, and copies of their requests are told that they were executed, and
// where, without the reply.
//
// # Whom to trust
//
// A session is protected from the mistakes of others by a random nonce, not from an enemy: whoever can propose
// operations to the group can register sessions until all others are dropped.
//
// # The machine behind
//
// It sees the op-numbers of the log, which only rise, with gaps where something lay that was not for it. It sees
// nothing of sessions. A Machine is used as replication.StateMachine says; a Client from many goroutines at once.
package sessions
