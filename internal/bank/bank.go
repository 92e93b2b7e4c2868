package bank

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	// records are the objects that prove it, on two shards if there are two, and shards all that it touches.
	shards  []txn.ShardID
	records [2]string
}

// NewTransfer describes a transfer and finds, by the clerk's map, oids for its two records: one on the shard of the
// account that pays, and the other on that of the account that is paid or, should both lie on one shard, on another.
// So every transfer needs two shards to agree, unless the cluster has but one.
func NewTransfer(c *clerk.Clerk, id string, from, to int, amount int64) Transfer {
	t := Transfer{ID: id, From: from, To: to, Amount: amount}
	payer, paid := shardOf(c, account(from)), shardOf(c, account(to))
	t.records[0] = recordWhere(c, "bank/transfer/"+id+"/0", func(s txn.ShardID) bool { return s == payer })
	t.records[1] = recordWhere(c, "bank/transfer/"+id+"/1", func(s txn.ShardID) bool { return s != payer && (s == paid || paid == payer) })
	for _, shard := range []txn.ShardID{payer, paid, shardOf(c, t.records[0]), shardOf(c, t.records[1])} {
		if !slices.Contains(t.shards, shard) {
			t.shards = append(t.shards, shard)
		}
	}
	return t
}

func shardOf(c *clerk.Clerk, oid string) txn.ShardID { return txn.ShardID(c.ShardOf(oid)) }

// recordTriesMax bounds the names that are tried for a record: with two shards, the chance to miss one is 2^-256.
const recordTriesMax = 256

// recordWhere tries names until one lies on a shard that will do: on average as many as there are shards. If none
// does, any has to do.
func recordWhere(c *clerk.Clerk, stem string, fits func(txn.ShardID) bool) string {
	for n := range recordTriesMax {
		if oid := fmt.Sprintf("%s/%d", stem, n); fits(shardOf(c, oid)) {
			return oid
		}
	}
	return stem
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
