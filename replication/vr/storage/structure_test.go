package storage

import (
	"bytes"
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/viewline/viewline/replication/vr"
)

// smallDatabase is a database of a few pages, as bytes.
func smallDatabase(t testing.TB) []byte {
	t.Helper()
	directory := t.TempDir()
	require.NoError(t, CreateLog(directory, LogBolt))
	disk, err := openDisk(directory, Options{})
	require.NoError(t, err)
	require.NoError(t, disk.Write(vr.Batch{Entries: chain(0, 1, 12, 1, 2700), Sync: true}))
	require.NoError(t, disk.Close())
	data, err := os.ReadFile(filepath.Join(directory, databaseName))
	require.NoError(t, err)
	return data
}

// TestHealthyDatabasesPass: whatever bbolt builds, with branches on several levels, overflow pages and deletions,
// the walk accepts.
func TestHealthyDatabasesPass(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 9))
	path := filepath.Join(t.TempDir(), databaseName)
	database, err := bbolt.Open(path, 0o600, boltOptions(Options{}, false))
	require.NoError(t, err)
	defer func() { require.NoError(t, database.Close()) }()
	database.NoSync = true
	for round := range 60 {
		require.NoError(t, database.Update(func(tx *bbolt.Tx) error {
			bucket, err := tx.CreateBucketIfNotExists([]byte{byte('a' + round%3)})
			require.NoError(t, err)
			for range 200 {
				key := make([]byte, 1+random.IntN(60))
				binary.BigEndian.PutUint16(append(key, 0, 0)[:2], uint16(random.IntN(3000)))
				key[0] = byte(random.Uint32())
				if random.IntN(3) == 0 {
					require.NoError(t, bucket.Delete(key))
					continue
				}
				require.NoError(t, bucket.Put(key, make([]byte, random.IntN(1+100*random.IntN(100)))))
			}
			return nil
		}))
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, checkStructure(bytes.NewReader(data), int64(len(data))), "round %d", round)
	}
}

// TestBrokenStructures breaks one thing at a time.
func TestBrokenStructures(t *testing.T) {
	page := os.Getpagesize()
	order := binary.NativeEndian
	good := smallDatabase(t)
	s := structure{file: bytes.NewReader(good), bytes: int64(len(good)), seen: map[uint64]bool{}}
	require.NoError(t, s.readMetas())
	root := int(s.meta.root) * page
	newest := int(s.meta.transaction%2)*page + boltPageHeaderBytes
	resum := func(data []byte) {
		sum := fnv.New64a()
		_, _ = sum.Write(data[newest : newest+boltMetaBytes-8])
		order.PutUint64(data[newest+boltMetaBytes-8:], sum.Sum64())
	}
	for name, test := range map[string]struct {
		damage func(data []byte)
		says   string
	}{
		"meta checksum":       {func(data []byte) { data[newest+20] ^= 1 }, "checksum"},
		"meta magic":          {func(data []byte) { data[newest] ^= 1 }, "not a viewline file"},
		"transaction numbers": {func(data []byte) { order.PutUint64(data[newest+48:], s.meta.transaction+2); resum(data) }, "older transaction"},
		"parity":              {func(data []byte) { order.PutUint64(data[newest+48:], s.meta.transaction+1); resum(data) }, "belong together"},
		"page size":           {func(data []byte) { order.PutUint32(data[newest+8:], 100); resum(data) }, "pages of 100 bytes"},
		"list of free pages":  {func(data []byte) { order.PutUint64(data[newest+32:], 2); resum(data) }, "list of free pages"},
		"high-water mark":     {func(data []byte) { order.PutUint64(data[newest+40:], 1<<40); resum(data) }, "pages in a file"},
		"root of another":     {func(data []byte) { order.PutUint64(data[newest+16:], 0); resum(data) }, "page 0"},
		"page number":         {func(data []byte) { data[root] ^= 0x80 }, "it says it is page"},
		"page kind":           {func(data []byte) { data[root+8] = 0x10 }, "of kind"},
		"count":               {func(data []byte) { order.PutUint16(data[root+10:], 60000) }, "60000 elements"},
		"overflow":            {func(data []byte) { order.PutUint32(data[root+12:], 1<<30) }, "overflow passes"},
		"position":            {func(data []byte) { order.PutUint32(data[root+16+4:], 1<<20) }, "too short"},
		"key length":          {func(data []byte) { order.PutUint32(data[root+16+8:], 0) }, "empty key"},
		"value length":        {func(data []byte) { order.PutUint32(data[root+16+12:], 1<<31) }, "too short"},
		"bucket in plain":     {func(data []byte) { data[root+16] = 4 }, "of kind 0x4"},
	} {
		t.Run(name, func(t *testing.T) {
			data := bytes.Clone(good)
			test.damage(data)
			require.ErrorContains(t, checkStructure(bytes.NewReader(data), int64(len(data))), test.says)
		})
	}
}

// TestPageWithTwoOwners: a tree with a loop, on which bbolt would run until the stack is gone.
func TestPageWithTwoOwners(t *testing.T) {
	good := smallDatabase(t)
	page := os.Getpagesize()
	s := structure{file: bytes.NewReader(good), bytes: int64(len(good)), seen: map[uint64]bool{}}
	require.NoError(t, s.readMetas())
	// The first element of the root page is the bucket of the log; its value begins with the log's root page.
	root := int(s.meta.root) * page
	elements, err := pageElements(good[root:root+page], boltLeafPage)
	require.NoError(t, err)
	require.Equal(t, bucketLog, string(elements[0].key))
	log := int(binary.NativeEndian.Uint64(elements[0].value)) * page
	require.Equal(t, uint16(boltBranchPage), binary.NativeEndian.Uint16(good[log+8:]), "the log has branches")
	loop := bytes.Clone(good)
	binary.NativeEndian.PutUint64(loop[log+16+8:], uint64(log/page))
	require.ErrorContains(t, checkStructure(bytes.NewReader(loop), int64(len(loop))), "two owners")
}
