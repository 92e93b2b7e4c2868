package clerk

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/internal/route"
)

var errExpired = fmt.Errorf("%w: %w", route.ErrOutcomeUnknown, route.ErrDeadline)

func (p *patience) lasts(bytes int) time.Duration {
	t, deadline := p.try(bytes)
	return deadline.Sub(t.began)
}

func TestPatience(t *testing.T) {
	p := &patience{}
	require.Equal(t, patienceMin, p.lasts(0))
	require.Equal(t, patienceMin+4*time.Second, p.lasts(16<<20), "large requests get more time")

	together := []*try{}
	for range 3 {
		next, _ := p.try(0)
		together = append(together, next)
	}
	for _, one := range together {
		one.end(errExpired)
	}
	require.Equal(t, 2*patienceMin, p.lasts(0), "what expires together doubles once")
	for range 10 {
		next, _ := p.try(0)
		next.end(errExpired)
	}
	require.Equal(t, patienceMax, p.lasts(0))

	next, _ := p.try(0)
	next.end(route.ErrUnavailable)
	next.end(route.ErrDeadline) // certainly never arrived anywhere
	next, _ = p.try(1 << 20)
	next.end(nil)
	require.Equal(t, patienceMax, p.lasts(0), "only answers to small requests say how fast the shard is")
	next, _ = p.try(0)
	next.end(nil)
	require.Equal(t, patienceMin, p.lasts(0))
}

func TestPatienceFollowsASlowShard(t *testing.T) {
	p := &patience{}
	for range 50 {
		p.answered(3 * time.Second)
	}
	require.InDelta(t, 3*time.Second, p.lasts(0), float64(50*time.Millisecond))
	for range 50 {
		p.answered(20 * time.Millisecond)
	}
	require.Equal(t, patienceMin, p.lasts(0))
	p.answered(time.Hour)
	require.Equal(t, patienceMax, p.lasts(0))
}
