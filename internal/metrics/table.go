package metrics

import "github.com/prometheus/client_golang/prometheus"

// namespace begins every name.
const namespace = "viewline_"

// metric is one row of the table: a metric, and the value that it is made of.
type metric struct {
	name, help string
	kind       prometheus.ValueType
	// source is the value's name, where it is read. Where label is set it is the beginning of several names, whose
	// rest is the label's value.
	source, label string
	// unit is what the value is multiplied by; 0 stands for 1.
	unit float64
	// histogram: the value is one of the Histograms.
	histogram bool
}

func counter(name, source, help string) metric {
	return metric{name: namespace + name, help: help, kind: prometheus.CounterValue, source: source}
}

func counters(name, label, source, help string) metric {
	m := counter(name, source, help)
	m.label = label
	return m
}

func gauge(name, source, help string) metric {
	return metric{name: namespace + name, help: help, kind: prometheus.GaugeValue, source: source}
}

// ofReplicas are those of every replica, whatever replicates it; the sources are in replicaValues and in the
// Measures of its Replicator.
func ofReplicas() []metric {
	age := gauge("replication_state_age_seconds", "state_age_milliseconds", "How old the state of this replica is at the most; missing while not known.")
	age.unit = 1e-3
	return []metric{
		gauge("serving", "serving", "1 while this replica answers requests: it leads and has what it needs."),
		gauge("replication_leading", "leading", "1 while this replica is the primary that leads its group."),
		gauge("replication_failed", "failed", "1 when this replica has stopped for good; its status says why."),
		gauge("replication_view", "view", "View that this replica is in."),
		gauge("replication_op_number", "op", "End of this replica's log."),
		gauge("replication_commit_number", "commit", "Operations that this replica knows to be committed."),
		gauge("replication_commit_heard_number", "commit_heard", "Largest commit-number that this replica has heard of."),
		gauge("replication_applied_number", "applied", "Operations that this replica's state has."),
		gauge("replication_lag_operations", "lag", "Operations that this replica has heard are committed and has not applied."),
		gauge("replication_checkpoint_number", "checkpoint", "Operations that the newest durable checkpoint has."),
		counters("replication_view_changes_total", "reason", "view_changes.", "Changes to a later view, by what made this replica go there."),
		gauge("replication_epoch", "epoch", "Epoch that this replica is in: changes of the group's members so far."),
		gauge("replication_learners", "learners", "Replicas that want to become members and are heard here."),
		counter("replication_epochs_entered_total", "epochs_entered", "Epochs that this replica entered."),
		counters("replication_reconfigurations_total", "kind", "reconfigurations.", "Changes of the members that this replica was asked for, by how they ended."),
		counters("replication_handovers_total", "kind", "handovers.", "Transfers of the primary's role that this replica was asked for, by how they ended."),
		counters("replication_messages_sent_total", "kind", "messages_sent.", "Messages sent to other replicas, by kind."),
		counters("replication_messages_received_total", "kind", "messages_received.", "Messages received from other replicas, by kind."),
		counters("replication_sent_bytes_total", "kind", "bytes_sent.", "Bytes of the messages sent, by kind."),
		counters("replication_received_bytes_total", "kind", "bytes_received.", "Bytes of the messages received, by kind."),
		counters("replication_messages_refused_total", "reason", "messages_refused.", "Messages that no correct member sends, by what is wrong with them."),
		counter("replication_messages_dropped_total", "messages_dropped", "Messages for which the mailbox had no room."),
		gauge("replication_forced", "forced", "Times that an operator had this replica start from what it had, since its beginning."),
		counter("replication_damages_total", "damages", "Damaged parts that were found in the log or the checkpoint."),
		counter("replication_repairs_total", "repairs", "Recoveries from damage that are over."),
		counter("replication_overloads_total", "overloads", "Operations and reads for which the queue had no room."),
		counter("replication_entries_persisted_total", "entries_persisted", "Log entries made durable."),
		counter("replication_operations_applied_total", "operations_applied", "Operations executed by the state machine."),
		counter("replication_fsyncs_total", "fsyncs", "Times that the disk was asked to make something durable."),
		{
			name: namespace + "replication_durable_write_seconds", source: "durable_write_seconds", histogram: true,
			help: "Time to make one batch of the log durable: writing and every fsync of it.",
		},
		gauge("replication_queue_operations", "queue_operations", "Operations submitted and not answered."),
		gauge("replication_queue_operation_bytes", "queue_operation_bytes", "Bytes of the operations submitted and not answered."),
		gauge("replication_queue_reads", "queue_reads", "Read barriers that wait."),
		gauge("replication_lease", "lease", "1 while this primary answers reads by a lease."),
		counters("replication_reads_total", "kind", "reads.", "Read barriers that were answered: by a lease, or by a round of messages."),
		gauge("replication_queue_stale_reads", "queue_stale_reads", "Stale reads that wait."),
		counters("replication_stale_reads_total", "kind", "stale_reads.", "Stale reads: answered at once, answered after waiting, or given up as too old."),
		age,
		counter("replication_leases_granted_total", "leases_granted", "Leases that this replica granted to its primary."),
		gauge("replication_queue_messages", "queue_messages", "Messages received and not handled."),
		gauge("replication_queue_message_bytes", "queue_message_bytes", "Bytes of the messages received and not handled."),
		counter("replication_checkpoints_begun_total", "checkpoints_begun", "Checkpoints of its own state that this replica began to write."),
		counter("replication_checkpoints_total", "checkpoints", "Checkpoints of its own state that became durable."),
		counter("replication_checkpoint_written_bytes_total", "checkpoint_bytes", "Bytes of its own checkpoints written so far."),
		counter("replication_checkpoint_fetches_begun_total", "checkpoint_fetches_begun", "Checkpoints that this replica began to fetch from others."),
		counter("replication_checkpoint_fetches_total", "checkpoint_fetches", "Checkpoints fetched from others that became durable."),
		counter("replication_checkpoint_fetches_failed_total", "checkpoint_fetches_failed", "Fetches of checkpoints that failed and are tried again."),
		counter("replication_checkpoint_fetched_bytes_total", "checkpoint_fetch_bytes", "Bytes of checkpoints fetched so far."),
		gauge("replication_checkpoint_fetch_done_bytes", "checkpoint_fetch_done_bytes", "Bytes that are here of the checkpoint that is being fetched."),
		gauge("replication_checkpoint_fetch_bytes", "checkpoint_fetch_total_bytes", "Bytes of the checkpoint that is being fetched; 0 when none is."),
		counter("replication_checkpoint_fetch_resumes_total", "checkpoint_fetch_resumes", "Times that the fetch of a checkpoint went on where it had stopped."),
		counter("replication_checkpoint_fetches_replaced_total", "checkpoint_fetches_replaced", "Fetches given up because that checkpoint was gone, and begun anew with a newer one."),
		counter("replication_checkpoint_chunks_refused_total", "checkpoint_chunks_refused", "Chunks of checkpoints that were not what their sender had said."),
		gauge("replication_checkpoints_held", "checkpoints_held", "Checkpoints kept for others that are fetching them."),
		counter("replication_checkpoint_serves_total", "checkpoint_serves", "Times that others began to fetch a checkpoint from this replica, or went on with it."),
		counter("replication_checkpoint_served_bytes_total", "checkpoint_serve_bytes", "Bytes of checkpoints read for others."),
		gauge("replication_transferring", "transferring", "1 while this replica fetches a part of the log from another."),
		counter("replication_transfers_begun_total", "transfers_begun", "State transfers that this replica began."),
		counter("replication_transfers_ended_total", "transfers_ended", "State transfers that are over, complete or overtaken."),
		counter("replication_transfer_entries_total", "transfer_entries", "Log entries that arrived by state transfer."),
	}
}

// ofShards are those of a shard's replica; the sources are the counters of shardserver.
func ofShards() []metric {
	oldest := gauge("oldest_prepared_seconds", "oldest_prepared_milliseconds", "Age of the oldest transaction prepared and not decided; 0 when there is none.")
	oldest.unit = 1e-3
	return []metric{
		gauge("prepared_txns", "prepared", "Transactions prepared and not decided."),
		oldest,
		gauge("txns_in_flight", "in_flight", "Operations that pre-validation let into the log and that are not applied."),
		counter("txn_prepared_total", "txn_prepared", "Transactions that this replica's state prepared."),
		counter("txn_committed_total", "txn_committed", "Transactions that this replica's state committed."),
		counters("txn_aborted_total", "reason", "txn_aborted.", "Transactions that this replica's state aborted, by the rule that was against them."),
		counters("txn_refused_total", "reason", "txn_refused.", "Transactions that pre-validation at the primary kept out of the log, by rule."),
		counters("shard_reads_total", "kind", "reads_", "Requests for reads, by kind."),
		counter("shard_snapshots_too_old_total", "snapshots_too_old", "Reads of snapshots that are not kept any more."),
		gauge("shard_waiting", "waiting", "Requests that wait for a transaction to be decided."),
		counter("shard_waits_total", "waits", "Requests that had to wait for a transaction to be decided."),
		gauge("shard_request_bytes", "bytes_under_way", "Bytes of the requests that wait for anything."),
		counter("shard_overloads_total", "overloaded", "Requests refused because a bound was reached."),
		counter("shard_deadlines_total", "deadlines", "Requests whose time was over before they could be answered."),
		counter("shard_wrong_shard_total", "wrong_shard", "Requests for objects that this shard does not serve."),
		counter("shard_future_timestamps_total", "future_timestamps", "Requests with a timestamp that the coordinator has not handed out."),
		counter("shard_bound_refreshes_total", "bound_refreshes", "Times that the shard asked the coordinator how far timestamps go."),
		counter("shard_leads_total", "leads", "Times that this replica began to serve."),
		counter("shard_terminations_begun_total", "terminations", "Transactions in doubt that this replica took up."),
		counters("shard_terminations_total", "kind", "terminations.", "Terminations that are over, by what was found out."),
		counter("shard_contradictions_total", "contradictions", "Answers that contradict each other; any one is a defect."),
		counter("shard_invariant_breaks_total", "invariant_breaks", "Operations that contradict what is recorded; any one is a defect."),
		gauge("shard_versions", "versions", "Versions of objects that are kept."),
		gauge("shard_decisions", "decisions", "Outcomes of transactions that are kept."),
		gauge("shard_unended", "unended", "Commits of several shards that are not known to be everywhere."),
		gauge("shard_read_stamps", "read_stamps", "Objects with a read stamp of their own."),
	}
}

// ofCoordinators are those of the coordinator's replicas.
func ofCoordinators() []metric {
	return []metric{
		counter("coordinator_timestamps_total", "timestamps", "Timestamps handed out."),
		counter("coordinator_requests_total", "requests", "Requests for timestamps and for the bound."),
		counter("coordinator_refused_total", "refused", "Requests refused."),
		gauge("coordinator_waiting", "waiting", "Requests that wait for a round of the quorum."),
		counter("coordinator_rounds_total", "rounds", "Rounds of the quorum, shared by all who wait."),
		counter("coordinator_proposals_total", "proposals", "Operations that this replica proposed: marks and maps."),
		counter("coordinator_low_marks_total", "low_marks", "Times that timestamps had to wait for a higher mark."),
		counter("coordinator_refused_operations_total", "refused_operations", "Operations of the log that had no effect."),
		counter("coordinator_leads_total", "leads", "Times that this replica began to lead."),
		gauge("coordinator_watchers", "watchers", "Streams that watch the map here."),
		gauge("coordinator_primaries", "primaries", "Groups whose primary is known."),
		gauge("coordinator_map_version", "map_version", "Version of the map; 0 before there is one."),
	}
}

// ofNodes are those of the process: its listener, its sessions and its ways to other nodes.
func ofNodes() []metric {
	return []metric{
		gauge("node_connections", "connections_open", "Open connections."),
		counter("node_connections_turned_away_total", "connections_turned_away", "Connections closed for being too many."),
		gauge("node_sessions", "sessions_open", "Open sessions."),
		counter("node_sessions_total", "sessions", "Sessions opened."),
		counter("node_requests_total", "requests", "Requests of all sessions."),
		counter("node_request_frames_total", "request_frames", "Frames in which requests came."),
		counter("node_response_frames_total", "response_frames", "Frames in which answers left."),
		counter("node_answers_repeated_total", "answers_repeated", "Second answers to a request; any one is a defect."),
		counter("node_answers_lost_total", "answers_lost", "Answers for sessions that were over."),
		gauge("node_answer_bytes", "answer_bytes_waiting", "Bytes of answers that clients have not taken yet."),
		counters("node_refused_total", "reason", "refused_", "Requests that the node itself refused, by code."),
		counter("peers_frames_sent_total", "peers_frames_sent", "Frames sent to other nodes."),
		counter("peers_frames_received_total", "peers_frames_received", "Frames received from other nodes."),
		counter("peers_sent_bytes_total", "peers_bytes_sent", "Payload bytes sent to other nodes."),
		counter("peers_received_bytes_total", "peers_bytes_received", "Payload bytes received from other nodes."),
		counter("peers_messages_sent_total", "peers_messages_sent", "Messages of the network that carried the frames sent."),
		counter("peers_messages_received_total", "peers_messages_received", "Messages of the network that carried the frames received."),
		gauge("peers_ways", "peers_ways", "Other nodes that this one has a way to."),
		gauge("peers_queue_frames", "peers_queue_frames", "Frames that wait for other nodes."),
		gauge("peers_queue_bytes", "peers_queue_bytes", "Bytes of the frames that wait for other nodes."),
		counters("peers_dropped_frames_total", "reason", "peers_dropped_", "Frames dropped, by reason."),
		counter("peers_streams_opened_total", "peers_streams_opened", "Streams opened to other nodes."),
		counter("peers_streams_lost_total", "peers_streams_lost", "Streams to other nodes that ended."),
		counters("peers_handshakes_refused_total", "reason", "peers_refused_here.", "Streams of other nodes that were refused or ended here, by reason."),
		counter("peers_handshakes_refused_by_peer_total", "peers_refused_by_peer", "Streams that other nodes refused."),
		counter("peers_checkpoints_sent_total", "peers_checkpoints_sent", "Whole checkpoints sent to other nodes."),
		counter("peers_checkpoints_fetched_total", "peers_checkpoints_fetched", "Whole checkpoints fetched from other nodes."),
		counter("peers_checkpoint_sent_bytes_total", "peers_checkpoint_bytes_sent", "Bytes of checkpoints sent to other nodes."),
		counter("peers_checkpoint_fetched_bytes_total", "peers_checkpoint_bytes_fetched", "Bytes of checkpoints fetched from other nodes."),
	}
}
