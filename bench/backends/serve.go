package backends

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/viewline/viewline/replication"
)

// ErrParent is Serve's error when the process that this one belongs to is gone.
var ErrParent = errors.New("backends: the parent is gone")

// Serve is the whole of a replica's process: it obeys what it reads until it is told to end, and returns ErrParent at
// once, whatever it is at, when there is nothing more to read. The process is to end then.
func Serve(in io.Reader, out io.Writer) error { return serve(in, out, registry()) }

func serve(in io.Reader, out io.Writer, known []backend) error {
	requests, ended := make(chan request), make(chan error, 1)
	s := &server{known: known, out: json.NewEncoder(out), leads: newLeadership()}
	go func() { ended <- s.obey(requests) }()
	decoder := json.NewDecoder(in)
	for {
		var asked request
		if err := decoder.Decode(&asked); err != nil {
			return fmt.Errorf("%w: %w", ErrParent, err)
		}
		select {
		case requests <- asked:
		case err := <-ended:
			return err
		}
		if asked.Verb == verbEnd {
			return <-ended
		}
	}
}

// server is one replica's process.
type server struct {
	known []backend
	mu    sync.Mutex // guards out
	out   *json.Encoder

	audit   *audit
	replica *replica
	leads   *leadership
	load    *load
	// rested are the outcomes of loads before that.
	rested  Outcomes
	profile io.Closer
}

// obey answers requests in their order, and ends with the request to end or when nobody hears the answers.
func (s *server) obey(requests <-chan request) error {
	for asked := range requests {
		body, err := s.do(asked)
		answer := reply{Number: asked.Number}
		if err == nil {
			answer.Body, err = json.Marshal(body)
		}
		if err != nil {
			answer.Error = err.Error()
		}
		if failed := s.say(answer); failed != nil || asked.Verb == verbEnd {
			return errors.Join(failed, err)
		}
	}
	return nil
}

func (s *server) say(what reply) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Encode(what)
}

// committed says that an operation of a view was acknowledged here. Should nobody hear it, the process ends anyway.
func (s *server) committed(view replication.ViewNumber) { _ = s.say(reply{Committed: view}) }

func (s *server) do(asked request) (any, error) {
	switch asked.Verb {
	case verbListen:
		return with(asked, s.listen)
	case verbOpen:
		return with(asked, s.open)
	case verbLoad:
		return with(asked, s.startLoad)
	case verbProfile:
		return with(asked, s.startProfile)
	case verbUnprofile:
		return nil, s.endProfile()
	case verbMeter:
		return s.meter()
	case verbLap:
		return s.lap(), nil
	case verbRest:
		return s.rest(), nil
	case verbTrail:
		return s.trail(), nil
	case verbEnd:
		return nil, s.end()
	default:
		return nil, fmt.Errorf("backends: unknown request %q", asked.Verb)
	}
}

// with reads a request's body for a function.
func with[T, R any](asked request, do func(T) (R, error)) (any, error) {
	var body T
	if err := json.Unmarshal(asked.Body, &body); err != nil {
		return nil, fmt.Errorf("backends: %s: %w", asked.Verb, err)
	}
	return do(body)
}

func (s *server) listen(r listenRequest) (address string, err error) {
	if r.Audit {
		// Where the kernel does not tell, the counters have to do, and the trail says so.
		if s.audit, err = startAudit(); err != nil && !errors.Is(err, errNoAudit) {
			return "", err
		}
	}
	if s.replica, err = listenAt(r.Address); err != nil {
		return "", err
	}
	return s.replica.address(), nil
}

func (s *server) open(r openRequest) (none any, err error) {
	if s.replica == nil {
		return nil, errors.New("backends: open before listen")
	}
	chosen, ok := find(s.known, r.Backend)
	if !ok {
		return nil, fmt.Errorf("backends: no backend %q, there are %s", r.Backend, namesOf(s.known))
	}
	if err := s.replica.open(chosen, r); err != nil {
		return nil, err
	}
	go s.leads.follow(s.replica.replicator.Events())
	return nil, nil
}

func (s *server) startLoad(r loadRequest) (none any, err error) {
	if s.replica == nil || s.replica.replicator == nil {
		return nil, errors.New("backends: load before open")
	}
	s.rested, s.load = s.rest(), nil
	s.load = startLoad(r, s.replica.replicator, s.leads, s.committed)
	return nil, nil
}

func (s *server) meter() (m Meter, err error) {
	if s.replica == nil || s.replica.replicator == nil {
		return Meter{}, errors.New("backends: meter before open")
	}
	if m, err = s.replica.meter(); err != nil {
		return Meter{}, err
	}
	m.Outcomes = s.outcomes()
	return m, nil
}

// lap is of a process that has a load; any other has proposed nothing.
func (s *server) lap() (l Lap) {
	if s.load != nil {
		l = s.load.lap()
	}
	return l
}

// rest ends the load, if there is one.
func (s *server) rest() Outcomes {
	if s.load != nil {
		s.load.rest()
	}
	return s.outcomes()
}

// outcomes are those of all loads.
func (s *server) outcomes() Outcomes {
	if s.load == nil {
		return s.rested
	}
	return s.rested.plus(s.load.outcomes())
}

func (s *server) trail() trail {
	t := trail{Audited: s.audit != nil, Fsyncs: s.audit.all()}
	if s.load != nil {
		t.Spans = s.load.spans()
	}
	return t
}

func (s *server) end() error {
	var err error
	s.rest()
	if s.replica != nil {
		err = s.replica.close()
	}
	return errors.Join(err, s.endProfile())
}
