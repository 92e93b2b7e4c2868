package namespaces

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func open(t *testing.T) *Network {
	t.Helper()
	n, err := Open()
	if errors.Is(err, ErrUnavailable) {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, n.Close()) })
	return n
}

// listen answers every connection at a host, and returns its address.
func listen(t *testing.T, h *Host) string {
	t.Helper()
	var listener net.Listener
	require.NoError(t, h.Do(func() (err error) {
		listener, err = net.Listen("tcp", net.JoinHostPort(h.Address(), "7000"))
		return err
	}))
	t.Cleanup(func() { require.NoError(t, listener.Close()) })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	return listener.Addr().String()
}

// patience is how long a test waits for what has to come, and moment for what must not.
const (
	patience = 30 * time.Second
	moment   = 300 * time.Millisecond
)

// reach connects from inside, within a time.
func reach(inside func(func() error) error, address string, within time.Duration) error {
	return inside(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

func TestDropsBetweenHosts(t *testing.T) {
	before, err := net.Interfaces()
	require.NoError(t, err)
	n := open(t)
	hosts := make([]*Host, 3)
	addresses := make([]string, 3)
	for i := range hosts {
		hosts[i], err = n.Add()
		require.NoError(t, err)
		addresses[i] = listen(t, hosts[i])
	}
	a, b := hosts[0], hosts[1]
	everything := func(want func(require.TestingT, error, ...any), within time.Duration) {
		for i, h := range hosts {
			require.NoError(t, reach(n.Do, addresses[i], patience), "the switch reaches every host")
			for j := range hosts {
				if i == j || i+j > 1 {
					require.NoError(t, reach(h.Do, addresses[j], patience), "%d to %d", i, j)
				} else {
					want(t, reach(h.Do, addresses[j], within), "%d to %d", i, j)
				}
			}
		}
	}
	everything(require.NoError, patience)
	dropped, err := n.Dropped()
	require.NoError(t, err)
	require.Zero(t, dropped)

	// One way is enough for TCP: without the answers no connection comes about.
	require.NoError(t, n.Drop(a, b))
	everything(require.Error, moment)
	dropped, err = n.Dropped()
	require.NoError(t, err)
	require.Positive(t, dropped)
	healed, err := n.Heal()
	require.NoError(t, err)
	require.GreaterOrEqual(t, healed, dropped)
	everything(require.NoError, patience)

	require.NoError(t, n.Drop(a, b))
	require.NoError(t, n.Drop(b, a))
	everything(require.Error, moment)
	_, err = n.Heal()
	require.NoError(t, err)
	everything(require.NoError, patience)

	after, err := net.Interfaces()
	require.NoError(t, err)
	require.Len(t, after, len(before), "nothing of it is seen outside")
}

// TestOneWayIsOneWay: datagrams show what TCP does not.
func TestOneWayIsOneWay(t *testing.T) {
	n := open(t)
	var ends [2]net.PacketConn
	var hosts [2]*Host
	for i := range ends {
		var err error
		hosts[i], err = n.Add()
		require.NoError(t, err)
		require.NoError(t, hosts[i].Do(func() (err error) {
			ends[i], err = net.ListenPacket("udp", net.JoinHostPort(hosts[i].Address(), "7000"))
			return err
		}))
		t.Cleanup(func() { require.NoError(t, ends[i].Close()) })
	}
	hears := func(from, to int, within time.Duration) bool {
		_, err := ends[from].WriteTo([]byte("x"), ends[to].LocalAddr())
		require.NoError(t, err)
		require.NoError(t, ends[to].SetReadDeadline(time.Now().Add(within)))
		_, _, err = ends[to].ReadFrom(make([]byte, 1))
		return err == nil
	}
	require.True(t, hears(0, 1, patience) && hears(1, 0, patience))
	require.NoError(t, n.Drop(hosts[0], hosts[1]))
	require.False(t, hears(0, 1, moment))
	require.True(t, hears(1, 0, patience))
	packets, err := n.Heal()
	require.NoError(t, err)
	require.EqualValues(t, 1, packets)
	require.True(t, hears(0, 1, patience))
}

func TestProcessesRunInTheirHost(t *testing.T) {
	n := open(t)
	h, err := n.Add()
	require.NoError(t, err)
	var seen, here []byte
	look := func(into *[]byte) func() error {
		return func() (err error) {
			*into, err = exec.Command("cat", "/proc/self/net/dev").Output()
			return err
		}
	}
	require.NoError(t, h.Do(look(&seen)))
	require.Contains(t, string(seen), hostLinkName)
	require.NoError(t, look(&here)())
	require.NotEqual(t, strings.Count(string(here), "\n"), 0)
	outside, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	require.NoError(t, h.Do(func() error {
		inside, err := os.Readlink("/proc/thread-self/ns/net")
		require.NotEqual(t, outside, inside)
		return err
	}))
	back, err := os.Readlink("/proc/thread-self/ns/net")
	require.NoError(t, err)
	require.Equal(t, outside, back)
}

// heard returns what the end of a connection says first.
func heard(t *testing.T, c net.Conn, err error) string {
	t.Helper()
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(patience)))
	said, err := io.ReadAll(c)
	require.NoError(t, err)
	require.NoError(t, c.Close())
	return string(said)
}

// say listens inside and says the same word to everyone.
func say(t *testing.T, inside func(func() error) error, address, word string) *net.TCPAddr {
	t.Helper()
	var listener net.Listener
	require.NoError(t, inside(func() (err error) {
		listener, err = net.Listen("tcp", address)
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
			_, _ = c.Write([]byte(word))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		<-done
	})
	return listener.Addr().(*net.TCPAddr)
}

// A turn is for one host's connections to one other, until it is taken back, and not for those of Dial.
func TestTurns(t *testing.T) {
	n := open(t)
	var hosts [3]*Host
	for i := range hosts {
		var err error
		hosts[i], err = n.Add()
		require.NoError(t, err)
	}
	from, to, other := hosts[0], hosts[1], hosts[2]
	target := say(t, to.Do, net.JoinHostPort(to.Address(), "7000"), "target").String()
	third := say(t, other.Do, net.JoinHostPort(other.Address(), "7000"), "third").String()
	proxy := say(t, from.Do, "127.0.0.1:0", "proxy")
	ask := func(from *Host, address string) string {
		var c net.Conn
		err := from.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", address, patience)
			return err
		})
		return heard(t, c, err)
	}
	require.Equal(t, "target", ask(from, target))
	require.NoError(t, n.Turn(from, to, uint16(proxy.Port)))
	require.Equal(t, "proxy", ask(from, target))
	require.Equal(t, "target", ask(other, target), "nobody else's")
	require.Equal(t, "third", ask(from, third), "to nobody else")
	c, err := from.Dial(t.Context(), target)
	require.Equal(t, "target", heard(t, c, err))
	require.NoError(t, n.Turn(from, to, 0))
	require.Equal(t, "target", ask(from, target))
}

// Hosts come and go without end; who has an address of one that is gone is somebody else.
func TestHostsAreRemoved(t *testing.T) {
	n := open(t)
	n.most = 5
	first, err := n.Add()
	require.NoError(t, err)
	gone := map[string]bool{}
	var last *Host
	for range n.most + 3 {
		last, err = n.Add()
		require.NoError(t, err)
		require.NoError(t, n.Turn(first, last, 9))
		require.NoError(t, n.Drop(first, last))
		address := listen(t, last)
		require.NoError(t, reach(n.Do, address, patience))
		require.NoError(t, n.Remove(last))
		require.NoError(t, n.Remove(last), "twice is harmless")
		require.Error(t, reach(n.Do, address, moment/10))
		gone[last.Address()] = true
	}
	require.Len(t, gone, n.most-1)
	require.Empty(t, first.turns.ports)
	_, err = n.Heal()
	require.NoError(t, err)
	for range n.most - 1 {
		_, err = n.Add()
		require.NoError(t, err)
	}
	_, err = n.Add()
	require.ErrorContains(t, err, "more than")
}
