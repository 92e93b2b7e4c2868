package signals

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Stopped reports whether every thread of a process stands still. SIGSTOP takes effect only once a thread of the
// process is scheduled to receive it, which on a busy machine is long after kill has returned, and a SIGCONT before
// that takes it back.
func Stopped(pid int) (bool, error) {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil {
		return false, fmt.Errorf("signals: %w", err)
	}
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the thread has ended meanwhile
		}
		if err != nil {
			return false, fmt.Errorf("signals: %w", err)
		}
		// The state follows the name, which is in parentheses and may hold anything.
		_, state, found := bytes.Cut(text[bytes.LastIndexByte(text, ')'):], []byte(" "))
		if !found || !bytes.HasPrefix(state, []byte("T")) {
			return false, nil
		}
	}
	return len(threads) > 0, nil
}
