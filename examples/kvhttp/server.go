package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/viewline/viewline/replication"
)

// patience is how long a server works at one request.
const patience = 5 * time.Second

// stalePatience is how long a replica waits for a state that is new enough, before it sends the client to the primary.
const stalePatience = 500 * time.Millisecond

// operationBytesMax is what a put takes at most, with the numbers of its session.
const operationBytesMax = valueBytesMax + keyBytesMax + 1024

// handler serves what clients ask.
//
//	GET    /keys/KEY     200 and the value, or 404; with ?stale=200ms from any replica, which may then lack what was
//	                     written in the last 200 ms
//	PUT    /keys/KEY     201 when the key is new, 204 when it had a value
//	DELETE /keys/KEY     204, or 404 when there was none
//	POST   /operations   200 and the result of what a sessions.Client proposes
//
// 307 leads to the primary. 503 and 429 say that nothing happened and nothing will; 504 that nobody knows. After a 504
// a PUT or DELETE that is sent again may be executed again; what is posted to /operations never is.
func (n *node) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /keys/{key}", n.get)
	mux.HandleFunc("PUT /keys/{key}", func(w http.ResponseWriter, r *http.Request) {
		value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, valueBytesMax))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		n.change(w, r, encodePut(r.PathValue("key"), value), http.StatusCreated, http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /keys/{key}", func(w http.ResponseWriter, r *http.Request) {
		n.change(w, r, encodeDelete(r.PathValue("key")), http.StatusNotFound, http.StatusNoContent)
	})
	mux.HandleFunc("POST /operations", n.operate)
	return mux
}

// get reads what is newest at some moment after the request came: a primary that has lost its group answers nothing.
func (n *node) get(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	if err := n.awaitFresh(ctx, r.URL.Query().Get("stale")); err != nil {
		n.refuse(w, r, err)
		return
	}
	value, found := n.store.get(r.PathValue("key"))
	if !found {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(value) // who has gone away needs no answer
}

// awaitFresh waits until the store here is the newest, or no older than a read allows.
func (n *node) awaitFresh(ctx context.Context, stale string) error {
	if stale == "" {
		return replication.AwaitReadBarrier(ctx, n.replica, n.newest.Load().View)
	}
	atMost, err := time.ParseDuration(stale)
	if err != nil {
		return fmt.Errorf("%w: stale: %w", errBounds, err)
	}
	ctx, cancel := context.WithTimeout(ctx, stalePatience)
	defer cancel()
	_, err = n.replica.ReadStale(ctx, atMost)
	return err
}

// change executes an operation in this server's own session.
func (n *node) change(w http.ResponseWriter, r *http.Request, operation []byte, absent, present int) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	reply, err := n.client.Do(ctx, operation)
	if err != nil {
		n.refuse(w, r, err)
		return
	}
	switch existed, err := existed(reply); {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case existed:
		w.WriteHeader(present)
	default:
		w.WriteHeader(absent)
	}
}

// operate makes one attempt at what a client's own session proposes.
func (n *node) operate(w http.ResponseWriter, r *http.Request) {
	operation, err := io.ReadAll(http.MaxBytesReader(w, r.Body, operationBytesMax))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	result := n.propose(ctx, operation)
	if result.Err != nil {
		n.refuse(w, r, result.Err)
		return
	}
	_, _ = w.Write(result.Value) // who has gone away asks again
}

// refuse says which of the outcomes an error is, and where to ask.
func (n *node) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var notPrimary *replication.NotPrimaryError
	var tooStale *replication.TooStaleError
	var elsewhere elsewhereError
	primary := replication.ReplicaID(0)
	if errors.As(err, &notPrimary) {
		primary = notPrimary.Primary
	} else if errors.As(err, &tooStale) {
		primary = tooStale.Primary
	} else if errors.As(err, &elsewhere) {
		primary = elsewhere.primary
	}
	switch {
	case errors.Is(err, errBounds):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case errors.Is(err, replication.ErrOutcomeUnknown):
		http.Error(w, err.Error(), http.StatusGatewayTimeout)
	case primary != 0 && primary != n.options.self:
		http.Redirect(w, r, n.options.urls[primary]+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	case errors.Is(err, replication.ErrOverloaded):
		http.Error(w, err.Error(), http.StatusTooManyRequests)
	case errors.Is(err, replication.ErrTooLarge):
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
	default: // among them: the primary, which does not lead yet
		w.Header().Set("Retry-After", "1")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}
