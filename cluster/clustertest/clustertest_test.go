package clustertest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStart(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 1, Shards: 1, Replicas: 1})
	connected := clustertest.Clerk(t, c)
	require.NoError(t, connected.Put(t.Context(), "greeting", []byte("hello")))
	value, err := connected.Get(t.Context(), "greeting")
	require.NoError(t, err)
	require.Equal(t, "hello", string(value))
}
