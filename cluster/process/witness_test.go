package process_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/survey"
)

// pay moves one coin between accounts of two shards, in both directions in turn, until ctx ends, and returns how often.
func pay(ctx context.Context, connected *clerk.Clerk, accounts []string, payments chan<- int) {
	paid := 0
	for ; ctx.Err() == nil; paid++ {
		from, to := accounts[paid%2], accounts[1-paid%2]
		err := connected.Update(ctx, func(tx *clerk.Txn) error {
			values, err := tx.GetMulti(ctx, from, to)
			if err != nil {
				return err
			}
			coins := func(v clerk.Value, change int) []byte { return fmt.Append(nil, number(v.Bytes)+change) }
			return errors.Join(tx.Put(from, coins(values[0], -1)), tx.Put(to, coins(values[1], 1)))
		})
		if err != nil {
			break
		}
	}
	payments <- paid
}

func number(text []byte) (n int) {
	_, _ = fmt.Sscan(string(text), &n)
	return n
}

// Every group of real processes is two states and a witness. One state after the other is killed without warning, under
// transactions over two shards; the other and the witness go on, and in the end the two states are equal.
func TestTwoStatesAndAWitness(t *testing.T) {
	for _, durability := range []string{"sync", "async"} {
		t.Run(durability, func(t *testing.T) {
			binary, err := os.Executable()
			require.NoError(t, err)
			layout, err := cluster.LocalLayout(t.TempDir(), 3, 2, 3)
			require.NoError(t, err)
			layout.Durability = durability
			layout.MarkWitnesses()
			c, err := process.Start(within(t), process.Options{Binary: binary, Layout: layout, Environment: []string{nodeVariable + "=1"}})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, c.Close()) })
			connected, err := clerk.Dial(within(t), clerk.Options{Coordinators: c.Coordinators()})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, connected.Close()) })
			w := write(t, connected)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			payments := make(chan int, 4)
			for n := range cap(payments) {
				go pay(ctx, connected, []string{fmt.Sprintf("account/%d", n), fmt.Sprintf("account/%d", n+1)}, payments)
			}
			w.more(t)
			for _, group := range []uint32{cluster.CoordinatorGroup, 1} {
				primary, err := c.Primary(within(t), group)
				require.NoError(t, err)
				require.LessOrEqual(t, primary.Replica, uint32(2))
				killUnderLoad(t, c, w, primary)
				killUnderLoad(t, c, w, process.Node{Group: group, Replica: 3 - primary.Replica})
			}
			killUnderLoad(t, c, w, process.Node{Group: 2, Replica: 3})
			stop()
			paid := 0
			for range cap(payments) {
				paid += <-payments
			}
			w.end()
			require.Positive(t, paid)
			requireAll(t, connected, w.acknowledged)
			sum := 0
			for n := range cap(payments) + 1 {
				value, err := connected.Get(within(t), fmt.Sprintf("account/%d", n))
				if !errors.Is(err, clerk.ErrNotFound) {
					require.NoError(t, err)
				}
				sum += number(value)
			}
			require.Zero(t, sum, "no coin is made or lost")
			require.Positive(t, prepared(t, c), "some of it went over two shards")
			requireEqualWitnessed(t, c)
			t.Logf("%d objects are acknowledged and there, %d payments", len(w.acknowledged), paid)
		})
	}
}

// prepared is how many parts of transactions over more than one shard the replicas that run have applied.
func prepared(t *testing.T, c *process.Cluster) (count uint64) {
	t.Helper()
	for _, r := range c.Survey(t.Context()) {
		count += r.Counters["txn_prepared"]
	}
	return count
}

// requireEqualWitnessed waits until both states of each group have applied the same, and compares them.
func requireEqualWitnessed(t *testing.T, c *process.Cluster) {
	t.Helper()
	require.NoError(t, survey.Poll(within(t), func() error {
		replicas := c.SurveyStates(t.Context())
		require.Len(t, replicas, 9)
		for at := 0; at < len(replicas); at += 3 {
			one, other, witness := replicas[at], replicas[at+1], replicas[at+2]
			if one.StateHash == "" || one.Applied != other.Applied {
				return fmt.Errorf("group %d: %q at %d and %d, %s", one.Group, one.StateHash, one.Applied, other.Applied, one.Error)
			}
			if one.StateHash != other.StateHash || witness.StateHash != "" {
				return survey.Final{Err: fmt.Errorf("group %d: states %s, %s and %q", one.Group, one.StateHash, other.StateHash, witness.StateHash)}
			}
		}
		return nil
	}))
}
