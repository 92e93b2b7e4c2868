package registers

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/viewline/viewline/clerk"
)

// operationsMax bounds a history: what is done beyond is not recorded, and so not done.
const operationsMax = 4_000_000

// Times of an operation, and of asking what became of a put whose outcome is unknown.
const (
	operationTimeout = 2 * time.Second
	outcomeTimeout   = 30 * time.Second
)

// access is what one operation on one object asked for, and found.
type access struct {
	oid   string
	put   bool
	value string // written, or read; empty: the object was absent
}

// Counts are the operations of a history.
type Counts struct {
	// Puts and Gets were answered.
	Puts int `json:"puts"`
	Gets int `json:"gets"`
	// Unknown puts had no known outcome at first: Settled of them turned out to have happened, Fenced not to, and the
	// rest may have happened at any later time.
	Unknown int `json:"unknown"`
	Settled int `json:"settled"`
	Fenced  int `json:"fenced"`
	// Refused puts certainly did not happen, and gets were not answered.
	Refused int `json:"refused"`
}

// History is what clients did, and when. It may be used from many goroutines.
type History struct {
	began time.Time

	mu         sync.Mutex // guards what follows
	operations []porcupine.Operation
	counts     Counts
}

// New makes an empty history, which begins now. The objects that clients are going to use must be absent.
func New() *History { return &History{began: time.Now()} }

// Client is one client: it does one operation after the other.
type Client struct {
	// ID is unlike that of any other client.
	ID    int
	Clerk *clerk.Clerk
	// Object draws the object of the next operation.
	Object func(random *rand.Rand) string
	// Pause comes after each operation.
	Pause time.Duration
	// Hurried is the time of every fifth operation instead of 2 s; 0: none is in a hurry. What a fault holds up then
	// has an unknown outcome, which is asked for.
	Hurried time.Duration
}

// hurriedEvery is which share of the operations may be in a hurry.
const hurriedEvery = 5

// patience is how long the client's nth operation may take.
func (c *Client) patience(n int) time.Duration {
	if c.Hurried > 0 && n%hurriedEvery == 0 {
		return c.Hurried
	}
	return operationTimeout
}

// Run has a client read, by Get and by GetLatest, and write until ctx ends. Every value is written once, so that each
// read names its writer.
func (h *History) Run(ctx context.Context, client Client) {
	random := rand.New(rand.NewPCG(uint64(client.ID), 7))
	for n := 0; ctx.Err() == nil && h.room(); n++ {
		a := access{oid: client.Object(random), put: random.IntN(2) == 0}
		patient, cancel := context.WithTimeout(context.WithoutCancel(ctx), client.patience(n))
		switch {
		case a.put:
			a.value = fmt.Sprintf("%d/%d", client.ID, n)
			h.put(patient, client, a)
		case random.IntN(2) == 0:
			h.get(patient, client.ID, a, client.Clerk.Get)
		default:
			h.get(patient, client.ID, a, client.Clerk.GetLatest)
		}
		cancel()
		rest(ctx, client.Pause)
	}
}

func rest(ctx context.Context, pause time.Duration) {
	if pause <= 0 {
		return
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (h *History) room() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.operations) < operationsMax
}

func (h *History) now() int64 { return time.Since(h.began).Nanoseconds() }

// put writes within its context's time, and asks at once what became of it where that is unknown: the answer is
// final. What certainly did not happen is no part of the history.
func (h *History) put(patient context.Context, client Client, a access) {
	call := h.now()
	err := client.Clerk.Put(patient, a.oid, []byte(a.value))
	var lost *clerk.UnknownError
	if !errors.As(err, &lost) {
		h.note(client.ID, a, call, h.now(), func(c *Counts) bool {
			if err != nil {
				c.Refused++
				return false
			}
			c.Puts++
			return true
		})
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(patient), outcomeTimeout)
	defer cancel()
	outcome, err := client.Clerk.Outcome(limited, lost.Attempt)
	returned := h.now()
	if err != nil {
		returned = math.MaxInt64 // it may happen at any later time
	}
	h.note(client.ID, a, call, returned, func(c *Counts) bool {
		c.Unknown++
		switch {
		case err != nil:
		case outcome.Committed:
			c.Settled++
		default:
			c.Fenced++
			return false
		}
		return true
	})
}

func (h *History) get(ctx context.Context, id int, a access, get func(context.Context, string) ([]byte, error)) {
	call := h.now()
	value, err := get(ctx, a.oid)
	a.value = string(value)
	h.note(id, a, call, h.now(), func(c *Counts) bool {
		if err != nil && !errors.Is(err, clerk.ErrNotFound) {
			c.Refused++
			return false
		}
		c.Gets++
		return true
	})
}

// note counts an operation and records it, if it is a part of the history.
func (h *History) note(id int, a access, call, returned int64, count func(*Counts) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if count(&h.counts) {
		h.operations = append(h.operations, porcupine.Operation{ClientId: id, Input: a, Call: call, Output: a, Return: returned})
	}
}

// Counts may be asked for while clients run.
func (h *History) Counts() Counts {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts
}
