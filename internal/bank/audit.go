package bank

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/viewline/viewline/clerk"
)

// Audit is what an audit compared.
type Audit struct {
	Accounts  int   `json:"accounts"`
	Total     int64 `json:"total"`
	Committed int   `json:"committed"` // acknowledged, and found on both shards
	Aborted   int   `json:"aborted"`   // reported as aborted, and found on neither
	// UnknownCommitted and UnknownAborted are those whose outcome was unknown until the audit asked.
	UnknownCommitted int `json:"unknown_committed"`
	UnknownAborted   int `json:"unknown_aborted"`
}

// Audit holds everything the clerk ever answered against what is stored, as a clerk of its own sees it. Run
// must have ended. The error is ErrBooks when anything disagrees.
func (l *Ledger) Audit(ctx context.Context, c *clerk.Clerk) (Audit, error) {
	settling := l.Settle(ctx, c)
	l.mu.Lock()
	defer l.mu.Unlock()
	audit := Audit{Accounts: l.accounts, Committed: len(l.committed), Aborted: len(l.aborted)}
	if l.broken != nil {
		return audit, l.broken
	}
	var err error
	if audit.Total, err = Total(ctx, c, l.accounts); err != nil {
		return audit, err
	}
	if want := int64(l.accounts) * Initial; audit.Total != want {
		return audit, fmt.Errorf("%w: the accounts hold %d, not %d", ErrBooks, audit.Total, want)
	}
	if settling != nil {
		return audit, settling
	}
	audit.UnknownCommitted, audit.UnknownAborted = len(l.settledCommitted), len(l.settledAborted)
	committed, aborted := slices.Concat(l.committed, l.settledCommitted), slices.Concat(l.aborted, l.settledAborted)
	if err := compare(ctx, c, committed, true); err != nil {
		return audit, err
	}
	return audit, compare(ctx, c, aborted, false)
}

// settlersMax is how many outcomes are asked for at a time.
const settlersMax = 16

// Settle asks what became of the transfers whose outcome is unknown. Shards remember outcomes for a time only, so that
// a long run has to ask now and then; Run may go on meanwhile, and only one may settle or audit at a time. What was not
// answered is asked again by the next.
func (l *Ledger) Settle(ctx context.Context, c *clerk.Clerk) error {
	l.mu.Lock()
	open := l.unknown
	l.unknown = nil
	l.mu.Unlock()
	var failed error // guarded by mu
	var asking sync.WaitGroup
	room := make(chan struct{}, settlersMax)
	for _, lost := range open {
		room <- struct{}{}
		asking.Go(func() {
			defer func() { <-room }()
			happened, err := settle(ctx, c, lost)
			l.mu.Lock()
			defer l.mu.Unlock()
			switch {
			case err != nil:
				l.unknown = append(l.unknown, lost)
				if failed == nil {
					failed = err
				}
			case happened:
				l.settledCommitted = append(l.settledCommitted, lost.transfer)
			default:
				l.settledAborted = append(l.settledAborted, lost.transfer)
			}
		})
	}
	asking.Wait()
	return failed
}

// settle asks what became of a transfer whose outcome was unknown.
func settle(ctx context.Context, c *clerk.Clerk, lost unknown) (bool, error) {
	outcome, err := c.Outcome(ctx, lost.err.Attempt)
	if err != nil {
		return false, fmt.Errorf("bank: outcome of transfer %s: %w", lost.transfer.ID, err)
	}
	return outcome.Committed, nil
}

// wrongMax bounds how many wrong records an error names.
const wrongMax = 10

// compare looks for the records of transfers, all of which must be there or none. Records are never removed, so
// every batch may have a snapshot of its own.
func compare(ctx context.Context, c *clerk.Clerk, transfers []Transfer, there bool) error {
	var wrong []error
	for first := 0; first < len(transfers); first += batch {
		part := transfers[first:min(first+batch, len(transfers))]
		oids := make([]string, 0, 2*len(part))
		for _, transfer := range part {
			oids = append(oids, transfer.records[0], transfer.records[1])
		}
		values, err := c.GetMulti(ctx, oids...)
		if err != nil {
			return errors.Join(append(wrong, err)...)
		}
		for i, value := range values {
			if value.Present != there && len(wrong) < wrongMax {
				wrong = append(wrong, fmt.Errorf("%w: transfer %s: record %s is there: %t, should be: %t",
					ErrBooks, part[i/2].ID, oids[i], value.Present, there))
			}
		}
	}
	return errors.Join(wrong...)
}
