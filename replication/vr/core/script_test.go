package core

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewriteFlag = flag.Bool("rewrite", false, "write down what the scripts in testdata/scripts do now, for the eye to compare")

// TestScripts plays whole groups by text commands; everything that any replica sends, writes, applies or answers
// is expected, line by line, below the command that it comes of. What the commands are, newScripted says.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/scripts/*.txt")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 6)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			played := play(t, string(text))
			if *rewriteFlag {
				require.NoError(t, os.WriteFile(file, []byte(played), 0o600))
				return
			}
			require.Equal(t, string(text), played, "look at the difference; -rewrite takes it over")
		})
	}
}

// play runs the commands of a script, the lines that begin with "> ", and returns the script as it ought to be:
// comments and commands as they are, and under each command what came of it.
func play(t *testing.T, text string) string {
	t.Helper()
	var s *scripted
	var played strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		command, is := strings.CutPrefix(line, "> ")
		if !is {
			if line == "" || strings.HasPrefix(line, "#") {
				played.WriteString(line + "\n")
			}
			continue
		}
		words := strings.Fields(command)
		if words[0] == "group" {
			s = newScripted(t, words[1:])
		} else {
			s.do(words)
		}
		played.WriteString(line + "\n" + s.trace.String())
		s.trace.Reset()
	}
	return played.String()
}

// do carries out one command. A message is "to be delivered" until deliver or drop names it: both take a kind
// and a link, or nothing for all.
func (s *scripted) do(words []string) {
	s.Helper()
	rest := words[1:]
	switch words[0] {
	case "propose":
		s.propose(s.replica(rest[0]), rest[1:])
	case "read":
		token, err := strconv.ParseUint(rest[1], 10, 64)
		require.NoError(s, err)
		at := s.replica(rest[0])
		s.say(at, "%v", errorOr(at.ReadBarrier(at.Status().View, token), "is asked for read %d", token))
		s.act(at)
	case "time": // that the clocks of all show
		s.time(rest[0])
	case "stale": // a read at the replica, with the age that it allows
		s.readStale(s.replica(rest[0]), rest[1])
	case "begin": // view 1 of a new group, told in normal_commit.txt
		s.tick([]string{"3", "r1"})
		s.deliver(nil)
		s.trace.Reset()
	case "tick":
		s.tick(rest)
	case "deliver":
		s.deliver(rest)
	case "drop":
		s.pending = slices.DeleteFunc(s.pending, func(m Message) bool { return matches(&m, rest) })
	case "cut":
		s.replica(rest[0]).cut = true
	case "heal":
		s.replica(rest[0]).cut = false
	case "crash":
		s.crash(s.replica(rest[0]), rest[1:])
	case "start":
		s.start(s.replica(rest[0]))
	case "checkpoint":
		s.checkpoint(s.replica(rest[0]))
	case "handover": // of the first replica's role to the second; r0: whoever is best
		s.handOver(s.replica(rest[0]), rest[1])
	case "cancel":
		s.replica(rest[0]).CancelHandover()
		s.act(s.replica(rest[0]))
	case "join": // the next replica, told the members that are named
		s.join(rest)
	case "reconfigure": // by the first replica, to those that follow
		s.reconfigure(s.replica(rest[0]), rest[1:])
	case "install":
		s.install(s.replica(rest[0]))
	case "status":
		for _, r := range s.replicas {
			if r.Replica != nil {
				fmt.Fprintf(&s.trace, "%v\n", r.Replica)
			}
		}
	default:
		s.Fatalf("no command %q", words[0])
	}
}

func errorOr(err error, format string, arguments ...any) string {
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf(format, arguments...)
}

func matches(m *Message, words []string) bool {
	for _, word := range words {
		if word != m.Kind.String() && word != fmt.Sprintf("r%d->r%d", m.From, m.To) {
			return false
		}
	}
	return true
}

// line tells a message without hashes and nonces: its entries say by their payloads of which branch they are.
func (m *Message) line() string {
	epoch := ""
	if m.Epoch > 0 {
		epoch = fmt.Sprintf(" e%d", m.Epoch)
	}
	text := fmt.Sprintf("r%d -> r%d %v%s v%d", m.From, m.To, m.Kind, epoch, m.View)
	for _, field := range []struct {
		name  string
		value uint64
	}{
		{"op", uint64(m.Op)},
		{"commit", uint64(m.Commit)},
		{"last-normal", uint64(m.LastNormalView)},
		{"round", m.Round},
		{"first", uint64(m.First)},
		{"checkpoint", uint64(m.Checkpoint.Op)},
		{"stamp", m.Stamp},
	} {
		if field.value != 0 {
			text += fmt.Sprintf(" %s %d", field.name, field.value)
		}
	}
	if told, err := m.Membership.Decode(); err == nil {
		text += fmt.Sprintf(" epoch %d of %v", told.Epoch, told.IDs())
	}
	if m.Agree {
		text += " agree"
	}
	return text + listed(" :", m.Entries)
}

func listed(head string, entries []Entry) string {
	if len(entries) == 0 {
		return ""
	}
	for i := range entries {
		payload := string(entries[i].Payload)
		if m, err := begunBy(&entries[i]); entries[i].Kind == EntryReconfiguration && err == nil {
			payload = fmt.Sprintf("RECONFIGURATION%v", m.IDs())
		}
		head += fmt.Sprintf(" %d/v%d=%s", entries[i].Op, entries[i].View, payload)
	}
	return head
}
