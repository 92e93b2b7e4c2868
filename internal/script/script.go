// Package script reads the little language of `viewline txn`: one step a line, `get OID`, `put OID VALUE` or
// `delete OID`, with Go-quoted strings where a plain word will not do, `#` before a comment.
//
// It is pure and imports nothing of ours.
package script

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of a script.
const (
	// StepsMax is the most steps that one script may have.
	StepsMax = 10_000
	// LineBytesMax is the longest line: a quoted value of 1 MiB, every byte escaped, and room for the rest.
	LineBytesMax = 5 << 20
)

// ErrSyntax is what every SyntaxError is.
var ErrSyntax = errors.New("script: syntax error")

// SyntaxError names the line that is wrong.
type SyntaxError struct {
	Line int // from 1
	What string
}

// Error gives line and reason.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%v: line %d: %s", ErrSyntax, e.Line, e.What)
}

// Is makes every SyntaxError an ErrSyntax.
func (e *SyntaxError) Is(target error) bool { return target == ErrSyntax }

// Verb is what a step does.
type Verb string

// The verbs.
const (
	Get    Verb = "get"
	Put    Verb = "put"
	Delete Verb = "delete"
)

// Step is one line of a script.
type Step struct {
	Verb  Verb
	OID   string
	Value string // of a put
}

// Parse reads a whole script. The error is a *SyntaxError or the reader's own.
func Parse(r io.Reader) ([]Step, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, LineBytesMax)
	var steps []Step
	number := 0
	for lines.Scan() {
		number++
		words, err := split(lines.Text())
		if err != nil {
			return nil, &SyntaxError{Line: number, What: err.Error()}
		}
		if len(words) == 0 {
			continue
		}
		step, err := parseStep(words)
		if err != nil {
			return nil, &SyntaxError{Line: number, What: err.Error()}
		}
		if steps = append(steps, step); len(steps) > StepsMax {
			return nil, &SyntaxError{Line: number, What: fmt.Sprintf("more than %d steps", StepsMax)}
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil, &SyntaxError{Line: number + 1, What: fmt.Sprintf("longer than %d bytes", LineBytesMax)}
	}
	return steps, lines.Err()
}

func parseStep(words []string) (Step, error) {
	arguments := map[Verb]int{Get: 1, Put: 2, Delete: 1}
	verb := Verb(words[0])
	want, known := arguments[verb]
	if !known {
		return Step{}, fmt.Errorf("%.40q is not get, put or delete", words[0])
	}
	if len(words)-1 != want {
		return Step{}, fmt.Errorf("%s takes %d arguments, not %d", verb, want, len(words)-1)
	}
	step := Step{Verb: verb, OID: words[1]}
	if verb == Put {
		step.Value = words[2]
	}
	return step, nil
}

// split divides a line into words; a word that starts with a quote is a Go string.
func split(line string) ([]string, error) {
	var words []string
	for {
		line = strings.TrimLeftFunc(line, unicode.IsSpace)
		if line == "" || line[0] == '#' {
			return words, nil
		}
		if line[0] == '"' || line[0] == '`' {
			quoted, err := strconv.QuotedPrefix(line)
			if err != nil {
				return nil, fmt.Errorf("bad quoted string at %.40q", line)
			}
			word, err := strconv.Unquote(quoted)
			if err != nil {
				return nil, fmt.Errorf("bad quoted string at %.40q", line)
			}
			words, line = append(words, word), line[len(quoted):]
			if line != "" && !unicode.IsSpace(rune(line[0])) {
				return nil, fmt.Errorf("no space after a quoted string, at %.40q", line)
			}
			continue
		}
		end := strings.IndexFunc(line, unicode.IsSpace)
		if end < 0 {
			end = len(line)
		}
		words, line = append(words, line[:end]), line[end:]
	}
}
