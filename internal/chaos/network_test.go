package chaos

import (
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/cluster/process"
	"github.com/viewline/viewline/internal/faultproxy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 30 * time.Second
	moment   = 300 * time.Millisecond
)

func node(replica uint32) process.Node { return process.Node{Group: 1, Replica: replica} }

// netOf opens a network with nodes 1 and 2 of shard 1 that echo what they hear.
func netOf(t *testing.T, partitions string) *network {
	t.Helper()
	layout, err := cluster.LocalLayout(t.TempDir(), 1, 1, 2)
	require.NoError(t, err)
	n, reason, err := openNetwork(partitions, layout, 1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.close()) })
	if reason != "" {
		t.Skip(reason)
	}
	for _, each := range []process.Node{node(1), node(2)} {
		var listener net.Listener
		require.NoError(t, n.inside(each, func() (err error) {
			listener, err = net.Listen("tcp", n.address[each])
			return err
		}))
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					defer func() { _ = c.Close() }()
					_, _ = io.Copy(c, c)
				}()
			}
		}()
		t.Cleanup(func() {
			require.NoError(t, listener.Close())
			<-done
		})
	}
	return n
}

// echoes reports whether a link carries a byte there and back, on a connection of its own, within a time.
func echoes(t *testing.T, n *network, l link, within time.Duration) bool {
	t.Helper()
	var c net.Conn
	err := n.inside(l.from, func() (err error) {
		c, err = net.Dial("tcp", n.via[l])
		return err
	})
	if err != nil {
		return false // a cut may reset it at once
	}
	defer func() { _ = c.Close() }()
	if _, err := c.Write([]byte("x")); err != nil {
		return false
	}
	_ = c.SetReadDeadline(time.Now().Add(within))
	read, _ := c.Read(make([]byte, 1))
	return read == 1
}

func TestLinksAreDividedAndHealed(t *testing.T) {
	there, back := link{node(1), node(2)}, link{node(2), node(1)}
	for _, partitions := range []string{PartitionsProxy, PartitionsNamespaces} {
		t.Run(partitions, func(t *testing.T) {
			n := netOf(t, partitions)
			require.True(t, echoes(t, n, there, patience) && echoes(t, n, back, patience))
			require.NoError(t, n.drop(there))
			require.False(t, echoes(t, n, there, moment), "what it sends is lost")
			require.False(t, echoes(t, n, back, moment), "what it answers is lost too")
			h, err := n.harm()
			require.NoError(t, err)
			dropped, _ := h.dropped()
			require.Positive(t, dropped)
			require.NoError(t, n.heal())
			require.True(t, echoes(t, n, there, patience) && echoes(t, n, back, patience))
			h, err = n.harm()
			require.NoError(t, err)
			require.Zero(t, h, "it counts anew")

			n.set(there, faultproxy.Conditions{Cut: true})
			require.False(t, echoes(t, n, there, moment))
			require.True(t, echoes(t, n, back, patience))
			require.NoError(t, n.heal())
			require.True(t, echoes(t, n, there, patience))
		})
	}
}

func TestNodesAreStartedWithTheirLinks(t *testing.T) {
	n := netOf(t, PartitionsProxy)
	command := exec.Command("true", "shardserver")
	require.NoError(t, n.launch(node(1), command))
	require.NoError(t, command.Wait())
	require.Equal(t, "true shardserver --peer 2="+n.via[link{node(1), node(2)}], strings.Join(command.Args, " "))
	require.Empty(t, n.dialOptions())
	require.Len(t, n.links, 2, "groups have no links between them")

	off := netOf(t, PartitionsOff)
	command = exec.Command("true")
	require.NoError(t, off.launch(node(1), command))
	require.NoError(t, command.Wait())
	require.Equal(t, []string{"true"}, command.Args)
}

func TestBetween(t *testing.T) {
	require.Equal(t, []link{{node(1), node(2)}, {node(1), node(3)}}, between([]process.Node{node(1)}, []process.Node{node(2), node(3)}, false))
	require.Equal(t, []link{{node(1), node(2)}, {node(2), node(1)}}, between([]process.Node{node(1)}, []process.Node{node(2)}, true))
}
