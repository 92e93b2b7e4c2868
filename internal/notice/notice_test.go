package notice

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// inBubble runs a test in virtual time; lines are what was logged and is taken away by each call.
func inBubble(t *testing.T, test func(l *Log, lines func() []string)) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		var text bytes.Buffer
		test(New(slog.New(slog.NewTextHandler(&text, nil))), func() []string {
			defer text.Reset()
			return strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
		})
	})
}

func TestOnceAMinute(t *testing.T) {
	inBubble(t, func(l *Log, lines func() []string) {
		for range 100 {
			l.Warn("refused", "a", "peer", "a")
			l.Warn("refused", "b", "peer", "b")
			l.Warn("altered", "a", "peer", "a")
		}
		require.Len(t, lines(), 3, "each complaint about each subject")
		time.Sleep(interval - 1)
		l.Warn("refused", "a", "peer", "a")
		require.Equal(t, []string{""}, lines())
		time.Sleep(time.Nanosecond)
		l.Warn("refused", "a", "peer", "a")
		said := lines()
		require.Len(t, said, 1)
		require.Contains(t, said[0], "level=WARN msg=refused peer=a held_back=100")
		time.Sleep(interval)
		l.Warn("refused", "a", "peer", "a")
		require.NotContains(t, lines()[0], "held_back", "nothing was")
	})
}

func TestSubjectsAreBounded(t *testing.T) {
	inBubble(t, func(l *Log, lines func() []string) {
		for i := range 10 * subjectsMax {
			l.Warn("refused", fmt.Sprint(i))
			l.Warn("altered", fmt.Sprint(i))
		}
		require.Len(t, lines(), subjectsMax+2, "those beyond share a notice for each complaint")
		require.LessOrEqual(t, len(l.said), subjectsMax+2)
		time.Sleep(interval)
		l.Warn("refused", "new")
		require.Len(t, lines(), 1)
		require.Len(t, l.said, 1, "what is old is forgotten")
	})
}
