package clerk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/txn"
)

// transfer moves an amount between two accounts, wherever they lie. Update runs the function again when another
// transaction was in the way.
func transfer(ctx context.Context, c *clerk.Clerk, from, to string, amount int) error {
	return c.Update(ctx, func(tx *clerk.Txn) error {
		values, err := tx.GetMulti(ctx, from, to)
		if err != nil {
			return err
		}
		have, _ := strconv.Atoi(string(values[0].Bytes))
		other, _ := strconv.Atoi(string(values[1].Bytes))
		if have < amount {
			return fmt.Errorf("%s has only %d", from, have) // nothing happens
		}
		return errors.Join(tx.Put(from, []byte(strconv.Itoa(have-amount))), tx.Put(to, []byte(strconv.Itoa(other+amount))))
	})
}

// Example connects to a cluster, such as the one that `viewline demo --keep` runs, and moves money.
func Example() {
	ctx := context.Background()
	c, err := clerk.Dial(ctx, clerk.Options{Coordinators: []string{"127.0.0.1:7001"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	err = transfer(ctx, c, "alice", "bob", 30)
	var unknown *clerk.UnknownError
	switch {
	case err == nil:
		fmt.Println("done")
	case errors.As(err, &unknown):
		outcome, err := c.Outcome(ctx, unknown.Attempt) // it may have happened: this finds out
		fmt.Println(outcome.Committed, err)
	default:
		fmt.Println("nothing happened:", err)
	}
}

// Update runs its function again until the transaction commits, so the function must not have effects of its own.
// An error of the function aborts.
func ExampleClerk_Update() {
	ctx, c, end := exampleCluster()
	defer end()
	increment := func() error {
		return c.Update(ctx, func(tx *clerk.Txn) error {
			value, err := tx.Get(ctx, "visitors")
			if err != nil && !errors.Is(err, clerk.ErrNotFound) {
				return err
			}
			count, _ := strconv.Atoi(string(value)) // an absent counter is 0
			return tx.Put("visitors", []byte(strconv.Itoa(count+1)))
		})
	}
	results := make(chan error)
	for range 10 {
		go func() { results <- increment() }()
	}
	for range 10 {
		if err := <-results; err != nil {
			fmt.Println(err)
		}
	}
	value, err := c.Get(ctx, "visitors")
	fmt.Println(string(value), err)
	// Output: 10 <nil>
}

// A View reads many objects at one snapshot, which holds everything that was acknowledged before.
func ExampleClerk_View() {
	ctx, c, end := exampleCluster()
	defer end()
	for _, account := range []string{"alice", "bob"} {
		if err := c.Put(ctx, account, []byte("50")); err != nil {
			fmt.Println(err)
		}
	}
	sum := 0
	err := c.View(ctx, func(s *clerk.Snapshot) error {
		values, err := s.GetMulti(ctx, "alice", "bob", "carol")
		for _, value := range values {
			if value.Present {
				amount, _ := strconv.Atoi(string(value.Bytes))
				sum += amount
			}
		}
		return err
	})
	fmt.Println(sum, err)
	// Output: 100 <nil>
}

// Whoever drives a transaction by hand sees its conflicts: the error names the rule and the objects. Here both
// transactions read what the first one then writes.
func ExampleTxn_Commit() {
	ctx, c, end := exampleCluster()
	defer end()
	first, second := c.Begin(), c.Begin()
	for _, tx := range []*clerk.Txn{first, second} {
		if _, err := tx.Get(ctx, "seat/12"); errors.Is(err, clerk.ErrNotFound) {
			fmt.Println("free:", tx.Put("seat/12", []byte("taken")))
		}
	}
	_, err := first.Commit(ctx)
	fmt.Println("first:", err)
	_, err = second.Commit(ctx)
	var aborted *clerk.AbortedError
	if errors.As(err, &aborted) {
		fmt.Println("second:", aborted.Verdict.Reason == txn.StaleRead, aborted.Verdict.OIDs)
	}
	// Output:
	// free: <nil>
	// free: <nil>
	// first: <nil>
	// second: true [seat/12]
}

// A context that ends in the middle of a commit may leave its outcome unknown: then, and only then, Outcome finds out,
// with any clerk of the cluster and whatever became of the first one. It decides what was still undecided, so what it
// answers stays true.
func ExampleClerk_Outcome() {
	ctx, c, end := exampleCluster()
	defer end()
	order := func(ctx context.Context) (done bool, err error) {
		err = c.Put(ctx, "order/7", []byte("two of them"))
		var unknown *clerk.UnknownError
		if !errors.As(err, &unknown) {
			return err == nil, err // it happened, or certainly did not
		}
		fmt.Println("asking for", unknown.Attempt)
		later, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		outcome, err := c.Outcome(later, unknown.Attempt)
		return outcome.Committed, err
	}
	fmt.Println(order(ctx))
	// Output: true <nil>
}
