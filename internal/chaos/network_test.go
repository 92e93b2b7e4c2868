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
	echo(t, n, node(1))
	echo(t, n, node(2))
	return n
}

// echo has a node say what it hears.
func echo(t *testing.T, n *network, node process.Node) {
	t.Helper()
	var listener net.Listener
	require.NoError(t, inside(n.host(node), func() (err error) {
		listener, err = net.Listen("tcp", n.address[node])
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

// echoes reports whether a link carries a byte there and back, on a connection of its own, within a time.
func echoes(t *testing.T, n *network, l link, within time.Duration) bool {
	t.Helper()
	var c net.Conn
	err := inside(n.host(l.from), func() (err error) {
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
	coordinator := process.Node{Replica: 1}
	require.Equal(t, []link{
		{node(1), node(2)}, {node(2), node(1)}, {far(), coordinator}, {far(), node(1)}, {far(), node(2)},
	}, n.all(), "groups have no links between them")

	off := netOf(t, PartitionsOff)
	command = exec.Command("true")
	require.NoError(t, off.launch(node(1), command))
	require.NoError(t, command.Wait())
	require.Equal(t, []string{"true"}, command.Args)
}

// A node that joins has links like all others, which go when it leaves, and what they have done still counts.
func TestNodesJoinAndLeave(t *testing.T) {
	n := netOf(t, PartitionsNamespaces)
	links := n.all()
	require.Len(t, links, 3*2+3)
	newcomer := node(3)
	address, err := n.join(newcomer, "")
	require.NoError(t, err)
	echo(t, n, newcomer)
	for _, l := range []link{{node(1), newcomer}, {newcomer, node(2)}, {newcomer, process.Node{Replica: 1}}, {far(), newcomer}} {
		require.Contains(t, n.all(), l)
	}
	require.True(t, echoes(t, n, link{newcomer, node(1)}, patience) && echoes(t, n, link{far(), newcomer}, patience))
	require.NoError(t, n.drop(link{node(1), newcomer}))
	require.False(t, echoes(t, n, link{node(1), newcomer}, moment))
	require.NoError(t, n.heal())
	n.set(link{node(1), newcomer}, faultproxy.Conditions{Cut: true})
	require.False(t, echoes(t, n, link{node(1), newcomer}, moment))
	require.NoError(t, n.leave(newcomer))
	h, err := n.harm()
	require.NoError(t, err)
	require.Positive(t, h.broken)
	require.Equal(t, links, n.all())
	_, err = n.join(node(4), "")
	require.NoError(t, err)
	require.NotEqual(t, address, n.address[node(4)])
}

// Without namespaces a newcomer has no links that could be hurt but those of the far clerks.
func TestNewcomersWithoutNamespaces(t *testing.T) {
	n := netOf(t, PartitionsProxy)
	before := len(n.all())
	address, err := n.join(node(3), "127.0.0.1:9")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9", address)
	require.Len(t, n.all(), before+1)
	require.NotEqual(t, address, n.viaFar(address))
	require.NoError(t, n.drop(link{node(1), node(3)}))
	require.Empty(t, n.peers(node(3)))
}

// The nodes' connections to each other go over their links, though they know nothing of them.
func TestConnectionsAreLedOverTheLinks(t *testing.T) {
	n := netOf(t, PartitionsNamespaces)
	var c net.Conn
	require.NoError(t, inside(n.host(node(1)), func() (err error) {
		c, err = net.DialTimeout("tcp", n.address[node(2)], patience)
		return err
	}))
	defer func() { require.NoError(t, c.Close()) }()
	_, err := c.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	_, err = c.Read(make([]byte, 1))
	require.NoError(t, err)
	require.EqualValues(t, 1, n.links[link{node(1), node(2)}].Counts().Connections)
	require.Zero(t, n.links[link{node(2), node(1)}].Counts().Connections)
}

func TestBetween(t *testing.T) {
	require.Equal(t, []link{{node(1), node(2)}, {node(1), node(3)}}, between([]process.Node{node(1)}, []process.Node{node(2), node(3)}, false))
	require.Equal(t, []link{{node(1), node(2)}, {node(2), node(1)}}, between([]process.Node{node(1)}, []process.Node{node(2), node(1)}, true))
}
