package clerk_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"strconv"

	"github.com/viewline/viewline/clerk"
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
	c, err := clerk.Dial(ctx, clerk.Options{Coordinators: []string{"127.0.0.1:7000"}})
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

// A View reads many objects at one snapshot, which holds everything that was acknowledged before.
func ExampleClerk_View() {
	var c *clerk.Clerk // from clerk.Dial
	total := func(ctx context.Context, accounts ...string) (sum int, err error) {
		err = c.View(ctx, func(s *clerk.Snapshot) error {
			values, err := s.GetMulti(ctx, accounts...)
			for _, value := range values {
				amount, _ := strconv.Atoi(string(value.Bytes))
				sum += amount
			}
			return err
		})
		return sum, err
	}
	_ = total
}
