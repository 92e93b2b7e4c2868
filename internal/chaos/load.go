package chaos

import (
	"context"
	"fmt"
	"sync"

	"github.com/viewline/viewline/internal/bank"
)

// load is what clerks do to the cluster. It can be stopped, and begun again.
type load struct {
	stop    context.CancelFunc
	phase   int // how often it was begun
	working sync.WaitGroup
}

// startLoad begins it. It goes on until endLoad or ctx ends.
func (r *run) startLoad(ctx context.Context) {
	l := &r.load
	ctx, l.stop = context.WithCancel(ctx)
	l.phase++
	phase := l.phase
	l.working.Go(func() {
		r.ledger.Run(ctx, r.clerks, bank.RunOptions{
			Callers: r.options.Clerks, Seed: r.options.Seed + uint64(phase), Prefix: fmt.Sprintf("chaos-%d", phase), HurriedTimeout: hurriedTimeout,
		})
	})
	l.working.Go(func() { r.mortals(ctx) })
	l.working.Go(func() { r.watch.run(ctx) })
	l.working.Go(func() { r.readAndWrite(ctx, phase) })
}

// endLoad waits until what was begun is finished.
func (r *run) endLoad() {
	r.load.stop()
	r.load.working.Wait()
}

// calmly calls a function while there is no load.
func (r *run) calmly(ctx context.Context, do func() error) error {
	r.endLoad()
	defer r.startLoad(ctx)
	return do()
}
