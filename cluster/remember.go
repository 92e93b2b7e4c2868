package cluster

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// coordinatorsFile is in a shard's data directory, once the coordinator's members are others than those that the node's
	// file names: their addresses, a line each.
	coordinatorsFile = "COORDINATORS"
	// coordinatorsBytesMax is more than any such file has.
	coordinatorsBytesMax = 64 << 10
)

// coordinatorMemory is where a node of a shard finds the coordinator when it starts: at the addresses that it knew last,
// then at those of its file. Without it, a shard that restarts after all the first coordinators are gone would find none
// before somebody has edited its file. It is advice: a wrong address costs an attempt to connect.
type coordinatorMemory struct {
	path       string
	configured []string
	known      []string // what the file says, or the configuration while there is none
	logger     *slog.Logger
}

func recallCoordinators(data string, configured []Member, logger *slog.Logger) *coordinatorMemory {
	m := &coordinatorMemory{path: filepath.Join(data, coordinatorsFile), logger: logger}
	for _, member := range configured {
		m.configured = append(m.configured, member.Address)
	}
	if m.known = m.read(); m.known == nil {
		m.known = m.configured
	}
	return m
}

// read returns what the file says, as far as that makes sense.
func (m *coordinatorMemory) read() (addresses []string) {
	text, err := os.ReadFile(m.path)
	if err != nil || len(text) > coordinatorsBytesMax {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		address := strings.TrimSuffix(line, "\n")
		if _, port, err := net.SplitHostPort(address); err == nil && port != "" {
			addresses = append(addresses, address)
		}
	}
	return addresses
}

// addresses are those to begin with.
func (m *coordinatorMemory) addresses() []string {
	all := slices.Clone(m.known)
	for _, address := range m.configured {
		if !slices.Contains(all, address) {
			all = append(all, address)
		}
	}
	return all
}

// remember takes the addresses of the coordinator's members. Called from one goroutine at a time.
func (m *coordinatorMemory) remember(addresses []string) {
	if slices.Equal(addresses, m.known) {
		return
	}
	if err := writeDurably(m.path, []byte(strings.Join(addresses, "\n")+"\n")); err != nil {
		m.logger.Warn("the coordinators are others, and that could not be written down", "coordinators", addresses, "error", err)
		return // the next news try again
	}
	m.logger.Info("the coordinators are others now", "coordinators", addresses)
	m.known = slices.Clone(addresses)
}
