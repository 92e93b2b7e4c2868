package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/clustertest"
	"github.com/viewline/viewline/internal/survey"
)

func TestTransferCommand(t *testing.T) {
	c := clustertest.Start(t, cluster.Options{Coordinators: 3, Shards: 1, Replicas: 3})
	t.Setenv("VIEWLINE_COORDINATORS", strings.Join(c.Endpoints(), ","))
	for _, group := range []string{"1", "coordinator"} {
		for replica := uint32(1); replica <= 3; replica++ {
			got := execute(t, "", "transfer", group, fmt.Sprint(replica))
			require.Equal(t, exitOK, got.code, got.err)
			require.Contains(t, got.out, fmt.Sprintf("replica %d is the primary of view ", replica))
		}
	}
	var done survey.Transferred
	got := execute(t, "", "transfer", "1", "0", "-o", "json")
	require.Equal(t, exitOK, got.code, got.err)
	require.NoError(t, json.Unmarshal([]byte(got.out), &done))
	require.NotZero(t, done.From)
	require.NotZero(t, done.Primary)
	require.NotEqual(t, done.From, done.Primary)

	away := 6 - done.Primary - done.From
	require.NoError(t, c.Kill(1, away))
	got = execute(t, "", "transfer", "1", fmt.Sprint(away))
	require.Equal(t, exitUnavailable, got.code, got.err)
	require.Contains(t, got.err, "not up to date in time")
	for _, refused := range [][]string{{"1", "9"}, {"7", "1"}} {
		require.Equal(t, exitRefused, execute(t, "", append([]string{"transfer"}, refused...)...).code)
	}
}

func TestTransferUsage(t *testing.T) {
	for _, line := range []string{"transfer", "transfer 1", "transfer one 1", "transfer 1 one", "transfer 1 -1", "transfer 1 2 3"} {
		require.Equal(t, exitUsage, execute(t, "", strings.Fields(line)...).code, line)
	}
}
