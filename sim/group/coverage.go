package group

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Event is a fault or something worth having met; Coverage counts each.
type Event int

// The faults, and then what the protocol made of them.
const (
	EventMessageLost Event = iota
	EventMessageDuplicated
	EventMessageLate
	EventSlowLinks
	EventSlowAnswer
	EventMessageBlocked
	EventMessageClogged
	EventClogOverflowed
	EventMessageStarved
	EventPartitionSymmetric
	EventPartitionOneWay
	EventPrimaryIsolated
	EventCrash
	EventCrashOfPrimary
	EventCrashOfAll
	EventCrashBeforeReady
	EventCrashAmongEarlySends
	EventCrashBeforeWrite
	EventCrashBeforeSync
	EventCrashBeforeLateSends
	EventCrashAmongLateSends
	EventCrashBeforeFetch
	EventCrashBeforeApply
	EventCrashBeforeAnswer
	EventCrashBeforeAdvance
	EventCrashDuringCheckpoint
	EventCrashDuringTransfer
	EventWritesLostAtCrash
	EventWritesKeptAtCrash
	EventPause
	EventClocksDrift
	EventSlowWrite
	EventDeferred
	EventInboxOverflowed
	EventInputsGathered
	EventRestart
	EventRestartInViewChange
	EventRestartOfPrimary
	EventRestartAboveLog
	EventTransferLost
	EventTransferDone
	EventCrashAfterInstall
	EventChunkTaken
	EventChunkRefused
	EventPartCut
	EventTransferGoesOn
	EventTransferElsewhere
	EventTransferAfterRestart
	EventTransferAnew
	EventCheckpointGone
	EventHoldingBusy
	EventHeldReleased
	EventHeldExpired
	EventLogHeld
	EventCleanStop
	EventCrashSpared
	EventRestartClean
	EventPrimaryFrozen
	EventHandoverAsked
	EventHandoverRefused
	EventHandoverDone
	EventHandoverGivenUp
	EventHandoverOvertaken
	EventEntriesSpoiled
	EventCheckpointSpoiled
	EventRestartBeforeRepair
	EventRepaired

	EventPrepareSent
	EventPrepareOKSent
	EventCommitSent
	EventCommitOKSent
	EventStartViewChangeSent
	EventDoViewChangeSent
	EventStartViewSent
	EventGetStateSent
	EventNewStateSent
	EventProbeSent
	EventProbeAgreed
	EventProbeRefused
	EventRecoverySent
	EventRecoveryResponseSent
	EventPrepareResent
	EventStartViewChangeResent
	EventDoViewChangeResent
	EventStartViewResent
	EventStateWantedSameView
	EventStateWantedLaterView
	EventStateWantedInViewChange
	EventStateWantedRecovering
	EventRecoveryBegun
	EventRecoveryAnew
	EventRecoveryRaisesView
	EventRecovered
	EventRecoveredByOwnLog
	EventRecoveredByEntries
	EventRecoveredByCheckpoint
	EventCheckpointWanted
	EventCheckpointCreated
	EventViewEntered
	EventViewAbandoned
	EventLed
	EventSteppedDown
	EventLogTruncatedAbove
	EventLogTruncatedBelow
	EventInheritedCommitted
	EventCommitted
	EventAcknowledged
	EventProposalDropped
	EventNotPrimaryRefused
	EventOverloadRefused
	EventReadOK
	EventReadFailed
	EventReadRefused
	EventReadByLease
	EventReadByRound
	EventStaleReadAsked
	EventStaleReadFresh
	EventStaleReadWaited
	EventStaleReadTooOld
	EventStaleReadUnknown
	EventStaleReadRefused
	EventStaleReadCutOff
	EventStaleReadTooOldCutOff
	EventStaleReadNewView
	EventStaleReadNotNormal
	EventStaleReadAtPrimary
	EventGrantHeldBack
	EventOldPrimaryAsked
	EventFormerPrimaryAsked
	EventGroupOfOne
	EventGroupOfSeven
	EventGroupInAsync
	EventGroupInMemory
	EventGroupWithLeases
	EventHealed
	EventLeftDead
	EventLeftAlone
	EventLeftDeaf
	EventLeftMute
	EventCalm
	EventCalmDisturbed
	EventStayedStopped
	EventForced
	EventForcedWithWitness
	EventForceDiscarded
	EventForceLost
	EventForceLostNothing
	EventSmooth
	EventNewcomer
	EventReconfigurationDry
	EventReconfigurationBusy
	EventReconfigurationSenseless
	EventNewcomerNotReady
	EventNextQuorumMissing
	EventGrow
	EventShrink
	EventReplace
	EventReplaceAll
	EventPrimaryRemoved
	EventShrinkToOne
	EventEpoch
	EventReconfigurationDone
	EventReconfigurationOvertaken
	EventReconfigurationUnknown
	EventStartEpochSent
	EventEpochStartedSent
	EventGetCommittedSent
	EventNewCommittedSent
	EventEnteredByCommit
	EventEnteredByLearning
	EventEnteredByCheckpoint
	EventEnteredOverTwo
	EventEnteredAsNewcomer
	EventEnteredRecovering
	EventLeft
	EventLeftShutDown
	EventRestartLeaving
	EventRestartByCheckpointsEpoch
	EventRecoveredByEpoch
	EventDiskWiped
	EventDiskRolledBack
	EventLifeRaised
	EventEnteredInLaterLife
	EventStaleRefused
	EventEarlierLifeStarted
	EventOutlived
	EventGroupWithWitness
	EventWitnessGoesOn
	EventWitnessBegins
	EventWitnessDecides
	EventStateWantedOfWitness
	EventEnteredAsWitness

	eventCount
)

// String names the event as the coverage table does.
func (e Event) String() string {
	if e >= 0 && e < eventCount {
		return eventNames()[e]
	}
	return fmt.Sprintf("event %d", int(e))
}

func eventNames() [eventCount]string {
	return [eventCount]string{
		"message lost", "message duplicated", "message late", "slow links", "NEWSTATE over slow links", "message blocked", "message held by a clog",
		"clog overflowed", "message of a starved kind lost", "partition, symmetric", "partition, one-way", "primary isolated", "crash",
		"crash of a primary", "crash of all", "crash before a Ready", "crash among early sends",
		"crash before write", "crash before sync", "crash before late sends", "crash among late sends",
		"crash before fetch", "crash before apply", "crash before answers", "crash before Advance",
		"crash during checkpoint", "crash during transfer", "writes lost at crash", "writes kept at crash",
		"pause", "clocks drift", "slow write", "write behind the replica", "inbox overflowed", "inputs gathered", "restart",
		"restart in view change", "restart of a primary", "restart with checkpoint above log",
		"transfer lost", "transfer done", "crash after install",
		"chunk taken", "chunk refused", "part of a checkpoint cut at a restart", "transfer goes on with the same replica",
		"transfer goes on with another", "transfer goes on after a restart", "transfer begins anew", "checkpoint gone",
		"no place to hold a checkpoint", "held checkpoint let go", "held checkpoint expired", "log kept above a held checkpoint",
		"clean stop", "clean stop in place of a crash too many", "restart after a clean stop",
		"primary frozen", "handover asked", "handover refused", "handover done", "handover given up", "handover overtaken",
		"entries spoiled", "checkpoint spoiled", "restart before a repair was durable", "repaired",
		"PREPARE", "PREPAREOK", "COMMIT", "COMMITOK", "STARTVIEWCHANGE", "DOVIEWCHANGE", "STARTVIEW",
		"GETSTATE", "NEWSTATE", "PROBE", "probe agreed", "probe refused",
		"RECOVERY", "RECOVERYRESPONSE", "PREPARE resent",
		"STARTVIEWCHANGE resent", "DOVIEWCHANGE resent", "STARTVIEW resent", "state wanted, same view",
		"state wanted, later view", "state wanted in view change", "state wanted recovering", "recovery begun",
		"recovery begun anew", "recovery raises a view", "recovered", "recovered by its own log", "recovered by entries", "recovered by checkpoint", "checkpoint wanted",
		"checkpoint created", "view entered", "view abandoned", "led", "stepped down by check-quorum",
		"log truncated above", "log truncated below", "inherited operation committed", "committed",
		"acknowledged", "proposal dropped", "proposal refused, not primary", "proposal refused, overload",
		"read ok", "read failed", "read refused",
		"read answered by a lease", "read answered by a round",
		"stale read asked", "stale read answered at once", "stale read answered after waiting", "stale read too old", "stale read of unknown age",
		"stale read refused", "stale read answered at a cut-off replica", "stale read too old at a cut-off replica",
		"stale read answered in a later view", "stale read at a replica that is not normal", "stale read at a primary",
		"view change held back by a grant", "old primary asked", "former primary asked", "group of one", "group of seven", "group in async", "group in memory", "group with leases", "healed",
		"left dead", "left alone", "left deaf", "left mute",
		"calm watched", "calm with a backup that misses its primary", "stayed stopped", "forced", "forced with a witness", "force that discards a witness's log", "force that lost something", "force that lost nothing", "handed over while it worked",
		"newcomer started", "reconfiguration only tried", "reconfiguration refused, one under way", "reconfiguration refused, senseless",
		"reconfiguration refused, newcomer not ready", "reconfiguration refused, no quorum next", "change: only newcomers",
		"change: only leavers", "change: both", "change: everybody", "change: the primary leaves", "change: to one member",
		"epoch", "reconfiguration done", "reconfiguration overtaken", "reconfiguration's fate unknown",
		"STARTEPOCH", "EPOCHSTARTED", "GETCOMMITTED", "NEWCOMMITTED", "epoch entered by its own log", "epoch entered by what it learnt",
		"epoch entered by checkpoint", "epoch entered over others", "epoch entered by a newcomer", "epoch entered while recovering",
		"left", "shut down after it left", "restart of one who leaves", "restart into the epoch of a checkpoint", "recovered by an epoch",
		"disk wiped", "disk rolled back", "change: a later life of a member", "epoch entered in a later life", "message of an earlier life refused",
		"earlier life started again", "earlier life hears that it is over",
		"group with a witness", "witness goes on from a checkpoint of the others", "witness begins at a checkpoint of another",
		"committed by a witness's acknowledgement", "state wanted of a witness in view change", "epoch entered by a new witness",
	}
}

// Coverage counts events, over one seed or over many.
type Coverage [eventCount]uint64

func (c *Coverage) count(e Event) { c[e]++ }

// Add sums up.
func (c *Coverage) Add(other *Coverage) {
	for e := range c {
		c[e] += other[e]
	}
}

// Missing are the events that never happened.
func (c *Coverage) Missing() []Event {
	var missing []Event
	for e := range c {
		if c[e] == 0 {
			missing = append(missing, Event(e))
		}
	}
	return missing
}

// MarshalJSON gives the counts by the events' names.
func (c *Coverage) MarshalJSON() ([]byte, error) {
	counts := make(map[string]uint64, len(c))
	for e := range c {
		counts[Event(e).String()] = c[e]
	}
	return json.Marshal(counts)
}

// WriteTable writes one line an event: its count in all, and a thousand seeds.
func (c *Coverage) WriteTable(w io.Writer, seeds uint64) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for e := range c {
		fmt.Fprintf(table, "%s\t%d\t%.1f a thousand seeds\t\n", Event(e), c[e], float64(c[e])*1000/float64(max(seeds, 1)))
	}
	return table.Flush()
}
