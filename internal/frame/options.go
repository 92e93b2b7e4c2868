package frame

import (
	"errors"
	"fmt"
)

// Errors of PutWait.
var (
	// ErrClosed: the writer takes no more items. The item was not taken.
	ErrClosed = errors.New("frame: writer is closed")
	// ErrTooLarge: the item alone exceeds BytesMax and can never be taken.
	ErrTooLarge = errors.New("frame: item exceeds the queue's bytes")
)

// The bounds of a Writer whose Options do not name them.
const (
	ItemsMaxDefault = 4096
	BytesMaxDefault = 64 << 20
)

// Options bounds a Writer. The zero value is useful.
type Options[T any] struct {
	// ItemsMax is how many items may wait. 0 stands for ItemsMaxDefault.
	ItemsMax int
	// BytesMax is how many bytes may wait, by Size. 0 stands for BytesMaxDefault. What is being written has
	// left the queue: up to as much again may be in the hands of flush.
	BytesMax int
	// FlushItemsMax is how many items one call of flush may get. 0: all that wait.
	FlushItemsMax int
	// FlushBytesMax is how many bytes one call of flush may get, by Size; a larger item is flushed alone.
	// 0: all that wait.
	FlushBytesMax int
	// Size returns an item's bytes, 0 or more, and must return the same each time. nil: items have no size
	// and only their number is bounded.
	Size func(T) int
}

// Validate returns an error that names the first field which makes no sense.
func (o Options[T]) Validate() error {
	for _, field := range []struct {
		name  string
		value int
	}{
		{"ItemsMax", o.ItemsMax},
		{"BytesMax", o.BytesMax},
		{"FlushItemsMax", o.FlushItemsMax},
		{"FlushBytesMax", o.FlushBytesMax},
	} {
		if field.value < 0 {
			return fmt.Errorf("frame: %s is %d, less than 0", field.name, field.value)
		}
	}
	return nil
}

// withDefaults fills what is not named; a negative bound counts as not named, so that a queue is always bounded.
func (o Options[T]) withDefaults() Options[T] {
	if o.ItemsMax <= 0 {
		o.ItemsMax = ItemsMaxDefault
	}
	if o.BytesMax <= 0 {
		o.BytesMax = BytesMaxDefault
	}
	if o.Size == nil {
		o.Size = func(T) int { return 0 }
	}
	return o
}
