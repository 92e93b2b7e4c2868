package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/lni/dragonboat/v4"
	"github.com/lni/dragonboat/v4/config"
	"github.com/lni/dragonboat/v4/logger"
	"github.com/lni/dragonboat/v4/statemachine"
)

const (
	// replicaCommand is the first argument of a replica's process.
	replicaCommand = "replica"
	shard          = 1
	// A heartbeat every 100 ms, and an election after 500 ms without one.
	roundTrip       = 10 // ms
	heartbeatRounds = 10
	electionRounds  = 50
	proposeTimeout  = 10 * time.Second
)

// counter is a state machine that counts, and answers with the count.
type counter struct{ count uint64 }

func (c *counter) Update(entry statemachine.Entry) (statemachine.Result, error) {
	c.count++
	return statemachine.Result{Value: c.count}, nil
}

func (c *counter) Lookup(any) (any, error) { return c.count, nil }

func (c *counter) SaveSnapshot(w io.Writer, _ statemachine.ISnapshotFileCollection, _ <-chan struct{}) error {
	return binary.Write(w, binary.BigEndian, c.count)
}

func (c *counter) RecoverFromSnapshot(r io.Reader, _ []statemachine.SnapshotFile, _ <-chan struct{}) error {
	return binary.Read(r, binary.BigEndian, &c.count)
}

func (c *counter) Close() error { return nil }

// serve is a replica's process: it answers questions until its input ends.
func serve(arguments []string) error {
	if len(arguments) != 3 {
		return fmt.Errorf("%d arguments of a replica", len(arguments))
	}
	for _, name := range []string{"raft", "rsm", "transport", "grpc", "dragonboat", "raftpb", "logdb", "config", "settings"} {
		logger.GetLogger(name).SetLevel(logger.ERROR)
	}
	id, err := strconv.ParseUint(arguments[0], 10, 64)
	if err != nil {
		return err
	}
	members := map[uint64]dragonboat.Target{}
	for i, address := range strings.Split(arguments[2], ",") {
		members[uint64(i+1)] = address
	}
	host, err := dragonboat.NewNodeHost(config.NodeHostConfig{
		NodeHostDir: arguments[1], RTTMillisecond: roundTrip, RaftAddress: members[id],
	})
	if err != nil {
		return err
	}
	defer host.Close()
	machine := func(uint64, uint64) statemachine.IStateMachine { return &counter{} }
	if err := host.StartReplica(members, false, machine, config.Config{
		ReplicaID: id, ShardID: shard, ElectionRTT: electionRounds, HeartbeatRTT: heartbeatRounds, CheckQuorum: true,
	}); err != nil {
		return err
	}
	return answer(host, id)
}

// answer reads loads, and runs those that ask for anything; the others ask whether this replica leads.
func answer(host *dragonboat.NodeHost, id uint64) error {
	out := json.NewEncoder(os.Stdout)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		var wanted load
		if err := json.Unmarshal(in.Bytes(), &wanted); err != nil {
			return err
		}
		var reply any
		if wanted.Proposers == 0 {
			leader, _, known, err := host.GetLeaderID(shard)
			reply = err == nil && known && leader == id
		} else {
			done, err := propose(host, wanted)
			if err != nil {
				return err
			}
			reply = done
		}
		if err := out.Encode(reply); err != nil {
			return err
		}
	}
	return nil
}

// propose runs a load. Proposals that end after the run's time count for nothing.
func propose(host *dragonboat.NodeHost, wanted load) (*result, error) {
	began := time.Now().Add(wanted.WarmUp)
	end := began.Add(wanted.Duration)
	latencies := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
	var (
		mu      sync.Mutex // guards latencies and failed
		failed  error
		running sync.WaitGroup
	)
	for range wanted.Proposers {
		running.Go(func() {
			own := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
			session, operation := host.GetNoOPSession(shard), make([]byte, wanted.Bytes)
			for now := time.Now(); now.Before(end); {
				ctx, cancel := context.WithTimeout(context.Background(), proposeTimeout)
				_, err := host.SyncPropose(ctx, session, operation)
				cancel()
				then := time.Now()
				if err != nil {
					mu.Lock()
					failed = err
					mu.Unlock()
					return
				}
				if !now.Before(began) && then.Before(end) {
					_ = own.RecordValue(max(1, then.Sub(now).Microseconds()))
				}
				now = then
			}
			mu.Lock()
			latencies.Merge(own)
			mu.Unlock()
		})
	}
	running.Wait()
	return &result{
		Proposers: wanted.Proposers, ValueBytes: wanted.Bytes, Operations: latencies.TotalCount(), Seconds: wanted.Duration.Seconds(),
		PerSecond: float64(latencies.TotalCount()) / wanted.Duration.Seconds(),
		P50:       float64(latencies.ValueAtQuantile(50)) / 1000, P99: float64(latencies.ValueAtQuantile(99)) / 1000,
	}, failed
}
