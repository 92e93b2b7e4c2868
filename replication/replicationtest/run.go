package replicationtest

import "testing"

// testCase is one test of the suite.
type testCase struct {
	name string
	run  func(t *testing.T, b Backend)
}

// cases are the suite.
func cases() []testCase {
	return []testCase{
		// TAPIR's tests of Viewstamped Replication.
		{"OneOperation", oneOperation},
		{"UnloggedRead", unloggedRead},
		{"UnloggedReadTimesOut", unloggedReadTimesOut},
		{"ManyOperations", manyOperations},
		{"FailedReplica", failedReplica},
		{"StateTransfer", stateTransfer},
		{"FailedPrimary", failedPrimary},
		{"DroppedReply", droppedReply},
		{"DroppedReplyThenFailedPrimary", droppedReplyThenFailedPrimary},
		{"ManyClients", manyClients},
		{"Stress", stress},
		// Go-VR's.
		{"GroupsOfEverySize", groupsOfEverySize},
		{"RequestsToBackups", requestsToBackups},
		{"ConsecutivePrimaryFailures", consecutivePrimaryFailures},
		{"SmallestQuorum", smallestQuorum},
		{"PartitionedPrimary", partitionedPrimary},
		{"DeafPrimary", deafPrimary},
		{"RestartOfAll", restartOfAll},
		{"CatchingUpByCheckpoint", catchingUpByCheckpoint},
		// The Duke report's.
		{"ElectionThatFailsAndTheNext", electionThatFails},
		{"SleepingMemberCatchesUp", sleepingMember},
		{"SleepingPrimary", sleepingPrimary},
		// The contract's own.
		{"ViewsOnlyRise", viewsOnlyRise},
		{"OperationsAreBoundToTheirView", boundToTheirView},
		{"ReadBarrierSeesWhatWasAcknowledged", readBarrierSees},
		{"CrashOfEach", crashOfEach},
		{"TooLarge", tooLarge},
		{"Overload", overload},
		{"AfterClose", afterClose},
		{"CheckpointNow", checkpointNow},
		{"TransferPrimary", transferPrimary},
		{"TransferPrimaryIsRefused", transferIsRefused},
		{"Sessions", requestsOnce},
	}
}

// Run runs every test of the suite for a backend.
func Run(t *testing.T, b Backend) {
	for _, c := range cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for time-outs, most of the time
			c.run(t, b)
		})
	}
}
