// Command kvhttp is a replicated key-value store over HTTP, as an example of a program of one's own around
// replication/vr: put, get and delete, served by whichever of its replicas is the primary.
//
//	go run ./examples/kvhttp
//
// starts three replicas in one process, in a temporary directory, and says how to talk to them. Each can be a process
// of its own:
//
//	kvhttp -replica 1 -directory /var/lib/kv1 -create    # -create once in its life
//
// and a client that repeats its requests safely is in the same program:
//
//	kvhttp put greeting hello
//	kvhttp get greeting
//
// store.go is the state machine, node.go puts a replica together, server.go answers HTTP, and client.go is a client
// whose requests are executed exactly once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/vr/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "kvhttp:", err)
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	replica    uint
	directory  string
	create     bool
	peers, web []string
	command    []string
}

func parse(arguments []string, out io.Writer) (s settings, err error) {
	flags := flag.NewFlagSet("kvhttp", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.UintVar(&s.replica, "replica", 0, "the replica of this process, from 1; 0: all of them")
	flags.StringVar(&s.directory, "directory", "", "where the replica's data is (with -replica)")
	flags.BoolVar(&s.create, "create", false, "make the replica's log: once in its life")
	peers := flags.String("peers", "127.0.0.1:7101,127.0.0.1:7102,127.0.0.1:7103", "where the replicas find each other, in order")
	web := flags.String("http", "127.0.0.1:8101,127.0.0.1:8102,127.0.0.1:8103", "where clients find them, in order")
	if err := flags.Parse(arguments); err != nil {
		return s, err
	}
	s.peers, s.web, s.command = strings.Split(*peers, ","), strings.Split(*web, ","), flags.Args()
	if len(s.peers) != len(s.web) || s.replica > uint(len(s.peers)) || s.replica != 0 && s.directory == "" {
		return s, errors.New("-peers and -http name the same replicas, -replica is one of them, and it has a -directory")
	}
	return s, nil
}

// run serves until ctx ends, or asks the servers one thing.
func run(ctx context.Context, arguments []string, out io.Writer) (err error) {
	s, err := parse(arguments, out)
	if err != nil {
		return err
	}
	if len(s.command) > 0 {
		return ask(ctx, s, out)
	}
	if s.replica == 0 {
		if s.directory, err = os.MkdirTemp("", "kvhttp"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(s.directory)) }()
	}
	for i := range s.peers {
		options := addressed(s.peers, s.web)
		options.self, options.directory = replication.ReplicaID(i+1), s.directory
		if s.replica == 0 {
			options.directory = filepath.Join(s.directory, strconv.Itoa(i+1))
		} else if options.self != replication.ReplicaID(s.replica) {
			continue
		}
		n, failure := serve(options, s.create || s.replica == 0)
		if failure != nil {
			return failure
		}
		defer func() { err = errors.Join(err, n.close()) }()
		fmt.Fprintf(out, "replica %d: curl -L -X PUT --data hello %s/keys/greeting\n", options.self, options.urls[options.self])
	}
	<-ctx.Done()
	return nil
}

// ask is put KEY VALUE, get KEY and delete KEY.
func ask(ctx context.Context, s settings, out io.Writer) error {
	urls := make([]string, len(s.web))
	for i, address := range s.web {
		urls[i] = "http://" + address
	}
	c, err := newClient(http.DefaultClient, urls)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	existed := true
	switch verb := s.command[0]; {
	case verb == "put" && len(s.command) == 3:
		_, err = c.put(ctx, s.command[1], []byte(s.command[2]))
	case verb == "delete" && len(s.command) == 2:
		existed, err = c.remove(ctx, s.command[1])
	case verb == "get" && len(s.command) == 2:
		var value []byte
		if value, existed, err = c.get(ctx, s.command[1]); existed {
			fmt.Fprintf(out, "%s\n", value)
		}
	default:
		return errors.New("kvhttp [FLAGS] put KEY VALUE | get KEY | delete KEY")
	}
	if err == nil && !existed {
		err = fmt.Errorf("there is no key %q", s.command[1])
	}
	return err
}

// addressed are the options that all nodes share.
func addressed(peers, web []string) nodeOptions {
	options := nodeOptions{peers: map[replication.ReplicaID]string{}, urls: map[replication.ReplicaID]string{}}
	for i := range peers {
		options.peers[replication.ReplicaID(i+1)] = peers[i]
		options.urls[replication.ReplicaID(i+1)] = "http://" + web[i]
	}
	return options
}

// serve listens at a node's addresses and starts it.
func serve(options nodeOptions, create bool) (*node, error) {
	if create {
		if err := os.MkdirAll(options.directory, 0o700); err != nil {
			return nil, err
		}
		if err := storage.Create(options.directory); err != nil {
			return nil, err
		}
	}
	var err error
	if options.peerListener, err = net.Listen("tcp", options.peers[options.self]); err != nil {
		return nil, err
	}
	if options.httpListener, err = net.Listen("tcp", strings.TrimPrefix(options.urls[options.self], "http://")); err != nil {
		return nil, errors.Join(err, options.peerListener.Close())
	}
	return openNode(options)
}
