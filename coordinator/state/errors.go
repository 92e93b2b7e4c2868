package state

import (
	"errors"
	"fmt"
)

// Errors of Oracle.Allocate. Nothing was handed out.
var (
	// ErrNotLeading: the oracle does not lead.
	ErrNotLeading = errors.New("coordinator/state: not leading")
	// ErrMark: the mark has to be raised first; try again when it is.
	ErrMark = errors.New("coordinator/state: the mark is too low")
	// ErrExhausted: there are no larger timestamps.
	ErrExhausted = errors.New("coordinator/state: timestamps are exhausted")
	// ErrCount: a request for no timestamp, or for too many.
	ErrCount = errors.New("coordinator/state: a request is for 1 to 65536 timestamps")
)

// ErrLayout is what every error of Map.Validate is.
var ErrLayout = errors.New("coordinator/state: malformed layout")

func malformed(format string, arguments ...any) error {
	return fmt.Errorf("%w: %s", ErrLayout, fmt.Sprintf(format, arguments...))
}
