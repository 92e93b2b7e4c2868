package process_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
)

// Every start of a node goes through Launch, restarts too, and every question to one through Dial.
func TestLaunchAndDial(t *testing.T) {
	binary, err := os.Executable()
	require.NoError(t, err)
	layout, err := cluster.LocalLayout(t.TempDir(), 1, 1, 1)
	require.NoError(t, err)
	launched, asked := map[process.Node]int{}, atomic.Int64{}
	c, err := process.Start(within(t), process.Options{
		Binary: binary, Layout: layout,
		Launch: func(node process.Node, command *exec.Cmd) error {
			launched[node]++
			command.Env = append(command.Env, fmt.Sprint(nodeVariable, "=1"))
			return command.Start()
		},
		Dial: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			asked.Add(1)
			return (&net.Dialer{}).DialContext(ctx, "tcp", address)
		})},
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	shard := process.Node{Group: 1, Replica: 1}
	require.NoError(t, c.Kill(shard))
	require.NoError(t, c.Restart(shard))
	before := asked.Load()
	_, err = c.Primary(within(t), 1)
	require.NoError(t, err)
	require.Greater(t, asked.Load(), before)
	require.Equal(t, map[process.Node]int{shard: 2, {Group: 0, Replica: 1}: 1}, launched)
}
