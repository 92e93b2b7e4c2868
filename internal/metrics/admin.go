package metrics

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

// The bounds of the admin port.
const (
	connectionsMax    = 64
	requestsMax       = 16 // at the same time; more are refused
	headerBytesMax    = 16 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	// writeTimeout bounds how long a profile may be taken, too.
	writeTimeout = 2 * time.Minute
	idleTimeout  = time.Minute
)

// Errors of Open.
var (
	// ErrOptions: the options make no sense.
	ErrOptions = errors.New("metrics: bad options")
	// ErrInsecure: others could reach the address. The port has no encryption and asks nobody who he is.
	ErrInsecure = errors.New("metrics: the admin port is for loopback addresses only, unless insecure is allowed")
)

// Options describe an admin port.
type Options struct {
	// Listen is host and port; port 0 takes a free one, see Addr.
	Listen string
	// Insecure allows an address that other machines reach.
	Insecure bool
	// Logger gets the address, and what goes wrong. nil: nothing is logged.
	Logger *slog.Logger
	// Node returns the counters of the node.
	Node func() map[string]uint64
	// Replicas are those that the node hosts.
	Replicas []Replica
}

// Validate returns an ErrOptions that names what is wrong, or nil.
func (o Options) Validate() error {
	if o.Node == nil {
		return fmt.Errorf("%w: no Node", ErrOptions)
	}
	for _, r := range o.Replicas {
		if r.Replicator == nil || r.Describe == nil {
			return fmt.Errorf("%w: replica %d of group %d has no Replicator or no Describe", ErrOptions, r.Replica, r.Group)
		}
	}
	return nil
}

// Admin is an admin port that serves: /metrics, and /debug/pprof/ for `go tool pprof`.
type Admin struct {
	listener net.Listener
	server   *http.Server
	logger   *slog.Logger
	cancel   context.CancelFunc // ends every request
	places   chan struct{}      // as many as requests under way
	serving  sync.WaitGroup
	open     sync.WaitGroup // connections
	once     sync.Once
	err      error
}

// Open listens and serves until Close. The errors are ErrOptions, ErrInsecure, or the network's.
func Open(options Options) (*Admin, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if options.Logger == nil {
		options.Logger = slog.New(slog.DiscardHandler)
	}
	address, err := Resolve(options.Listen, options.Insecure)
	if err != nil {
		return nil, err
	}
	listener, err := net.ListenTCP("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("metrics: listening on %s: %w", options.Listen, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a := &Admin{listener: listener, logger: options.Logger, cancel: cancel, places: make(chan struct{}, requestsMax)}
	a.server = &http.Server{
		Handler: a.bounded(handler(options)), BaseContext: func(net.Listener) context.Context { return ctx },
		ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: headerBytesMax, ConnState: a.count, ErrorLog: slog.NewLogLogger(options.Logger.Handler(), slog.LevelDebug),
	}
	a.serving.Go(a.serve)
	a.logger.Info("admin port", "address", a.Addr())
	return a, nil
}

// Resolve returns the address that Open would listen on, or the ErrOptions or ErrInsecure that it would return.
func Resolve(listen string, insecure bool) (*net.TCPAddr, error) {
	address, err := net.ResolveTCPAddr("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("%w: Listen: %w", ErrOptions, err)
	}
	if !address.IP.IsLoopback() && !insecure {
		return nil, fmt.Errorf("%w: %s", ErrInsecure, listen)
	}
	return address, nil
}

// count keeps account of the connections: the server's own Close does not wait for those that it refused, which linger
// for half a second.
func (a *Admin) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		a.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		a.open.Done()
	case http.StateActive, http.StateIdle:
	}
}

func (a *Admin) serve() {
	if err := a.server.Serve(netutil.LimitListener(a.listener, connectionsMax)); !errors.Is(err, http.ErrServerClosed) {
		a.logger.Warn("the admin port no longer serves", "error", err)
	}
}

func handler(options Options) http.Handler {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(newCollector(options.Node, options.Replicas), collectors.NewGoCollector(), collectors.NewBuildInfoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(options.Logger.Handler(), slog.LevelWarn), Registry: nil,
	}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	if options.Insecure {
		return mux
	}
	return byAddress(mux)
}

// byAddress refuses requests that come by a name other than localhost: a page of some other site whose name leads
// here would otherwise make a browser on this machine read the port for it.
func byAddress(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			http.Error(w, "ask by address or as localhost", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// bounded lets so many requests in at a time.
func (a *Admin) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case a.places <- struct{}{}:
		default:
			http.Error(w, "too many requests at the same time", http.StatusServiceUnavailable)
			return
		}
		defer func() { <-a.places }()
		next.ServeHTTP(w, r)
	})
}

// Addr is where the port is.
func (a *Admin) Addr() string { return a.listener.Addr().String() }

// Close ends the port and what is under way on it, a profile that is being taken too, and returns when no request
// is handled any more. Closing twice is harmless.
func (a *Admin) Close() error {
	a.once.Do(func() {
		a.cancel()
		a.err = a.server.Close()
		a.serving.Wait() // there are no new connections any more
		a.open.Wait()
		for range requestsMax {
			a.places <- struct{}{} // free once its request is over; nobody takes it again
		}
	})
	return a.err
}
