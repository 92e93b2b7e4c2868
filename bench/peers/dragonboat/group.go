package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leaderWait is how long a group may take to elect a leader.
const leaderWait = 30 * time.Second

// load is what a leader is told to run. Its answer is a result.
type load struct {
	Proposers int           `json:"proposers"`
	Bytes     int           `json:"bytes"`
	WarmUp    time.Duration `json:"warm_up"`
	Duration  time.Duration `json:"duration"`
}

// group are the processes of one group.
type group struct {
	directory string
	children  []*child
}

// child is a replica's process. It ends with its input.
type child struct {
	command *exec.Cmd
	input   io.WriteCloser
	output  *bufio.Scanner
}

func start(ctx context.Context, replicas int) (_ *group, err error) {
	g := &group{}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.stop())
		}
	}()
	if g.directory, err = os.MkdirTemp("", "dragonboat-"); err != nil {
		return nil, err
	}
	addresses := make([]string, replicas)
	for i := range addresses {
		if addresses[i], err = freeAddress(); err != nil {
			return nil, err
		}
	}
	for i := range addresses {
		c, err := startChild(ctx, i+1, addresses, filepath.Join(g.directory, strconv.Itoa(i+1)))
		if err != nil {
			return nil, err
		}
		g.children = append(g.children, c)
	}
	return g, nil
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String(), nil
}

func startChild(ctx context.Context, id int, addresses []string, directory string) (c *child, err error) {
	command := exec.CommandContext(ctx, os.Args[0], replicaCommand, strconv.Itoa(id), directory, strings.Join(addresses, ","))
	command.Stderr = os.Stderr
	c = &child{command: command}
	if c.input, err = command.StdinPipe(); err != nil {
		return nil, err
	}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.output = bufio.NewScanner(output)
	return c, command.Start()
}

// ask sends a line and decodes the line that answers it.
func (c *child) ask(question, answer any) error {
	data, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := c.input.Write(append(data, '\n')); err != nil {
		return err
	}
	if !c.output.Scan() {
		return errors.Join(errors.New("a replica has ended"), c.output.Err())
	}
	return json.Unmarshal(c.output.Bytes(), answer)
}

// run has the leader run a load, whoever that is now.
func (g *group) run(wanted load) (result, error) {
	for end := time.Now().Add(leaderWait); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for _, c := range g.children {
			var leads bool
			if err := c.ask(load{}, &leads); err != nil {
				return result{}, err
			}
			if !leads {
				continue
			}
			before := g.cpu()
			var r result
			err := c.ask(wanted, &r)
			r.Backend, r.Replicas, r.CPUSeconds = "dragonboat", len(g.children), g.cpu()-before
			return r, err
		}
	}
	return result{}, fmt.Errorf("no leader within %v", leaderWait)
}

// cpu is what all replicas have used, of which the warm-up is a part.
func (g *group) cpu() (seconds float64) {
	for _, c := range g.children {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.command.Process.Pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(data), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 13 {
			continue
		}
		for _, field := range fields[11:13] {
			ticks, _ := strconv.ParseFloat(field, 64)
			seconds += ticks / 100 // USER_HZ
		}
	}
	return seconds
}

// stop ends all processes and removes what they wrote.
func (g *group) stop() (err error) {
	for _, c := range g.children {
		err = errors.Join(err, c.input.Close())
	}
	for _, c := range g.children {
		late := time.AfterFunc(10*time.Second, func() { _ = c.command.Process.Signal(syscall.SIGKILL) })
		err = errors.Join(err, c.command.Wait())
		late.Stop()
	}
	return errors.Join(err, os.RemoveAll(g.directory))
}
