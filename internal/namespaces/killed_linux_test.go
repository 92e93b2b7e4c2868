package namespaces

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// killedVariable makes this test binary the process that is killed.
const killedVariable = "NAMESPACES_TEST_KILLED"

// Whoever made a network is killed without warning: its hosts, one that joined late too, are gone with it.
func TestNothingIsLeftOfWhoIsKilled(t *testing.T) {
	if os.Getenv(killedVariable) != "" {
		makeAndWait(t)
		return
	}
	open(t)
	command := exec.Command(os.Args[0], "-test.run=^TestNothingIsLeftOfWhoIsKilled$")
	command.Env = append(os.Environ(), killedVariable+"=1")
	told, err := command.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, command.Start())
	lines := bufio.NewScanner(told)
	var hosts []string
	for len(hosts) < 2 && lines.Scan() {
		hosts = append(hosts, lines.Text())
	}
	require.Len(t, hosts, 2)
	for _, host := range hosts {
		require.True(t, inUse(host), host)
	}
	require.NoError(t, command.Process.Kill())
	require.Error(t, command.Wait())
	for _, host := range hosts {
		require.Eventually(t, func() bool { return !inUse(host) }, patience, 20*time.Millisecond, host)
	}
}

// makeAndWait makes hosts, each with a process that dies with this one, and names their namespaces.
func makeAndWait(t *testing.T) {
	n, err := Open()
	require.NoError(t, err)
	for range 2 {
		h, err := n.Add()
		require.NoError(t, err)
		command := exec.Command("sleep", "600")
		command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		var name string
		require.NoError(t, h.Do(func() (err error) {
			if name, err = os.Readlink("/proc/thread-self/ns/net"); err != nil {
				return err
			}
			return command.Start()
		}))
		fmt.Println(name)
	}
	select {}
}

// inUse reports whether a process is in a namespace.
func inUse(name string) bool {
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range links {
		if there, err := os.Readlink(link); err == nil && there == name {
			return true
		}
	}
	return false
}
