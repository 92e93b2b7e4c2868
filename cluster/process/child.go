package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"github.com/viewline/viewline/cluster"
	"github.com/viewline/viewline/internal/signals"
)

// Node names a replica of a group, and so its process.
type Node struct{ Group, Replica uint32 }

// String gives the name of the node's directory.
func (n Node) String() string { return cluster.NodeName(n.Group, n.Replica) }

// ErrNotRunning says that a node has no process.
var ErrNotRunning = errors.New("process: node is not running")

// child is one node's process, or its lack of one.
type child struct {
	node    Node
	address string
	command func() *exec.Cmd // makes the command anew for each start
	launch  func(Node, *exec.Cmd) error
	logFile string

	mu      sync.Mutex
	running *exec.Cmd
	exited  chan struct{} // closed when the process that was started last has ended; set by start
	failure error         // how it ended
	// expected: the process was told to end.
	expected bool
}

// start runs the process. Starting a running one is an error.
func (c *child) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		return fmt.Errorf("process: %v is running already", c.node)
	}
	log, err := os.OpenFile(c.logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("process: %w", err)
	}
	command := c.command()
	command.Stdout, command.Stderr, command.SysProcAttr = log, log, signals.Attributes()
	err = c.launch(c.node, command)
	// The child has the file now.
	if err = errors.Join(err, log.Close()); err != nil {
		return fmt.Errorf("process: start %v: %w", c.node, err)
	}
	exited := make(chan struct{})
	c.running, c.exited, c.expected = command, exited, false
	go func() {
		failure := command.Wait()
		c.mu.Lock()
		c.running, c.failure = nil, failure
		c.mu.Unlock()
		close(exited)
	}()
	return nil
}

// signal sends a signal to the child's whole process group.
func (c *child) signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return fmt.Errorf("%w: %v", ErrNotRunning, c.node)
	}
	if err := syscall.Kill(-c.running.Process.Pid, s); err != nil {
		return fmt.Errorf("process: %v to %v: %w", s, c.node, err)
	}
	return nil
}

// stopped reports whether the process stands still.
func (c *child) stopped() (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return false, fmt.Errorf("%w: %v", ErrNotRunning, c.node)
	}
	return signals.Stopped(c.running.Process.Pid)
}

// kill ends the process without warning and waits until it is gone.
func (c *child) kill() error {
	c.expect()
	if err := c.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-c.gone()
	return nil
}

// expect notes that the process is going to end because it was told to.
func (c *child) expect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = true
}

// gone is closed when no process runs.
func (c *child) gone() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exited
}

// died returns an ErrNotRunning when the process has ended by itself.
func (c *child) died() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil || c.expected {
		return nil
	}
	return fmt.Errorf("%w: %v ended by itself: %w", ErrNotRunning, c.node, c.failure)
}
