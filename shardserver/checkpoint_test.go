package shardserver

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

// checkpointOf writes a server's checkpoint.
func checkpointOf(t testing.TB, server *Server) io.Reader {
	t.Helper()
	snapshot, err := server.Machine().Snapshot()
	require.NoError(t, err)
	defer snapshot.Release()
	var written bytes.Buffer
	count, err := snapshot.WriteTo(&written)
	require.NoError(t, err)
	require.Equal(t, int64(written.Len()), count)
	return &written
}
