package frame

import (
	"context"
	"runtime"
	"sync"
)

// Writer is a bounded queue and the one goroutine that flushes it. Items are flushed in the order in which
// they were taken. Make one with NewWriter and end it with Close.
type Writer[T any] struct {
	options Options[T]
	flush   func([]T) error
	done    chan struct{}

	mu     sync.Mutex
	wake   sync.Cond // signalled when an item arrives in an empty queue, and by Close
	items  []T       // Invariant: len(items) <= ItemsMax, and their sizes add up to bytes <= BytesMax.
	bytes  int
	space  chan struct{} // closed when the queue is emptied or the writer ends; nil when nobody waits
	closed bool          // Invariant: once set, items only shrinks.
	err    error
}

// NewWriter starts a writer. flush gets the items of one frame, at least one, in order, and is only ever
// called from the writer's own goroutine; it may block, and the slice is its own only until it returns. An
// error of flush ends the writer: what still waits is dropped, and Err says why. flush must not call Close.
func NewWriter[T any](options Options[T], flush func([]T) error) *Writer[T] {
	w := &Writer[T]{options: options.withDefaults(), flush: flush, done: make(chan struct{})}
	w.wake.L = &w.mu
	go w.run()
	return w
}

// Put takes an item if there is room for it and never blocks. It returns false when the queue is full or the
// writer has ended; the item was not taken then.
func (w *Writer[T]) Put(item T) bool {
	size := w.options.Size(item)
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.put(item, size)
}

// PutWait takes an item as soon as there is room for it. It returns nil when the item was taken, and otherwise
// the context's cause, ErrTooLarge, or ErrClosed; the item was not taken then.
func (w *Writer[T]) PutWait(ctx context.Context, item T) error {
	size := w.options.Size(item)
	if size > w.options.BytesMax {
		return ErrTooLarge
	}
	for {
		w.mu.Lock()
		if w.put(item, size) {
			w.mu.Unlock()
			return nil
		}
		if w.closed {
			w.mu.Unlock()
			return ErrClosed
		}
		if w.space == nil {
			w.space = make(chan struct{})
		}
		space := w.space
		w.mu.Unlock()
		select {
		case <-space:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// put is Put with the lock held.
func (w *Writer[T]) put(item T, size int) bool {
	if w.closed || len(w.items) >= w.options.ItemsMax || size > w.options.BytesMax-w.bytes {
		return false
	}
	w.items = append(w.items, item)
	w.bytes += size
	if len(w.items) == 1 {
		w.wake.Signal()
	}
	return true
}

// Close takes no more items, lets the goroutine flush what was taken, and returns when it is gone. A caller
// whose flush may block for ever makes it fail first. Closing twice is harmless.
func (w *Writer[T]) Close() {
	w.mu.Lock()
	w.end(nil)
	w.wake.Signal()
	w.mu.Unlock()
	<-w.done
}

// Done is closed when the writer's goroutine is gone: after Close, or after an error of flush.
func (w *Writer[T]) Done() <-chan struct{} { return w.done }

// Err returns the error of flush that ended the writer, or nil.
func (w *Writer[T]) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Waiting returns how many items wait, and their bytes.
func (w *Writer[T]) Waiting() (items, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.items), w.bytes
}

// end stops the taking of items; the caller holds the lock.
func (w *Writer[T]) end(err error) {
	if w.err == nil {
		w.err = err
	}
	w.closed = true
	w.release()
}

// release lets everyone who waits for room look again; the caller holds the lock.
func (w *Writer[T]) release() {
	if w.space != nil {
		close(w.space)
		w.space = nil
	}
}

func (w *Writer[T]) run() {
	defer close(w.done)
	var spare []T
	for w.wait() {
		// The yield: whoever is ready to run and about to Put does so before the queue is taken.
		runtime.Gosched()
		batch, bytes := w.take(spare)
		if err := w.flushAll(batch, bytes); err != nil {
			w.fail(err)
			return
		}
		clear(batch)
		spare = batch[:0]
	}
}

// wait returns true as soon as there is an item, and false when there will be none any more.
func (w *Writer[T]) wait() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.items) == 0 && !w.closed {
		w.wake.Wait()
	}
	return len(w.items) > 0
}

// take empties the queue and leaves it the spare slice.
func (w *Writer[T]) take(spare []T) (batch []T, bytes int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch, bytes = w.items, w.bytes
	w.items, w.bytes = spare, 0
	w.release()
	return batch, bytes
}

func (w *Writer[T]) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.end(err)
	w.items, w.bytes = nil, 0
}

// flushAll flushes a batch, in pieces where it exceeds what one flush may get.
func (w *Writer[T]) flushAll(batch []T, bytes int) error {
	for len(batch) > 0 {
		count := w.piece(batch, bytes)
		if count < len(batch) {
			for _, item := range batch[:count] {
				bytes -= w.options.Size(item)
			}
		}
		if err := w.flush(batch[:count:count]); err != nil {
			return err
		}
		batch = batch[count:]
	}
	return nil
}

// piece returns how many of the items, whose sizes add up to bytes, the next flush gets.
func (w *Writer[T]) piece(batch []T, bytes int) int {
	count := len(batch)
	if most := w.options.FlushItemsMax; most > 0 {
		count = min(count, most)
	}
	most := w.options.FlushBytesMax
	if most <= 0 || bytes <= most {
		return count
	}
	total := 0
	for i, item := range batch[:count] {
		if total += w.options.Size(item); total > most {
			return max(i, 1)
		}
	}
	return count
}
