package clerk

import (
	"fmt"
	"log/slog"
	"net"
	"time"

	"google.golang.org/grpc"

	"github.com/viewline/viewline/txn"
)

// Options configure a Clerk. Only Coordinators is needed.
type Options struct {
	// Coordinators are addresses (host:port) of some of the coordinator's replicas; one that answers is
	// enough.
	Coordinators []string
	// Cluster is the id that the cluster must have; zero accepts any.
	Cluster [16]byte
	// Insecure allows plaintext connections to addresses that are not loopback.
	Insecure bool
	// DialOptions are added to every connection's.
	DialOptions []grpc.DialOption
	// Logger gets what an operator may want to know; the default drops it.
	Logger *slog.Logger
	// BackoffMin and BackoffMax bound the pause before a function runs again: it doubles from one to the
	// other and is drawn at random below that. Defaults: 1 ms and 100 ms.
	BackoffMin, BackoffMax time.Duration
	// BackgroundMax bounds the commits that are decided and still being told to their shards; Commit waits
	// for room. Default 4096.
	BackgroundMax int
	// DrainTimeout bounds how long Close waits for them. What is left then is finished by the shards.
	// Default 2 s.
	DrainTimeout time.Duration
	// Hooks observe; see there.
	Hooks Hooks
}

// Hooks are called from the goroutine that runs the transaction and must not block. Any may be nil.
type Hooks struct {
	// Committed gets every update transaction that committed.
	Committed func(Committed)
	// Aborted gets the verdict of every run of a function that has to be run again, or was given up.
	Aborted func(txn.Verdict)
	// Viewed gets every snapshot that was read.
	Viewed func(Viewed)
}

// Committed is what an update transaction did. The slices must not be changed.
type Committed struct {
	Attempt txn.Attempt
	Reads   []Read
	Writes  []txn.WriteEntry
	// Began and Answered bracket the run that committed.
	Began, Answered time.Time
}

// Viewed is what a View read. The slice must not be changed.
type Viewed struct {
	Timestamp       txn.Timestamp
	Reads           []Read
	Began, Answered time.Time
}

// Read is one read, as the hooks tell it.
type Read struct {
	OID string
	// Version is the timestamp of the write that was read; when absent, of the delete, or 0.
	Version txn.Timestamp
	Value
}

// Validate names the first thing that is wrong, or returns nil.
func (o *Options) Validate() error {
	if len(o.Coordinators) == 0 {
		return fmt.Errorf("%w: no coordinator's address", ErrOptions)
	}
	for _, address := range o.Coordinators {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return fmt.Errorf("%w: coordinator %q: %w", ErrOptions, address, err)
		}
		if !o.Insecure && !isLoopback(host) {
			return fmt.Errorf("%w: coordinator %q is not on loopback and the connection would be plaintext; set Insecure to allow it",
				ErrOptions, address)
		}
	}
	if o.BackoffMin < 0 || o.BackoffMax < 0 || o.BackoffMax != 0 && o.BackoffMin > o.BackoffMax {
		return fmt.Errorf("%w: BackoffMin %v, BackoffMax %v", ErrOptions, o.BackoffMin, o.BackoffMax)
	}
	if o.BackgroundMax < 0 || o.DrainTimeout < 0 {
		return fmt.Errorf("%w: BackgroundMax %d, DrainTimeout %v", ErrOptions, o.BackgroundMax, o.DrainTimeout)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.BackoffMin == 0 {
		o.BackoffMin = time.Millisecond
	}
	if o.BackoffMax == 0 {
		o.BackoffMax = max(100*time.Millisecond, o.BackoffMin)
	}
	if o.BackgroundMax == 0 {
		o.BackgroundMax = 4096
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 2 * time.Second
	}
}
