package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions"
	"github.com/viewline/viewline/replication/transport"
	"github.com/viewline/viewline/replication/vr"
	"github.com/viewline/viewline/replication/vr/storage"
	"github.com/viewline/viewline/replication/vr/streams"
)

// cluster keeps these replicas apart from those of another program at the same addresses.
const cluster = "viewline's kvhttp"

// nodeOptions describes one of the processes, or of the parts of one process, that make the service.
type nodeOptions struct {
	self replication.ReplicaID
	// directory holds a log already, made by storage.Create.
	directory string
	// peers and urls say where the replicas find each other, and where clients find them.
	peers, urls map[replication.ReplicaID]string
	// peerListener and httpListener are at this node's own of these; the node closes them.
	peerListener, httpListener net.Listener
	// pass is for tests: transport.Options.Pass.
	pass func(group, from, to uint32) bool
}

// node is one replica with what it takes to reach it.
type node struct {
	options nodeOptions
	store   *store
	replica *vr.Replica
	client  *sessions.Client                  // for requests that come without a session
	newest  atomic.Pointer[replication.Event] // what the replica last said of its part in the group

	streams *transport.Transport
	group   *transport.Group
	grpc    *grpc.Server
	http    *http.Server
	running sync.WaitGroup
}

// openNode starts a node on its listeners. When it fails, they are closed.
func openNode(options nodeOptions) (_ *node, err error) {
	n := &node{options: options, store: newStore()}
	n.newest.Store(&replication.Event{})
	n.grpc = grpc.NewServer(grpc.MaxRecvMsgSize(transport.PayloadBytesMaxDefault + transport.MessageOverhead))
	n.http = &http.Server{Handler: n.handler(), ReadHeaderTimeout: 5 * time.Second}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close(), options.peerListener.Close(), options.httpListener.Close())
		}
	}()
	if n.client, err = sessions.NewClient(n.proposeHere, sessions.ClientOptions{}); err != nil {
		return nil, err
	}
	if err = n.connect(); err != nil {
		return nil, err
	}
	if n.replica, err = n.open(); err != nil {
		return nil, err
	}
	n.running.Go(func() {
		for event := range n.replica.Events() {
			n.newest.Store(&event)
		}
	})
	n.running.Go(func() { _ = n.grpc.Serve(options.peerListener) }) // until Stop
	n.running.Go(func() { _ = n.http.Serve(options.httpListener) }) // until Close
	return n, nil
}

// connect joins the transport.
func (n *node) connect() (err error) {
	options := transport.Options{
		Address: n.options.peers[n.options.self],
		// Plaintext, for the example's sake: give transport credentials here and to the server for anything else.
		Dial: []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())},
		Pass: n.options.pass,
	}
	copy(options.Cluster[:], cluster)
	if n.streams, err = transport.New(options); err != nil {
		return err
	}
	n.streams.RegisterServer(n.grpc)
	addresses := map[uint32]string{}
	for id, address := range n.options.peers {
		addresses[uint32(id)] = address
	}
	n.group, err = n.streams.Group(transport.Local{Group: 1, Replica: uint32(n.options.self)}, addresses)
	return err
}

// open opens the replica, around whose store is the client-table.
func (n *node) open() (*vr.Replica, error) {
	machine, err := sessions.New(n.store, sessions.Options{})
	if err != nil {
		return nil, err
	}
	disk, err := storage.Open(n.options.directory, storage.Options{})
	if err != nil {
		return nil, err
	}
	options := vr.Options{Group: 1, Self: n.options.self, Transport: streams.Of(n.group), Storage: disk, StateMachine: machine}
	for id := range n.options.peers {
		options.Members = append(options.Members, id)
	}
	replica, err := vr.Open(options)
	if err != nil {
		return nil, errors.Join(err, disk.Close())
	}
	return replica, nil
}

// propose makes one attempt, in the view that this replica last led.
func (n *node) propose(ctx context.Context, operation []byte) replication.Result {
	return replication.Propose(ctx, n.replica, n.newest.Load().View, operation)
}

// elsewhereError is a NotPrimaryError that a sessions.Client does not try again after: the HTTP client is to ask the
// other server itself.
type elsewhereError struct{ primary replication.ReplicaID }

func (elsewhereError) Error() string { return "kvhttp: another replica is the primary" }

// proposeHere is the sessions.Proposer of this server's own session.
func (n *node) proposeHere(ctx context.Context, operation []byte) replication.Result {
	result := n.propose(ctx, operation)
	var notPrimary *replication.NotPrimaryError
	if errors.As(result.Err, &notPrimary) {
		result.Err = elsewhereError{notPrimary.Primary}
	}
	return result
}

// close ends everything, at whatever stage openNode was.
func (n *node) close() error {
	errs := []error{n.http.Close()}
	if n.replica != nil {
		errs = append(errs, n.replica.Close())
	}
	if n.group != nil {
		n.group.Close()
	}
	if n.streams != nil {
		errs = append(errs, n.streams.Close())
	}
	n.grpc.Stop()
	n.running.Wait()
	return errors.Join(errs...)
}
