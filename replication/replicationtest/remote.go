package replicationtest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/rpc"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/viewline/viewline/internal/signals"
	"github.com/viewline/viewline/replication"
)

// remote is a replica in a process of its own, and its state machine as a test sees it. A process that stands still tells
// nothing: its status is that of a replica that does not lead.
type remote struct {
	id       replication.ReplicaID
	complain func(format string, arguments ...any)
	command  *exec.Cmd
	client   *rpc.Client
	stderr   tail
	calls    sync.WaitGroup
	events   chan replication.Event

	mu     sync.Mutex
	halted chan struct{} // closed while the process is to stand still; guarded by mu
	killed bool          // guarded by mu
	heard  int           // complaints; guarded by mu
	ended  bool          // guarded by mu
}

// launchProcess starts this test's binary anew as a replica with a listener.
func launchProcess(o orders, listener *net.TCPListener, complain func(format string, arguments ...any)) (*remote, error) {
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("replicationtest: %w", err)
	}
	file, err := listener.File()
	if err != nil {
		return nil, fmt.Errorf("replicationtest: %w", err)
	}
	defer func() { _ = file.Close() }() // the process has one of its own
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("replicationtest: %w", err)
	}
	r := &remote{id: o.Options.Self, complain: complain, events: make(chan replication.Event), halted: make(chan struct{})}
	r.command = exec.Command(binary, "-test.run=^$") // a TestMain that does not call Main runs no test
	r.command.Env = append(os.Environ(), ordersVariable+"="+string(text))
	r.command.ExtraFiles, r.command.Stderr, r.command.SysProcAttr = []*os.File{file}, &r.stderr, signals.Attributes()
	in, err := r.command.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("replicationtest: %w", err)
	}
	out, err := r.command.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("replicationtest: %w", err)
	}
	if err := r.command.Start(); err != nil {
		return nil, fmt.Errorf("replicationtest: %w", err)
	}
	r.client = rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	var report Reported
	if err := r.client.Call("Replica.Report", Asked{}, &report); err != nil {
		r.crash()
		return nil, errors.Join(fmt.Errorf("replicationtest: replica %d did not start: %w: %s", r.id, err, r.stderr.String()), r.Close())
	}
	return r, nil
}

// call calls the process, and gives up when that is to stand still. An answer that comes later is lost.
func (r *remote) call(method string, out any) error {
	r.mu.Lock()
	halted := r.halted
	r.mu.Unlock()
	call := r.client.Go("Replica."+method, Asked{}, out, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return call.Error
	case <-halted:
		return errors.New("replicationtest: the process stands still")
	}
}

// begin runs a call that Close waits for, unless it is too late for that.
func (r *remote) begin(call func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return false
	}
	r.calls.Go(call)
	return true
}

// Submit hands an operation on. When the process ends first nobody knows the outcome.
func (r *remote) Submit(view replication.ViewNumber, operation []byte, done func(replication.Result)) {
	begun := r.begin(func() {
		var out Answered
		if err := r.client.Call("Replica.Propose", Asked{View: view, Operation: operation}, &out); err != nil {
			done(replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, err)})
			return
		}
		out.Result.Err = out.Err.err()
		done(out.Result)
	})
	if !begun {
		done(replication.Result{Err: replication.ErrClosed})
	}
}

// ReadBarrier hands the question on.
func (r *remote) ReadBarrier(view replication.ViewNumber, done func(error)) {
	begun := r.begin(func() {
		var out Answered
		err := r.client.Call("Replica.Barrier", Asked{View: view}, &out)
		done(errors.Join(err, out.Err.err()))
	})
	if !begun {
		done(replication.ErrClosed)
	}
}

// Events has none.
func (r *remote) Events() <-chan replication.Event { return r.events }

// Status asks the process, and tells what its state machine complains of.
func (r *remote) Status() replication.Status {
	report, err := r.report()
	if err != nil {
		return replication.Status{Replica: r.id, Protocol: "silent"}
	}
	return report.Status
}

func (r *remote) report() (report *Reported, err error) {
	report = &Reported{}
	if err := r.call("Report", report); err != nil {
		return nil, err
	}
	if report.Failure != "" {
		report.Complaints = append(report.Complaints, report.Failure)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for ; r.heard < len(report.Complaints); r.heard++ {
		r.complain("replica %d: %s", r.id, report.Complaints[r.heard])
	}
	return report, nil
}

// Checkpoint has the process write one.
func (r *remote) Checkpoint(context.Context) error {
	var out Answered
	return errors.Join(r.client.Call("Replica.Checkpoint", Asked{}, &out), out.Err.err())
}

func (r *remote) state() (applied, hash uint64) {
	report, err := r.report()
	if err != nil {
		return 0, 0
	}
	return report.Applied, report.Hash
}

func (r *remote) all() []string {
	operations := new([]string)
	if err := r.call("Operations", operations); err != nil {
		return nil
	}
	return *operations
}

func (r *remote) times(operation []byte) (n int) {
	for _, each := range r.all() {
		if each == string(operation) {
			n++
		}
	}
	return n
}

// halt has the process stand still (SIGSTOP), wherever it is.
func (r *remote) halt() error {
	r.mu.Lock()
	close(r.halted)
	r.mu.Unlock()
	if err := r.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pause := time.NewTicker(time.Millisecond)
	defer pause.Stop()
	for limit := time.Now().Add(patience); time.Now().Before(limit); <-pause.C {
		if still, err := signals.Stopped(r.command.Process.Pid); err != nil || still {
			return err
		}
	}
	return fmt.Errorf("replicationtest: the process of replica %d does not stand still", r.id)
}

// goOn has it go on (SIGCONT).
func (r *remote) goOn() error {
	r.mu.Lock()
	r.halted = make(chan struct{})
	r.mu.Unlock()
	return r.signal(syscall.SIGCONT)
}

func (r *remote) signal(s syscall.Signal) error {
	if err := syscall.Kill(-r.command.Process.Pid, s); err != nil {
		return fmt.Errorf("replicationtest: %v to replica %d: %w", s, r.id, err)
	}
	return nil
}

// crash kills the process (SIGKILL), if it stands still too.
func (r *remote) crash() {
	r.mu.Lock()
	r.killed = true
	r.mu.Unlock()
	_ = r.signal(syscall.SIGKILL) // it may have ended by itself, which Close tells
}

// isHalted reports whether the process is to stand still.
func (r *remote) isHalted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.halted:
		return true
	default:
		return false
	}
}

// Close ends the process, in order unless it was killed, and waits until it is gone.
func (r *remote) Close() error {
	r.mu.Lock()
	killed, ended := r.killed, r.ended
	r.ended = true
	r.mu.Unlock()
	if ended {
		return nil
	}
	var closed error
	if !killed && !r.isHalted() {
		closed = r.closeInOrder()
	} else {
		r.crash()
	}
	_ = r.client.Close() // its process may be gone, and with it the pipe
	r.calls.Wait()
	failure := r.command.Wait()
	close(r.events)
	if killed {
		return nil
	}
	if err := errors.Join(closed, failure); err != nil {
		return fmt.Errorf("replicationtest: the process of replica %d: %w: %s", r.id, err, r.stderr.String())
	}
	return nil
}

// closeInOrder has the process close its replica, and kills it when that takes too long.
func (r *remote) closeInOrder() error {
	var out Answered
	call := r.client.Go("Replica.Close", Asked{}, &out, make(chan *rpc.Call, 1))
	select {
	case <-call.Done:
		return errors.Join(call.Error, out.Err.err())
	case <-time.After(patience):
		_ = r.signal(syscall.SIGKILL)
		return errors.New("its replica does not close")
	}
}

// tail is the end of what a process says.
type tail struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

// Write keeps the newest.
func (t *tail) Write(p []byte) (int, error) {
	const most = 16 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p)
	if excess := t.text.Len() - most; excess > 0 {
		t.text.Next(excess)
	}
	return len(p), nil
}

// String is what was kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}
