// Command dragonboat measures one group of lni/dragonboat as `viewline bench replication` measures one of ours: each
// replica is a process of its own with a real directory, the load runs within the leader's process, and each proposer
// waits for its answer before it proposes again.
//
//	go run ./dragonboat --replicas 3 --proposers 1,16,64,256 --value-bytes 128 --duration 5s
//
// It writes a JSON line for each run. It is a module of its own, so that nobody who builds viewline needs it.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
)

// result is one run.
type result struct {
	Backend    string  `json:"backend"`
	Replicas   int     `json:"replicas"`
	Proposers  int     `json:"proposers"`
	ValueBytes int     `json:"value_bytes"`
	Operations int64   `json:"operations"`
	Seconds    float64 `json:"seconds"`
	PerSecond  float64 `json:"operations_per_second"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	// CPUSeconds are those of all replicas.
	CPUSeconds float64 `json:"cpu_seconds"`
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == replicaCommand {
		exit(serve(os.Args[2:]))
	}
	var (
		replicas  = flag.Int("replicas", 3, "of the group")
		proposers = flag.String("proposers", "1,16,64,256", "operations under way at once, a run for each")
		bytes     = flag.Int("value-bytes", 128, "size of an operation")
		duration  = flag.Duration("duration", 5*time.Second, "of each run")
		warmUp    = flag.Duration("warm-up", time.Second, "before each run")
	)
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	exit(measure(ctx, *replicas, *proposers, load{Bytes: *bytes, WarmUp: *warmUp, Duration: *duration}))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "dragonboat:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// measure starts a group, has its leader run each load, and writes what came of it.
func measure(ctx context.Context, replicas int, proposers string, wanted load) (err error) {
	g, err := start(ctx, replicas)
	if err != nil {
		return err
	}
	defer func() {
		if stopped := g.stop(); err == nil {
			err = stopped
		}
	}()
	for _, text := range strings.Split(proposers, ",") {
		if wanted.Proposers, err = strconv.Atoi(text); err != nil || wanted.Proposers < 1 {
			return fmt.Errorf("%q proposers", text)
		}
		done, err := g.run(wanted)
		if err != nil {
			return err
		}
		if done.Operations == 0 {
			return fmt.Errorf("nothing was committed by %d proposers", wanted.Proposers)
		}
		if err := json.NewEncoder(os.Stdout).Encode(done); err != nil {
			return err
		}
	}
	return nil
}
