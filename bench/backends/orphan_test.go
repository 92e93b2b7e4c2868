package backends

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// beParent starts a group under load, says which processes it has, and does nothing more.
func beParent(directory string) {
	ctx := context.Background()
	o := shortIn(directory).WithDefaults()
	g, err := startGroup(ctx, o, "vr", Sync, 3, false)
	if err == nil {
		err = g.load(ctx, loadRequest{Proposers: 4, ValueBytes: 128})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	pids := make([]int, len(g.children))
	for i, c := range g.children {
		pids[i] = c.command.Process.Pid
	}
	_ = json.NewEncoder(os.Stdout).Encode(pids)
	select {}
}

// TestNoOrphans: the replicas of a parent that is killed end by themselves.
func TestNoOrphans(t *testing.T) {
	t.Parallel()
	binary, err := os.Executable()
	require.NoError(t, err)
	parent := exec.Command(binary, parentArgument, t.TempDir())
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, parent.Start())
	line, err := bufio.NewReader(out).ReadBytes('\n')
	require.NoError(t, err)
	var pids []int
	require.NoError(t, json.Unmarshal(line, &pids))
	require.Len(t, pids, 3)
	require.NoError(t, parent.Process.Kill())
	require.Error(t, parent.Wait())
	for _, pid := range pids {
		require.Eventually(t, func() bool { return gone(pid) }, 30*time.Second, 10*time.Millisecond)
	}
}

// gone reports whether there is no such process, or one that has ended and that nobody has buried.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return os.IsNotExist(err)
	}
	var number int
	var name, state string
	_, err = fmt.Sscanf(string(text), "%d %s %s", &number, &name, &state)
	return err == nil && state == "Z"
}

// TestServeEndsWithItsParent: a process that is left alone ends in the middle of whatever it does.
func TestServeEndsWithItsParent(t *testing.T) {
	for _, said := range []string{"", `{"number":1,"verb":"listen","body":{}}`, `{"number":`} {
		in, parent := io.Pipe()
		ended := make(chan error, 1)
		go func() { ended <- serve(in, io.Discard, registry()) }()
		_, err := io.WriteString(parent, said)
		require.NoError(t, err)
		require.NoError(t, parent.Close())
		require.ErrorIs(t, <-ended, ErrParent)
	}
}

// TestServeAnswersNonsense: requests that make no sense have an answer that says so, and the next is answered too.
func TestServeAnswersNonsense(t *testing.T) {
	in, parent := io.Pipe()
	answers, out := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- serve(in, out, registry()) }()
	decoder := json.NewDecoder(answers)
	ask := func(line string) (answer reply) {
		_, err := io.WriteString(parent, line)
		require.NoError(t, err)
		require.NoError(t, decoder.Decode(&answer))
		return answer
	}
	for line, says := range map[string]string{
		`{"number":1,"verb":"dance"}`:                         "unknown request",
		`{"number":1,"verb":"meter"}`:                         "before open",
		`{"number":1,"verb":"load","body":{}}`:                "before open",
		`{"number":1,"verb":"open","body":{}}`:                "before listen",
		`{"number":1,"verb":"listen","body":7}`:               "cannot unmarshal",
		`{"number":1,"verb":"listen","body":{"address":"x"}}`: "missing port",
	} {
		answer := ask(line)
		require.EqualValues(t, 1, answer.Number)
		require.Contains(t, answer.Error, says, line)
	}
	require.Empty(t, ask(`{"number":2,"verb":"listen","body":{}}`).Error)
	require.Contains(t, ask(`{"number":3,"verb":"open","body":{"backend":"paxos"}}`).Error, "no backend")
	require.Empty(t, ask(`{"number":4,"verb":"end"}`).Error)
	require.NoError(t, <-ended)
}
