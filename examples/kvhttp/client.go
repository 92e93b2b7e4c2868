package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/viewline/viewline/replication"
	"github.com/viewline/viewline/replication/sessions"
)

// attemptTimeout is how long one server is waited for: longer than it works at a request itself.
const attemptTimeout = patience + time.Second

// client asks the servers until it knows what became of a request, which is executed once however often it is sent.
// Its methods may be called from many goroutines.
type client struct {
	http     *http.Client
	urls     []string
	sessions *sessions.Client

	mu     sync.Mutex
	server string // the one that is asked next
}

// newClient makes a client of the servers at these URLs.
func newClient(requests *http.Client, urls []string) (*client, error) {
	if len(urls) == 0 {
		return nil, errors.New("kvhttp: no server")
	}
	c := &client{http: requests, urls: urls, server: urls[0]}
	var err error
	c.sessions, err = sessions.NewClient(c.propose, sessions.ClientOptions{})
	return c, err
}

// put stores a value and reports whether the key had one. Errors are those of sessions.Client.Do.
func (c *client) put(ctx context.Context, key string, value []byte) (bool, error) {
	if len(key) == 0 || len(key) > keyBytesMax || len(value) > valueBytesMax {
		return false, errBounds
	}
	return c.change(ctx, encodePut(key, value))
}

// remove deletes a key and reports whether it was there.
func (c *client) remove(ctx context.Context, key string) (bool, error) {
	if len(key) == 0 || len(key) > keyBytesMax {
		return false, errBounds
	}
	return c.change(ctx, encodeDelete(key))
}

func (c *client) change(ctx context.Context, operation []byte) (bool, error) {
	reply, err := c.sessions.Do(ctx, operation)
	if err != nil {
		return false, err
	}
	return existed(reply)
}

// existed reads the store's result.
func existed(reply sessions.Reply) (bool, error) {
	switch {
	case len(reply.Value) == 1 && reply.Value[0] == resultPresent:
		return true, nil
	case len(reply.Value) == 1 && reply.Value[0] == resultAbsent:
		return false, nil
	case len(reply.Value) == 1 && reply.Value[0] == resultMalformed:
		return false, errBounds
	case reply.Dropped:
		return false, fmt.Errorf("%w: executed, but the result was not kept", errResult)
	default:
		return false, errResult
	}
}

// get returns the newest value. It asks until it knows or ctx ends: reading twice is harmless.
func (c *client) get(ctx context.Context, key string) (value []byte, found bool, err error) {
	for {
		status, value, err := c.ask(ctx, http.MethodGet, "/keys/"+url.PathEscape(key), nil)
		switch {
		case err == nil && status == http.StatusOK:
			return value, true, nil
		case err == nil && status == http.StatusNotFound:
			return nil, false, nil
		case err == nil:
			err = fmt.Errorf("kvhttp: %s", http.StatusText(status))
		}
		select {
		case <-ctx.Done():
			return nil, false, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(10 * time.Millisecond): // an election takes longer
		}
	}
}

// propose is the sessions.Proposer: one attempt, wherever the redirects lead.
func (c *client) propose(ctx context.Context, operation []byte) replication.Result {
	status, body, err := c.ask(ctx, http.MethodPost, "/operations", operation)
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrNotPrimary, err)} // nobody got it
	case err != nil:
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOutcomeUnknown, err)}
	}
	refused := errors.New(string(bytes.TrimSpace(body)))
	switch status {
	case http.StatusOK:
		return replication.Result{Value: body}
	case http.StatusServiceUnavailable:
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrNotPrimary, refused)}
	case http.StatusTooManyRequests:
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrOverloaded, refused)}
	case http.StatusRequestEntityTooLarge:
		return replication.Result{Err: fmt.Errorf("%w: %w", replication.ErrTooLarge, refused)}
	default:
		return replication.Result{Err: fmt.Errorf("%w: status %d: %w", replication.ErrOutcomeUnknown, status, refused)}
	}
}

// ask sends one request, follows redirects, and stays with the server that answered; after a failure the next one's
// turn comes.
func (c *client) ask(ctx context.Context, method, path string, body []byte) (status int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	server := c.current()
	request, err := http.NewRequestWithContext(ctx, method, server+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		c.turn(server, c.after(server))
		return 0, nil, err
	}
	answer, err = io.ReadAll(io.LimitReader(response.Body, operationBytesMax))
	err = errors.Join(err, response.Body.Close())
	if answered := response.Request.URL; err == nil && response.StatusCode < http.StatusInternalServerError {
		c.turn(server, answered.Scheme+"://"+answered.Host)
	} else {
		c.turn(server, c.after(server))
	}
	return response.StatusCode, answer, err
}

func (c *client) current() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.server
}

// turn goes to another server, unless somebody has done so.
func (c *client) turn(from, to string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server == from {
		c.server = to
	}
}

func (c *client) after(server string) string {
	return c.urls[(slices.Index(c.urls, server)+1)%len(c.urls)]
}
