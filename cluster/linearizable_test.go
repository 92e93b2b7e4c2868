package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
)

// access is what one operation on one object asked for, and found.
type access struct {
	oid   string
	put   bool
	value string // written, or read; empty: the object was absent
}

// history is what clients did, and when, in nanoseconds since it began.
type history struct {
	began      time.Time
	mu         sync.Mutex // guards what follows
	operations []porcupine.Operation
	puts       int // acknowledged
	gets       int
	unknown    int
	refused    int // puts that certainly did not happen, gets that were not answered
}

// perform does one operation and notes it. What certainly did not happen is no part of the history; what may have
// happened may do so at any later time.
func (h *history) perform(client int, a access, do func(a *access) error) {
	call := time.Since(h.began).Nanoseconds()
	err := do(&a)
	returned := time.Since(h.began).Nanoseconds()
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case a.put && errors.Is(err, clerk.ErrOutcomeUnknown):
		returned = math.MaxInt64
		h.unknown++
	case err != nil:
		h.refused++
		return
	case a.put:
		h.puts++
	default:
		h.gets++
	}
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: a, Call: call, Output: a, Return: returned})
}

func (h *history) acknowledged() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return min(h.puts, h.gets)
}

// registers is the model: each object holds what was written last.
func registers() porcupine.Model {
	return porcupine.Model{
		Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
			parts := map[string][]porcupine.Operation{}
			for _, operation := range all {
				oid := operation.Input.(access).oid
				parts[oid] = append(parts[oid], operation)
			}
			var partitions [][]porcupine.Operation
			for _, part := range parts {
				partitions = append(partitions, part)
			}
			return partitions
		},
		Init: func() any { return "" },
		Step: func(state, _, output any) (bool, any) {
			a := output.(access)
			return a.put || a.value == state, a.value
		},
		DescribeOperation: func(_, output any) string { return fmt.Sprintf("%+v", output) },
	}
}

// TestObjectsAreLinearizable: single objects, read by Get and by GetLatest, while primaries are killed, cut off and
// made to hang. Every value is written once, so that each read names its writer.
func TestObjectsAreLinearizable(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{})
	h := &history{began: time.Now()}
	oids := []string{onShard(clustertest.Clerk(t, c), 1, "x"), onShard(clustertest.Clerk(t, c), 2, "y"), onShard(clustertest.Clerk(t, c), 1, "z")}
	running, stop := context.WithCancel(t.Context())
	defer stop()
	var callers sync.WaitGroup
	for client := range 6 {
		connected := clustertest.Clerk(t, c)
		callers.Go(func() { h.call(running, connected, client, oids) })
	}
	for round, fault := range faultsOf(t, c) {
		group := []uint32{1, cluster.CoordinatorGroup, 2, 1}[round]
		primary, err := c.Primary(within(t), group)
		require.NoError(t, err)
		mend := fault(group, primary)
		h.goOn(t, 150)
		mend()
		h.goOn(t, 50)
		require.NoError(t, c.AwaitWhole(within(t)))
	}
	stop()
	callers.Wait()
	t.Logf("%d puts and %d gets were answered, %d puts are unknown, %d operations were refused", h.puts, h.gets, h.unknown, h.refused)
	result, _ := porcupine.CheckOperationsVerbose(registers(), h.operations, time.Minute)
	require.Equal(t, porcupine.Ok, result)

	// The judge sees a read of what was overwritten.
	last := h.operations[len(h.operations)-1].Return
	for _, a := range []access{{oid: oids[0], put: true, value: "later"}, {oid: oids[0], value: "never written"}} {
		h.operations = append(h.operations, porcupine.Operation{Input: a, Output: a, Call: last + 1, Return: last + 2})
		last += 2
	}
	result, _ = porcupine.CheckOperationsVerbose(registers(), h.operations, time.Minute)
	require.Equal(t, porcupine.Illegal, result)
}

// call makes a client read and write until its context ends.
func (h *history) call(ctx context.Context, c *clerk.Clerk, client int, oids []string) {
	random := rand.New(rand.NewPCG(uint64(client), 7))
	for n := 0; ctx.Err() == nil; n++ {
		a := access{oid: oids[random.IntN(len(oids))], put: random.IntN(2) == 0}
		patient, cancel := context.WithTimeout(ctx, 2*time.Second)
		switch {
		case a.put:
			a.value = fmt.Sprintf("%d/%d", client, n)
			h.perform(client, a, func(a *access) error { return c.Put(patient, a.oid, []byte(a.value)) })
		case random.IntN(2) == 0:
			h.perform(client, a, func(a *access) error { return read(patient, a, c.Get) })
		default:
			h.perform(client, a, func(a *access) error { return read(patient, a, c.GetLatest) })
		}
		cancel()
	}
}

func read(ctx context.Context, a *access, get func(context.Context, string) ([]byte, error)) error {
	value, err := get(ctx, a.oid)
	a.value = string(value)
	if errors.Is(err, clerk.ErrNotFound) {
		return nil
	}
	return err
}

// goOn waits until so many more puts, and as many gets, are answered.
func (h *history) goOn(t *testing.T, more int) {
	t.Helper()
	until := h.acknowledged() + more
	require.Eventually(t, func() bool { return h.acknowledged() >= until }, patience, 10*time.Millisecond)
}

// faultsOf gives faults to a primary, each with what ends it.
func faultsOf(t *testing.T, c *cluster.Cluster) []func(group, primary uint32) (mend func()) {
	must := func(err error) {
		t.Helper()
		require.NoError(t, err)
	}
	kill := func(group, primary uint32) func() {
		must(c.Kill(group, primary))
		return func() { must(c.Restart(group, primary)) }
	}
	hang := func(group, primary uint32) func() {
		must(c.Pause(group, primary))
		return func() { must(c.Resume(group, primary)) }
	}
	isolate := func(group, primary uint32) func() {
		c.Isolate(group, primary)
		return c.Heal
	}
	return []func(group, primary uint32) func(){kill, kill, isolate, hang}
}
