package core

import "github.com/viewline/viewline/internal/omit"

// The rules that keep committed operations, by number; a test takes one out through Config.Omit to see that
// it is missed.
const (
	// RulePrepareOKDurable: PREPAREOK leaves only when everything up to its op-number is durable.
	RulePrepareOKDurable omit.Rule = iota
	// RuleViewDurable: a view-number is durable before any message that promises it leaves.
	RuleViewDurable
	// RuleNeverResume: a primary that restarts never goes on in a view that it was primary of.
	RuleNeverResume
	// RuleLink: a suffix is joined only where the entry below it is the same in both logs.
	RuleLink
	// RuleLogChoice: the new primary takes the log with the largest last-normal view, not the longest.
	RuleLogChoice
	// RuleStartViewOnce: a STARTVIEW of the view that the replica is normal in already does nothing.
	RuleStartViewOnce
	// RuleOneDoViewChange: DOVIEWCHANGEs count once for each replica.
	RuleOneDoViewChange
	// RuleNoGap: nothing above a gap is acknowledged.
	RuleNoGap
	// RuleKeepBeforeTransfer: a state transfer removes nothing before its answer is here.
	RuleKeepBeforeTransfer
	// RuleNewStateAsked: NEWSTATE is taken only as the answer to the question that is open.
	RuleNewStateAsked
	// RulePrepareOKView: PREPAREOK counts in its own view only.
	RulePrepareOKView
	// RulePrepareView: a PREPARE of a later view is not appended; it starts a state transfer.
	RulePrepareView
	// RuleWholeInherited: a replica is normal in a view only with everything that the view inherited.
	RuleWholeInherited
	// RuleReadRound: a read waits for a round of the quorum that began after it was asked for.
	RuleReadRound
	// RuleLeadInherited: a primary leads only when a quorum of its own view has everything inherited.
	RuleLeadInherited
	// RuleCheckQuorum: a primary that hears nobody stops leading.
	RuleCheckQuorum
	// RuleProbe: a replica's own timer raises the view only when a majority has lost the primary.
	RuleProbe
	// RuleRecover: a replica that may have lost what it acknowledged recovers before it takes part.
	RuleRecover
	// RuleRecoveringTakesNoPart: a recovering replica joins no view change and acknowledges nothing.
	RuleRecoveringTakesNoPart
	// RuleRecoveryQuorum: a replica recovers by the answers of f+1 others.
	RuleRecoveryQuorum
	// RuleRecoveryPrimary: a replica recovers from the primary of the largest view among the answers.
	RuleRecoveryPrimary
	// RuleRecoveryLeastView: a replica recovers in no view below its own promises.
	RuleRecoveryLeastView
	// RuleRecoveryNonce: a replica recovers by answers to the question that is open.
	RuleRecoveryNonce
	// RuleRecoveryHash: a recovered log has all that the primary's had, with its hash.
	RuleRecoveryHash
	// RuleHandoverFinished: a primary hands over only when all that it took is applied, and its successor has it.
	RuleHandoverFinished
	// RuleRepair: a replica whose log or checkpoint is damaged recovers before it takes part.
	RuleRepair
	// RuleLeaseGrant: a lease that a replica granted keeps it from changes to later views.
	RuleLeaseGrant
	// RuleLeaseAfterStart: after a start a replica changes the view only when no lease of before can stand.
	RuleLeaseAfterStart
	// RuleLeaseQuorum: a lease needs the grants of f backups.
	RuleLeaseQuorum
	// RuleLeaseFromSending: a primary counts a lease from when it sent the COMMIT that asked for it.
	RuleLeaseFromSending
	// RuleLeaseMargin: a primary counts on less than was granted, since clocks differ.
	RuleLeaseMargin
	// RuleLeaseLeads: only a primary that leads has a lease.
	RuleLeaseLeads
	// RuleLeaseDropped: a primary drops its lease when it leaves its view or stops leading.
	RuleLeaseDropped
	// RuleLeaseClock: the clock is read after what it is compared for has arrived.
	RuleLeaseClock
	// RuleReconfigurationIsLast: nothing follows a RECONFIGURATION in its epoch.
	RuleReconfigurationIsLast
	// RuleOneReconfiguration: no RECONFIGURATION is proposed before the one before it is committed.
	RuleOneReconfiguration
	// RuleEpochIsCommitted: an epoch begins only when the old group has committed its RECONFIGURATION.
	RuleEpochIsCommitted
	// RuleNewcomersReady: whoever becomes a member is heard, and within a checkpoint of the primary.
	RuleNewcomersReady
	// RuleNextQuorum: a quorum of the next epoch is ready before the RECONFIGURATION is proposed.
	RuleNextQuorum
	// RuleEpochOfMessage: a message counts in its own epoch only.
	RuleEpochOfMessage
	// RuleEpochDurable: an epoch is durable before any message of it leaves.
	RuleEpochDurable
	// RuleOldMembersStay: whoever leaves stays until f'+1 of the new members have begun.
	RuleOldMembersStay
	// RuleLearnCommitted: whoever is no member of the epoch is given only what is committed.
	RuleLearnCommitted
	// RuleIDsAreNew: no id is a member's that was another's before.
	RuleIDsAreNew
	// RuleIncarnation: what an earlier life of a member says counts for nothing, and that life is over.
	RuleIncarnation
	// RuleWipedStays: a replica that has lost its storage takes part only in an epoch that names its new life.
	RuleWipedStays
	// RuleStaleConfirmed: a stamp goes back only when its receiver was the primary for certain after it had come.
	RuleStaleConfirmed
	// RuleStaleRound: a round confirms only the stamps that had come before it began.
	RuleStaleRound
	// RuleStaleLeads: a stamp goes back only from a primary that has committed everything it inherited.
	RuleStaleLeads
	// RuleStaleClock: a replica takes back stamps of its present clock only.
	RuleStaleClock
	// RuleStaleFromStamp: the age of a state is counted from the stamp, not from when it came back.
	RuleStaleFromStamp
	// RuleStaleApplied: a state is as new as what is applied, not as what is known to be committed.
	RuleStaleApplied
	// RuleStaleMargin: an age is what it is by the fastest clock.
	RuleStaleMargin
	// RuleWitnessNeverLeads: the primary of a view is an active member.
	RuleWitnessNeverLeads
	// RuleWitnessKeeps: a witness keeps what is above the least checkpoint of the active members.
	RuleWitnessKeeps
	// RuleWitnessBase: the log of a witness that lost what it acknowledged goes on from where active logs begin.
	RuleWitnessBase
	// RuleActivesKeep: beside a witness, active members keep their logs down to the same checkpoint as the witness.
	RuleActivesKeep
	// RuleActivesBegin: whoever leaves stays until active members have begun.
	RuleActivesBegin
	// RuleActivesReady: beside new witnesses, active members are ready of which one is in every quorum.
	RuleActivesReady
	// RuleFloorStands: while a RECONFIGURATION is not committed, and until all active members of the epoch that it begins have
	// told a checkpoint of that epoch, a witness drops nothing that newcomers may lack.
	RuleFloorStands
	// RuleOwnLogDurable: a primary counts its own log up to where it is durable.
	RuleOwnLogDurable
	// RuleWitnessOwn: a witness keeps what it has itself of what another's log begins above.
	RuleWitnessOwn
)
