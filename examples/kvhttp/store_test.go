package main

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/replication/sessions"
)

func TestApply(t *testing.T) {
	s := newStore()
	for _, step := range []struct {
		name      string
		operation []byte
		want      byte
	}{
		{"a delete of nothing", encodeDelete("a"), resultAbsent},
		{"a put", encodePut("a", []byte("1")), resultAbsent},
		{"another", encodePut("a", nil), resultPresent},
		{"a delete", encodeDelete("a"), resultPresent},
		{"the largest", encodePut(strings.Repeat("k", keyBytesMax), make([]byte, valueBytesMax)), resultAbsent},
		{"nothing", nil, resultMalformed},
		{"no key", encodePut("", []byte("1")), resultMalformed},
		{"a long key", encodeDelete(strings.Repeat("k", keyBytesMax+1)), resultMalformed},
		{"a large value", encodePut("a", make([]byte, valueBytesMax+1)), resultMalformed},
		{"a delete with a value", append(encodeDelete("a"), 1), resultMalformed},
		{"another kind", encode('x', "a", 0), resultMalformed},
		{"half of it", encodePut("abc", nil)[:3], resultMalformed},
	} {
		require.Equal(t, [][]byte{{step.want}}, s.Apply(1, [][]byte{step.operation}), step.name)
	}
	require.Len(t, s.values, 1)
}

func TestSnapshot(t *testing.T) {
	s := newStore()
	s.Apply(1, [][]byte{encodePut("b", []byte("2")), encodePut("a", nil), encodePut("\xff\x00", []byte("3"))})
	snapshot, err := s.Snapshot()
	require.NoError(t, err)
	s.Apply(4, [][]byte{encodePut("b", []byte("later")), encodeDelete("a")})
	var written bytes.Buffer
	n, err := snapshot.WriteTo(&written)
	require.NoError(t, err)
	snapshot.Release()
	require.EqualValues(t, written.Len(), n)

	restored := newStore()
	restored.Apply(1, [][]byte{encodePut("gone", nil)})
	require.NoError(t, restored.Restore(bytes.NewReader(written.Bytes())))
	require.Equal(t, map[string][]byte{"a": {}, "b": []byte("2"), "\xff\x00": []byte("3")}, restored.values)
	for length := range written.Len() {
		require.ErrorIs(t, restored.Restore(bytes.NewReader(written.Bytes()[:length])), errCheckpoint, "%d bytes of it", length)
	}
	require.ErrorIs(t, restored.Restore(strings.NewReader("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), errCheckpoint)
}

// FuzzApply: whatever is in the log changes the same on every replica, and panics on none.
func FuzzApply(f *testing.F) {
	f.Add(encodePut("key", []byte("value")))
	f.Add(encodeDelete("key"))
	f.Fuzz(func(t *testing.T, operation []byte) {
		one, other := newStore(), newStore()
		require.Equal(t, one.Apply(1, [][]byte{operation}), other.Apply(1, [][]byte{bytes.Clone(operation)}))
		require.Equal(t, one.values, other.values)
		if kind, key, value, ok := decode(operation); ok && kind == operationPut {
			got, found := one.get(key)
			require.True(t, found)
			require.Equal(t, value, got)
		}
	})
}

func TestExisted(t *testing.T) {
	for _, reply := range []sessions.Reply{{Dropped: true}, {}, {Value: []byte{9}}, {Value: []byte{1, 1}}} {
		_, err := existed(reply)
		require.ErrorIs(t, err, errResult)
	}
	_, err := existed(sessions.Reply{Value: []byte{resultMalformed}})
	require.ErrorIs(t, err, errBounds)
}

// TestCommandLine serves with the program's own main, all in one process, and asks it.
func TestCommandLine(t *testing.T) {
	for _, arguments := range [][]string{
		{"-replica", "4", "-directory", t.TempDir()},
		{"-replica", "1"},
		{"-peers", "127.0.0.1:1"},
		{"-no-such-flag"},
		{"put", "a"},
		{"list"},
		{"-replica", "1", "-directory", t.TempDir()},
	} {
		require.Error(t, run(t.Context(), arguments, io.Discard), "%v", arguments)
	}
	addresses := func() string {
		var all []string
		for range 3 {
			listener := listen(t, "127.0.0.1:0")
			all = append(all, listener.Addr().String())
			defer func() { require.NoError(t, listener.Close()) }()
		}
		return strings.Join(all, ",")
	}
	flags := []string{"-peers", addresses(), "-http", addresses()}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- run(ctx, flags, io.Discard) }()
	var out strings.Builder
	ask := func(command ...string) error { return run(t.Context(), append(flags, command...), &out) }
	require.NoError(t, ask("put", "greeting", "hello"))
	require.NoError(t, ask("get", "greeting"))
	require.NoError(t, ask("delete", "greeting"))
	require.ErrorContains(t, ask("get", "greeting"), "there is no key")
	require.ErrorContains(t, ask("delete", "greeting"), "there is no key")
	require.Equal(t, "hello\n", out.String())
	stop()
	require.NoError(t, <-served)
}
