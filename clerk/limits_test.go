package clerk

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/txn"
)

// Whatever breaks a limit is refused before anything is sent, so these need no cluster.

func requireLimit(t *testing.T, err error, name string, limit, actual uint64) {
	t.Helper()
	require.ErrorIs(t, err, txn.ErrLimit)
	var limited *txn.LimitError
	require.ErrorAs(t, err, &limited)
	require.Equal(t, txn.LimitError{Name: name, Limit: limit, Actual: actual}, *limited)
}

func TestLimitsOfOIDsAndValues(t *testing.T) {
	tx := new(Clerk).Begin()
	long := strings.Repeat("x", txn.OIDBytesMax+1)
	requireLimit(t, tx.Put("", nil), "oid in bytes", 1, 0)
	requireLimit(t, tx.Put(long, nil), "oid in bytes", 4096, 4097)
	requireLimit(t, tx.Delete(long), "oid in bytes", 4096, 4097)
	_, err := tx.Get(t.Context(), long)
	requireLimit(t, err, "oid in bytes", 4096, 4097)
	requireLimit(t, tx.Put("a", make([]byte, txn.ValueBytesMax+1)), "value in bytes", 1<<20, 1<<20+1)
	require.NoError(t, tx.Put(long[1:], make([]byte, txn.ValueBytesMax)))

	_, err = (&Snapshot{}).Get(t.Context(), long)
	requireLimit(t, err, "oid in bytes", 4096, 4097)
	_, err = new(Clerk).GetLatest(t.Context(), "")
	requireLimit(t, err, "oid in bytes", 1, 0)
}

func TestLimitOfKeys(t *testing.T) {
	tx := new(Clerk).Begin()
	for n := range txn.KeysMax {
		require.NoError(t, tx.Put(fmt.Sprint(n), nil))
	}
	requireLimit(t, tx.Put("one more", nil), "keys of a transaction", txn.KeysMax, txn.KeysMax+1)
	_, err := tx.Get(t.Context(), "one more")
	requireLimit(t, err, "keys of a transaction", txn.KeysMax, txn.KeysMax+1)
	require.NoError(t, tx.Put("7", []byte("again")), "a key that is written already is no new one")
	require.NoError(t, tx.Delete("8"))
}

func TestLimitOfBytes(t *testing.T) {
	tx := new(Clerk).Begin()
	value := make([]byte, txn.ValueBytesMax-1)
	for n := range 16 {
		require.NoError(t, tx.Put(string(rune('a'+n)), value))
	}
	requireLimit(t, tx.Put("z", nil), "bytes of a transaction", txn.TxnBytesMax, txn.TxnBytesMax+1)
	require.NoError(t, tx.Put("a", nil), "what is replaced no longer counts")
	require.NoError(t, tx.Put("z", nil))
}

func TestDoneTransactionsRefuseEverything(t *testing.T) {
	tx := new(Clerk).Begin()
	require.NoError(t, tx.Put("a", nil))
	tx.Abort()
	require.ErrorIs(t, tx.Put("b", nil), ErrTxnDone)
	require.ErrorIs(t, tx.Delete("b"), ErrTxnDone)
	_, err := tx.Get(t.Context(), "b")
	require.ErrorIs(t, err, ErrTxnDone)
	_, err = tx.Commit(t.Context())
	require.ErrorIs(t, err, ErrTxnDone)
}

func TestOwnWritesAreVisible(t *testing.T) {
	tx := new(Clerk).Begin()
	require.NoError(t, tx.Put("a", []byte("1")))
	require.NoError(t, tx.Put("empty", nil))
	require.NoError(t, tx.Put("gone", []byte("2")))
	require.NoError(t, tx.Delete("gone"))
	values, err := tx.GetMulti(t.Context(), "empty", "a", "gone", "a")
	require.NoError(t, err)
	require.Equal(t, []Value{{Present: true}, {Present: true, Bytes: []byte("1")}, {}, {Present: true, Bytes: []byte("1")}}, values)
	_, err = tx.Get(t.Context(), "gone")
	require.ErrorIs(t, err, ErrNotFound)
}

func TestEmptyTransactionCommitsWithoutAWord(t *testing.T) {
	timestamp, err := new(Clerk).Begin().Commit(t.Context())
	require.NoError(t, err)
	require.Zero(t, timestamp)
}
