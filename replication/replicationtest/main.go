package replicationtest

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"slices"

	"google.golang.org/grpc"

	"github.com/viewline/viewline/replication/transport"
)

// ordersVariable is set in the environment of a process of the suite.
const ordersVariable = "VIEWLINE_REPLICATIONTEST"

// casesAtOnce is how many cases are run at one time, unless -parallel says so: they wait for time-outs, most of the time.
const casesAtOnce = "8"

// orders are what a process of the suite is to do: be one life of a replica. Its file 3 is the listener.
type orders struct {
	Backend   string
	Directory string
	Options   Options
	Addresses map[uint32]string
}

// Main comes first in a backend's TestMain. In a process that the suite has started for one replica it does not return.
func Main(backends ...Backend) {
	text := os.Getenv(ordersVariable)
	if text == "" {
		_ = flag.Set("test.parallel", casesAtOnce) // the command line comes later, and counts
		return
	}
	if err := beReplica(text, backends); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// beReplica runs a replica until the parent has closed it, or is gone.
func beReplica(text string, backends []Backend) error {
	var o orders
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("replicationtest: %s: %w", ordersVariable, err)
	}
	at := slices.IndexFunc(backends, func(b Backend) bool { return b.Name == o.Backend })
	if at < 0 {
		return fmt.Errorf("replicationtest: Main was not told of the backend %q", o.Backend)
	}
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return fmt.Errorf("replicationtest: listen: %w", err)
	}
	self := uint32(o.Options.Self)
	node, err := transport.New(transport.Options{Cluster: [16]byte{1}, Address: o.Addresses[self]})
	if err != nil {
		return err
	}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(transport.PayloadBytesMaxDefault + transport.MessageOverhead))
	node.RegisterServer(server)
	group, err := node.Group(transport.Local{Group: 7, Replica: self, Backend: o.Backend}, o.Addresses)
	if err != nil {
		return err
	}
	s := &served{}
	s.journal = newJournal(s.complain)
	o.Options.Streams, o.Options.StateMachine = group, s.journal
	if s.replica, _, err = backends[at].Open(o.Directory, o.Options); err != nil {
		return err
	}
	go func() { _ = server.Serve(listener) }()
	s.end = func() error {
		err := errors.Join(s.replica.Close(), node.Close())
		server.Stop()
		return err
	}
	calls := rpc.NewServer()
	if err := calls.RegisterName("Replica", s); err != nil {
		return fmt.Errorf("replicationtest: %w", err)
	}
	calls.ServeConn(struct {
		io.Reader
		io.WriteCloser
	}{os.Stdin, os.Stdout})
	return nil
}
