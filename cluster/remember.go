package cluster

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// coordinatorsFile is in a shard's data directory once the coordinator's members have changed: their epoch, and where
	// they are.
	coordinatorsFile = "COORDINATORS"
	// coordinatorsBytesMax is more than any such file has.
	coordinatorsBytesMax = 64 << 10
)

// coordinatorMemory is where a node of a shard finds the coordinator when it starts: at the addresses that it knew last,
// then at those of its file. Without it, a shard that restarts after all the first coordinators are gone would find none
// before somebody has edited its file; and one of them that was away, and does not know that it is a member no more,
// would be believed. It is advice: a wrong address costs an attempt to connect.
type coordinatorMemory struct {
	path       string
	configured []string
	// epoch and known are what the file says; 0 and nothing while there is none.
	epoch  uint64
	known  []string
	logger *slog.Logger
}

func recallCoordinators(data string, configured []Member, logger *slog.Logger) *coordinatorMemory {
	m := &coordinatorMemory{path: filepath.Join(data, coordinatorsFile), logger: logger}
	for _, member := range configured {
		m.configured = append(m.configured, member.Address)
	}
	if text, err := os.ReadFile(m.path); err == nil {
		m.epoch, m.known = parseCoordinators(string(text))
	}
	return m
}

// parseCoordinators reads what encodeCoordinators wrote. Of anything else it takes nothing.
func parseCoordinators(text string) (epoch uint64, addresses []string) {
	lines := strings.Split(text, "\n")
	if _, err := fmt.Sscanf(lines[0], "epoch %d", &epoch); err != nil || len(lines) < 3 || len(text) > coordinatorsBytesMax {
		return 0, nil
	}
	for _, address := range lines[1 : len(lines)-1] {
		if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
			return 0, nil
		}
		addresses = append(addresses, address)
	}
	if encodeCoordinators(epoch, addresses) != text || len(addresses) == 0 {
		return 0, nil
	}
	return epoch, addresses
}

func encodeCoordinators(epoch uint64, addresses []string) string {
	return fmt.Sprintf("epoch %d\n%s\n", epoch, strings.Join(addresses, "\n"))
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

// remember takes the coordinator's members of a later epoch. Called from one goroutine at a time.
func (m *coordinatorMemory) remember(epoch uint64, addresses []string) {
	if epoch <= m.epoch {
		return
	}
	if err := writeDurably(m.path, []byte(encodeCoordinators(epoch, addresses))); err != nil {
		m.logger.Warn("the coordinators are others, and that could not be written down", "epoch", epoch, "coordinators", addresses, "error", err)
		return // the next news try again
	}
	m.logger.Info("the coordinators are others now", "epoch", epoch, "coordinators", addresses)
	m.epoch, m.known = epoch, slices.Clone(addresses)
}
