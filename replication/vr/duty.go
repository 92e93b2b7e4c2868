package vr

import (
	"context"
	"time"
)

// dutyRestMin is the shortest rest, so that timers cost little.
const dutyRestMin = 5 * time.Millisecond

// duty bounds the share of the time in which a fetch keeps the disk busy. It goes by how long the writes take, so that
// nobody has to know how fast the disk is.
type duty struct {
	percent int
	restMax time.Duration // a longer rest would be taken for a fetch that stands still
	owed    time.Duration
}

// rest is called after a write that took so long. It ends early, with the cause, when ctx does.
func (d *duty) rest(ctx context.Context, took time.Duration) error {
	pause := d.pause(took)
	if pause == 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pause is how long to rest now. Short rests are put together.
func (d *duty) pause(took time.Duration) time.Duration {
	d.owed += took * time.Duration(100-d.percent) / time.Duration(d.percent)
	if d.owed < dutyRestMin {
		return 0
	}
	pause := min(d.owed, d.restMax)
	d.owed = 0
	return pause
}
