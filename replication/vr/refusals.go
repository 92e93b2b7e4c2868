package vr

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/viewline/viewline/replication/vr/core"
)

// refusalReason is what is wrong with a message that no correct member sends.
type refusalReason uint8

const (
	refusedMalformed refusalReason = iota
	refusedEpoch
	refusedStranger
	refusedView
	refusedIncarnation
	refusedInvalid
	refusalReasons
)

// String is the reason as a label.
func (r refusalReason) String() string {
	return [refusalReasons]string{
		refusedMalformed: "malformed",
		refusedEpoch:     "epoch",
		refusedStranger:  "stranger",
		refusedView:      "view",

		refusedIncarnation: "stale_incarnation",
		refusedInvalid:     "invalid",
	}[r]
}

func whyRefused(err error) refusalReason {
	for reason, target := range map[refusalReason]error{
		refusedMalformed: errMalformed, refusedEpoch: errEpoch, refusedStranger: core.ErrStranger, refusedView: core.ErrViewNumber,
		refusedIncarnation: core.ErrIncarnation,
	} {
		if errors.Is(err, target) {
			return reason
		}
	}
	return refusedInvalid
}

// refusals count the messages that were refused.
type refusals [refusalReasons]atomic.Uint64

func (r *refusals) total() (sum uint64) {
	for reason := range r {
		sum += r[reason].Load()
	}
	return sum
}

func (r *refusals) describe(values map[string]uint64) {
	for reason := range r {
		values["messages_refused."+refusalReason(reason).String()] = r[reason].Load()
	}
}

// refuse counts a message that is not taken, and warns of it; of the same sender and reason once a minute. Members enter an
// epoch one after the other, and one that was away comes later still: that is no reason to warn.
func (r *Replica) refuse(from core.ReplicaID, err error) {
	reason := whyRefused(err)
	attributes := []any{"group", r.options.Group, "replica", r.options.Self, "from", from, "reason", reason.String(), "detail", err}
	if reason == refusedEpoch {
		r.options.Logger.Debug("message of another epoch", attributes...)
	} else {
		r.notices.Warn("message refused", fmt.Sprint(reason, " ", from), attributes...)
	}
	r.counters.refused[reason].Add(1)
}
