package raft_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/raft"
)

// TestMembersChangeWhileReplicasDie: members come, go and lose their disks, while one of those who stay is cut off, killed or
// asked to hand over. Nothing that callers were answered is lost or there twice. VIEWLINE_SEED gives it another, and more
// rounds.
func TestMembersChangeWhileReplicasDie(t *testing.T) {
	rounds, seed := 6, uint64(3)
	if given, err := strconv.ParseUint(os.Getenv("VIEWLINE_SEED"), 10, 64); err == nil {
		rounds, seed = 15, given
	} else if testing.Short() {
		rounds = 3
	}
	c := &chaos{changing: newChanging(t, 3, func(o *raft.Options) { o.CheckpointEvery = 200 }), random: rand.New(rand.NewPCG(seed, 7)), members: []int{0, 1, 2}}
	for round := range rounds {
		c.round(fmt.Sprint("round ", round))
	}
}

// chaos is a group whose members change at random.
type chaos struct {
	*changing
	random  *rand.Rand
	members []int // their places
}

// round changes the members once, and lets something happen to one of them.
func (c *chaos) round(name string) {
	callers := c.underLoad(name, 3)
	c.more(callers, 10)
	next, goes, wiped := c.draw()
	trouble, kind := next[c.random.IntN(len(next))], c.random.IntN(4)
	c.t.Log(name, c.members, next, c.lives, trouble, kind)
	done := make(chan error, 1)
	go func() { done <- c.insist(next) }()
	leader, _ := c.primary()
	switch {
	case kind == 0 && slices.Contains(c.members, trouble) && !wiped: // that would be two
		c.network.Isolate(replication.ReplicaID(trouble + 1))
		c.primaryBut(trouble)
		c.network.Heal()
	case kind == 1:
		_ = c.replicas[leader].TransferPrimary(c.ctx, 0) // it may be refused
	}
	require.NoError(c.t, <-done)
	c.became(next)
	c.more(callers, 10)
	c.end(callers, next...)
	for _, place := range goes {
		c.protocol(place, "left")
		c.stop(place)
	}
	c.members = next
	if kind == 2 {
		c.stop(trouble)
		c.commit(name + ", without one")
		c.start(trouble)
	}
}

// draw says who is to be a member, and who is not any more; newcomers run when it returns.
func (c *chaos) draw() (next, goes []int, wiped bool) {
	next = slices.Clone(c.members)
	one := c.random.IntN(len(next))
	leave := func() {
		goes = []int{next[one]}
		next = slices.Delete(slices.Clone(next), one, one+1)
	}
	switch kind := c.random.IntN(3); {
	case kind == 0 && len(next) > 2: // one has lost its disk
		c.stop(next[one])
		c.wipe(next[one])
		c.start(next[one])
		return next, nil, true
	case kind == 1 && len(next) > 3:
		leave()
		return next, goes, false
	case kind == 1:
		return append(next, c.join(), c.join()), nil, false
	}
	if len(next) > 2 && c.random.IntN(3) > 0 {
		leave()
	}
	return append(next, c.join()), goes, false
}

// insist asks whoever leads for a change, until somebody has begun it.
func (c *chaos) insist(places []int) (last error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		for _, replica := range c.replicas {
			if replica == nil || !replica.Status().Leading {
				continue
			}
			_, last = replica.Reconfigure(c.ctx, replication.Change{Members: c.at(places...)})
			if last == nil || errors.Is(last, replication.ErrMembership) {
				return nil // they are the members already, as one that was unknown has ended
			}
		}
		<-time.After(time.Millisecond) // it asks again
	}
	return fmt.Errorf("it cannot be changed: %w", last)
}

// became waits until these are the members, whoever has seen to it.
func (c *chaos) became(places []int) {
	c.t.Helper()
	want := c.at(slices.Sorted(slices.Values(places))...)
	epoch := uint64(0)
	c.eventually("they are the members", func() bool {
		leader, _ := c.primary()
		membership := c.replicas[leader].Membership()
		epoch = membership.Epoch
		return slices.Equal(membership.Members, want)
	})
	c.settled(epoch, places...)
}

// primaryBut waits until another one leads than the one at a place.
func (c *chaos) primaryBut(place int) {
	c.t.Helper()
	c.eventually("another one leads", func() bool {
		leader, _ := c.primary()
		return leader != place
	})
}
