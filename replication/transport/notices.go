package transport

import (
	"fmt"

	"github.com/viewline/viewline/internal/notice"
)

// notices logs each complaint at most once a minute for each subject, and says how often it was left out.
type notices struct{ *notice.Log }

// warn logs a complaint about a subject, given by its name and value.
func (n *notices) warn(complaint, subject string, value any, more ...any) {
	n.Warn(complaint, fmt.Sprint(value), append([]any{subject, value}, more...)...)
}
