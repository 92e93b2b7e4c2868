package vr

import (
	"fmt"
	"time"
)

// leaseMarginPercentMax leaves something of a lease.
const leaseMarginPercentMax = 90

// validateLeases checks the options of leases, with defaults in place.
func (o Options) validateLeases() error {
	switch {
	case o.LeaseMarginPercent > leaseMarginPercentMax:
		return fmt.Errorf("%w: LeaseMarginPercent is %d, at most %d", ErrOptions, o.LeaseMarginPercent, leaseMarginPercentMax)
	case o.LeaseDuration >= o.ViewChangeTimeoutMin:
		return fmt.Errorf("%w: LeaseDuration %v is not less than ViewChangeTimeoutMin %v", ErrOptions, o.LeaseDuration, o.ViewChangeTimeoutMin)
	default:
		return nil
	}
}

// leaseMargin is rounded up.
func (o Options) leaseMargin() time.Duration {
	if o.LeaseDuration < 0 {
		return 0
	}
	return (o.LeaseDuration*time.Duration(o.LeaseMarginPercent) + 99) / 100
}

// clock is what this replica's core goes by: nanoseconds since Open of CLOCK_MONOTONIC, which nobody sets and which
// goes on while the process is stopped.
func (r *Replica) clock() uint64 { return uint64(time.Since(r.opened)) }
