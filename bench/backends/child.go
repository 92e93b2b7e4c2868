package backends

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/viewline/viewline/internal/signals"
	"github.com/viewline/viewline/replication"
)

// logTail is how much of a process's log an error shows.
const logTail = 2 << 10

// ErrProcess is what every error of a replica's process is.
var ErrProcess = errors.New("backends: a replica's process failed")

// commit says that an operation was acknowledged in a view, the first there, and when that was heard.
type commit struct {
	by   *child
	view replication.ViewNumber
	at   time.Time
}

// child is a replica's process.
type child struct {
	id      replication.ReplicaID
	log     string
	command *exec.Cmd
	in      io.WriteCloser
	commits chan<- commit
	exited  chan struct{} // closed when it is gone
	failure error         // how it ended; written before exited is closed

	calling sync.Mutex // one request at a time
	number  uint64
	replies chan reply
}

// startChild starts a process. Its commits are sent to a channel, as far as that has room.
func startChild(command []string, id replication.ReplicaID, log string, commits chan<- commit) (*child, error) {
	c := &child{id: id, log: log, commits: commits, command: exec.Command(command[0], command[1:]...), exited: make(chan struct{}), replies: make(chan reply)}
	// What is set for this process is not meant for that one.
	c.command.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "VIEWLINE_") })
	c.command.SysProcAttr = signals.Attributes()
	file, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("backends: %w", err)
	}
	c.command.Stderr = file
	out, err := c.command.StdoutPipe()
	if err == nil {
		c.in, err = c.command.StdinPipe()
	}
	if err == nil {
		err = c.command.Start()
	}
	if err = errors.Join(err, file.Close()); err != nil { // the process has the file now
		return nil, fmt.Errorf("backends: start replica %d: %w", id, err)
	}
	go c.read(out)
	return c, nil
}

// read takes everything that the process says, until it is gone.
func (c *child) read(out io.Reader) {
	defer close(c.exited)
	for decoder := json.NewDecoder(out); ; {
		var said reply
		if err := decoder.Decode(&said); err != nil {
			c.failure = c.command.Wait()
			return
		}
		if said.Number == 0 {
			select {
			case c.commits <- commit{by: c, view: said.Committed, at: time.Now()}:
			default: // nobody reads them
			}
			continue
		}
		c.replies <- said
	}
}

// call has the process do something, and reads what it answers into result, unless that is nil. When ctx ends first the
// process is killed: it cannot be asked anything more.
func (c *child) call(ctx context.Context, verb string, body, result any) error {
	c.calling.Lock()
	defer c.calling.Unlock()
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("backends: %s: %w", verb, err)
	}
	c.number++
	line, err := json.Marshal(request{Number: c.number, Verb: verb, Body: text})
	if err != nil {
		return fmt.Errorf("backends: %s: %w", verb, err)
	}
	if _, err := c.in.Write(append(line, '\n')); err != nil {
		return c.failed(verb, err)
	}
	select {
	case said := <-c.replies:
		if said.Error != "" {
			return fmt.Errorf("%w: replica %d: %s: %s", ErrProcess, c.id, verb, said.Error)
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(said.Body, result); err != nil {
			return fmt.Errorf("%w: replica %d: %s: %w", ErrProcess, c.id, verb, err)
		}
		return nil
	case <-c.exited:
		return c.failed(verb, c.failure)
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("%w: replica %d does not answer %s: %w", ErrProcess, c.id, verb, context.Cause(ctx))
	}
}

func (c *child) failed(verb string, err error) error {
	text, reading := os.ReadFile(c.log)
	if reading != nil {
		text = []byte(reading.Error())
	}
	return fmt.Errorf("%w: replica %d: %s: %w; its log ends with:\n%s", ErrProcess, c.id, verb, err, text[max(0, len(text)-logTail):])
}

// kill ends the process without warning and waits until it is gone.
func (c *child) kill() {
	_ = c.command.Process.Kill() // it may be gone already
	for {
		select {
		case <-c.replies: // nobody waits for it any more
		case <-c.exited:
			return
		}
	}
}

// end ends the process in order.
func (c *child) end(ctx context.Context) error {
	if err := c.call(ctx, verbEnd, nil, nil); err != nil {
		return err
	}
	select {
	case <-c.exited:
	case <-ctx.Done():
		c.kill()
		return fmt.Errorf("%w: replica %d does not end: %w", ErrProcess, c.id, context.Cause(ctx))
	}
	if c.failure != nil {
		return fmt.Errorf("%w: replica %d: %w", ErrProcess, c.id, c.failure)
	}
	return nil
}
