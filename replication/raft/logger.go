package raft

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"

	"github.com/hashicorp/go-hclog"

	"github.com/viewline/viewline/internal/notice"
)

// slogger has hashicorp/raft log through log/slog. It is chatty, and calls an error what is everyday life in a group: so
// what it says is for debugging, and a warning or an error is said aloud once a minute.
type slogger struct {
	logger  *slog.Logger
	notices *notice.Log
	implied []any
}

var _ hclog.Logger = (*slogger)(nil)

func newSlogger(logger *slog.Logger) *slogger {
	return &slogger{logger: logger, notices: notice.New(logger)}
}

// Log says something at a level.
func (s *slogger) Log(level hclog.Level, text string, args ...any) {
	attributes := append(s.implied[:len(s.implied):len(s.implied)], attributesOf(args)...)
	if level >= hclog.Warn && level != hclog.Off {
		s.notices.Warn("raft: "+text, "", attributes...)
		return
	}
	s.logger.Debug("raft: "+text, attributes...)
}

// attributesOf makes what hclog formats by itself readable.
func attributesOf(args []any) []any {
	attributes := make([]any, len(args))
	for i, arg := range args {
		switch value := arg.(type) {
		case hclog.Format:
			if format, ok := value[0].(string); ok {
				attributes[i] = fmt.Sprintf(format, value[1:]...)
				continue
			}
			attributes[i] = fmt.Sprint(value...)
		case fmt.Stringer:
			attributes[i] = value.String()
		default:
			attributes[i] = arg
		}
	}
	return attributes
}

func (s *slogger) Trace(text string, args ...any) { s.Log(hclog.Trace, text, args...) }
func (s *slogger) Debug(text string, args ...any) { s.Log(hclog.Debug, text, args...) }
func (s *slogger) Info(text string, args ...any)  { s.Log(hclog.Info, text, args...) }
func (s *slogger) Warn(text string, args ...any)  { s.Log(hclog.Warn, text, args...) }
func (s *slogger) Error(text string, args ...any) { s.Log(hclog.Error, text, args...) }

func (s *slogger) isDebug() bool { return s.logger.Enabled(context.Background(), slog.LevelDebug) }

func (s *slogger) IsTrace() bool { return false }
func (s *slogger) IsDebug() bool { return s.isDebug() }
func (s *slogger) IsInfo() bool  { return s.isDebug() }
func (s *slogger) IsWarn() bool  { return true }
func (s *slogger) IsError() bool { return true }

func (s *slogger) ImpliedArgs() []any { return s.implied }

func (s *slogger) With(args ...any) hclog.Logger {
	with := *s
	with.implied = append(s.implied[:len(s.implied):len(s.implied)], attributesOf(args)...)
	return &with
}

func (s *slogger) Name() string                   { return "raft" }
func (s *slogger) Named(string) hclog.Logger      { return s }
func (s *slogger) ResetNamed(string) hclog.Logger { return s }
func (s *slogger) SetLevel(hclog.Level)           {}
func (s *slogger) GetLevel() hclog.Level          { return hclog.NoLevel }

func (s *slogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug)
}

func (s *slogger) StandardWriter(options *hclog.StandardLoggerOptions) io.Writer {
	return s.StandardLogger(options).Writer()
}
