package replicationtest

import (
	"net"

	"github.com/stretchr/testify/require"
)

// newProcesses makes and starts a group whose replicas are processes, which talk over loopback.
func newProcesses(t T, b Backend, n int, options Options) *group {
	t.Helper()
	g := makeGroup(t, b, n, options)
	listeners, addresses := make([]*net.TCPListener, n), map[uint32]string{}
	for i := range n {
		// It is this process's for the whole test, and each life's of the replica: nobody else gets the port in between.
		listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, listener.Close()) })
		listeners[i], addresses[uint32(g.id(i))] = listener, listener.Addr().String()
	}
	g.launch = func(i int, o Options) (life, error) {
		process, err := launchProcess(orders{b.Name, g.directories[i], o, addresses}, listeners[i], t.Errorf)
		if err != nil {
			return life{}, err
		}
		return life{replica: process, machine: process, crash: process.crash}, nil
	}
	g.startAll()
	return g
}

// halt has the processes of replicas stand still.
func (g *group) halt(replicas ...int) {
	g.t.Helper()
	for _, i := range replicas {
		require.NoError(g.t, g.replicas[i].(*remote).halt())
	}
}

// goOn has them go on.
func (g *group) goOn(replicas ...int) {
	g.t.Helper()
	for _, i := range replicas {
		require.NoError(g.t, g.replicas[i].(*remote).goOn())
	}
}
