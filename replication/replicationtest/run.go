package replicationtest

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
)

// testCase is one test of the suite.
type testCase struct {
	name string
	run  func(t T, b Backend)
}

// cases are the suite for a backend.
func (b Backend) cases() []testCase {
	all := slices.Concat(inBothForms(tapir()), goVR(), duke(), contract(), processes())
	if !b.lacks(Reconfigurer) {
		all = append(all, reconfigurer()...)
	}
	if !b.lacks(StaleReader) {
		all = append(all, staleReader()...)
	}
	all = append(all, testCase{"OptionalInterfaces", optionalInterfaces})
	return all
}

// tapir has TAPIR's tests of Viewstamped Replication.
func tapir() []testCase {
	return []testCase{
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
	}
}

// inBothForms has each case run with the batches of the backend's own choice, and with a message for each operation.
func inBothForms(cases []testCase) (both []testCase) {
	for _, c := range cases {
		both = append(both, testCase{c.name + "/batched", c.run}, testCase{c.name + "/unbatched", func(t T, b Backend) {
			b.batchMax = 1
			c.run(t, b)
		}})
	}
	return both
}

// goVR has Go-VR's.
func goVR() []testCase {
	return []testCase{
		{"GroupsOfEverySize", groupsOfEverySize},
		{"RequestsToBackups", requestsToBackups},
		{"ConsecutivePrimaryFailures", consecutivePrimaryFailures},
		{"SmallestQuorum", smallestQuorum},
		{"PartitionedPrimary", partitionedPrimary},
		{"DeafPrimary", deafPrimary},
		{"RestartOfAll", restartOfAll},
		{"CatchingUpByEntries", catchingUpByEntries},
		{"CatchingUpByCheckpoint", catchingUpByCheckpoint},
	}
}

// duke has the Duke report's.
func duke() []testCase {
	return []testCase{
		{"ElectionThatFailsAndTheNext", electionThatFails},
		{"ElectionsThatFailAgainAndAgain", electionsThatFail},
		{"SeveralCandidatesAtOnce", severalCandidates},
		{"SleepingMemberCatchesUp", sleepingMember},
		{"SleepingPrimary", sleepingPrimary},
	}
}

// contract has the contract's own.
func contract() []testCase {
	return []testCase{
		{"ViewsOnlyRise", viewsOnlyRise},
		{"OperationsAreBoundToTheirView", boundToTheirView},
		{"ReadBarrierSeesWhatWasAcknowledged", readBarrierSees},
		{"CrashOfEach", crashOfEach},
		{"CrashOfAll", crashOfAll},
		{"TooLarge", tooLarge},
		{"Overload", overload},
		{"AfterClose", afterClose},
		{"CloseWithOperationsWaiting", closeWithOperationsWaiting},
		{"ReadBarriersShareARound", readsShareARound},
		{"ReadBarriersDuringAPartition", readsDuringAPartition},
		{"TransferPrimary", transferPrimary},
		{"TransferPrimaryUnderLoad", transferUnderLoad},
		{"TransferPrimaryIsRefused", transferIsRefused},
		{"TransferPrimaryToOneThatIsCut", transferToOneThatIsCut},
		{"TransferPrimaryToOneThatSleeps", transferToOneThatSleeps},
		{"TransferPrimaryToOneThatLags", transferToOneThatLags},
		{"TransferPrimaryIsGivenUp", transferIsGivenUp},
		{"CheckpointNow", checkpointNow},
		{"CheckpointsUnderLoad", checkpointsUnderLoad},
		{"RestartFromACheckpoint", restartFromACheckpoint},
		{"FetchOfMegabytesUnderLoad", fetchUnderLoad},
		{"FetchThatBreaks", fetchThatBreaks},
		{"TailAboveTheCheckpoint", tailAboveTheCheckpoint},
		{"TailAboveTheCheckpointAfterACrash", tailAboveTheCheckpointAfterACrash},
		{"SessionsOverCrashes", requestsOnce},
		{"SessionsAcrossCheckpoints", requestsOnceAcrossCheckpoints},
		{"WindowOfASession", windowOfASession},
		{"DroppedSession", droppedSession},
	}
}

// processes has those whose replicas are processes, which are stopped (SIGSTOP) and killed (SIGKILL).
func processes() []testCase {
	return []testCase{
		{"ProcessOfThePrimaryStandsStill", stoppedPrimary},
		{"ProcessOfABackupStandsStill", stoppedBackup},
		{"ProcessesOfAMajorityStandStill", stoppedMajority},
		{"ProcessOfEachIsKilledUnderLoad", killedUnderLoad},
		{"ProcessesOfPrimariesAreKilledUnderLoad", killedPrimaries},
		{"ProcessesOfAllAreKilled", killedAll},
	}
}

// reconfigurer has those of replication.Reconfigurer.
func reconfigurer() []testCase {
	return []testCase{
		{"AddAMember", addAMember},
		{"RemoveABackup", removeABackup},
		{"ReplaceABackup", replaceABackup},
		{"ReplaceThePrimary", replaceThePrimary},
		{"ThreeToFiveAndBack", threeToFiveAndBack},
		{"FiveToThreeToOne", fiveToThreeToOne},
		{"GrowingFromOne", growingFromOne},
		{"EverybodyIsReplacedUnderLoad", everybodyIsReplaced},
		{"RestartsFindTheNewestEpoch", restartsFindTheNewestEpoch},
		{"MemberThatWasAway", aMemberThatWasAway},
		{"LaterLifeOfAMember", laterLifeOfAMember},
		{"NewcomerThatIsNotReady", newcomerThatIsNotReady},
		{"ChangeThatWouldLoseTheQuorum", changeThatWouldLoseTheQuorum},
		{"MalformedChanges", malformedChanges},
		{"TwoChangesAtOnce", twoChangesAtOnce},
		{"ChangeThatIsUnderWay", changeThatIsUnderWay},
		{"ChangeThatIsGivenUp", changeThatIsGivenUp},
		{"DryRun", dryRun},
		{"ChangeWithACrashOfThePrimary", changeWithACrash},
	}
}

// staleReader has those of replication.StaleReader.
func staleReader() []testCase {
	return []testCase{
		{"StaleReadsOfNoAge", staleReadsOfNoAge},
		{"StaleReadsAreRefused", staleReadsAreRefused},
		{"StaleReadsSeeWhatWasAcknowledged", staleReadsSee},
	}
}

// Run runs every test of the suite for a backend.
func Run(t *testing.T, b Backend) {
	for _, c := range b.cases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // they wait for time-outs, most of the time
			c.run(t, b)
		})
	}
}

func (b Backend) lacks(name Interface) bool { return slices.Contains(b.Lacks, name) }

// optionalInterfaces: what a backend lacks is said, and what it has is tested.
func optionalInterfaces(t T, b Backend) {
	g := newGroup(t, b, 1, Options{})
	_, reconfigures := g.replicas[0].(replication.Reconfigurer)
	require.NotEqual(t, b.lacks(Reconfigurer), reconfigures, "Backend.Lacks is not true of Reconfigurer")
	_, reads := g.replicas[0].(replication.StaleReader)
	require.NotEqual(t, b.lacks(StaleReader), reads, "Backend.Lacks is not true of StaleReader")
	for _, each := range b.Lacks {
		require.Contains(t, []Interface{Reconfigurer, StaleReader}, each, "Backend.Lacks names what no backend may lack")
	}
}
