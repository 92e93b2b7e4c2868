package bank

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/viewline/viewline/clerk"
	"github.com/viewline/viewline/txn"
)

// Initial is every account's first balance.
const Initial = 1000

// batch is how many accounts one transaction opens or one read fetches.
const batch = 500

// ErrBooks is what every audit fails with.
var ErrBooks = errors.New("bank: the books are wrong")

func account(n int) string { return fmt.Sprintf("bank/account/%06d", n) }

// OpenAccounts makes accounts 0 to count-1 with their first balance; those that exist are left alone.
func OpenAccounts(ctx context.Context, c *clerk.Clerk, count int) error {
	for first := 0; first < count; first += batch {
		oids := accounts(first, min(first+batch, count))
		err := c.Update(ctx, func(tx *clerk.Txn) error {
			values, err := tx.GetMulti(ctx, oids...)
			if err != nil {
				return err
			}
			for i, value := range values {
				if !value.Present {
					err = errors.Join(err, tx.Put(oids[i], []byte(strconv.Itoa(Initial))))
				}
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("bank: open accounts: %w", err)
		}
	}
	return nil
}

func accounts(first, end int) []string {
	oids := make([]string, 0, end-first)
	for n := first; n < end; n++ {
		oids = append(oids, account(n))
	}
	return oids
}

// Transfer is one movement of money.
type Transfer struct {
	ID       string
	From, To int
	Amount   int64
	// shards are those of its accounts, and records the objects that prove it, one on each.
	shards  [2]txn.ShardID
	records [2]string
}

// NewTransfer describes a transfer and finds, by the clerk's map, oids for its two records that lie on the
// shards of its accounts.
func NewTransfer(c *clerk.Clerk, id string, from, to int, amount int64) Transfer {
	t := Transfer{ID: id, From: from, To: to, Amount: amount}
	for i, side := range []int{from, to} {
		t.shards[i] = c.ShardOf(account(side))
		t.records[i] = recordOn(c, t.shards[i], fmt.Sprintf("bank/transfer/%s/%d", id, i))
	}
	return t
}

// recordOn tries names until one lies on the shard: on average as many as there are shards.
func recordOn(c *clerk.Clerk, shard txn.ShardID, stem string) string {
	for n := 0; ; n++ {
		if oid := fmt.Sprintf("%s/%d", stem, n); c.ShardOf(oid) == shard {
			return oid
		}
	}
}

// Do runs the transfer; an account that has too little pays what it has. The error is the clerk's.
func (t Transfer) Do(ctx context.Context, c *clerk.Clerk) error {
	return c.Update(ctx, func(tx *clerk.Txn) error {
		values, err := tx.GetMulti(ctx, account(t.From), account(t.To))
		if err != nil {
			return err
		}
		from, err := balance(values[0])
		if err != nil {
			return err
		}
		to, err := balance(values[1])
		if err != nil {
			return err
		}
		amount := min(t.Amount, from)
		text := []byte(strconv.FormatInt(amount, 10))
		return errors.Join(
			tx.Put(account(t.From), []byte(strconv.FormatInt(from-amount, 10))),
			tx.Put(account(t.To), []byte(strconv.FormatInt(to+amount, 10))),
			tx.Put(t.records[0], text), tx.Put(t.records[1], text))
	})
}

func balance(value clerk.Value) (int64, error) {
	if !value.Present {
		return 0, fmt.Errorf("%w: an account is gone", ErrBooks)
	}
	amount, err := strconv.ParseInt(string(value.Bytes), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrBooks, err)
	}
	return amount, nil
}

// Total adds up all accounts at one snapshot.
func Total(ctx context.Context, c *clerk.Clerk, count int) (int64, error) {
	total := int64(0)
	err := c.View(ctx, func(s *clerk.Snapshot) error {
		for first := 0; first < count; first += batch {
			values, err := s.GetMulti(ctx, accounts(first, min(first+batch, count))...)
			if err != nil {
				return err
			}
			for _, value := range values {
				amount, err := balance(value)
				if err != nil {
					return err
				}
				total += amount
			}
		}
		return nil
	})
	return total, err
}
