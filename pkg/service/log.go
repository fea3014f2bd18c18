package service

import (
	"io"
	"log/slog"
	"strings"
)

// The keys of log attributes. They are constants so that nobody logs both
// "err" and "error".
const (
	KeyService  = "service"
	KeyInstance = "instance"
	KeyFleet    = "fleet"
	KeyPool     = "pool"
	KeyNode     = "node"
	KeyJob      = "job"
	KeyAction   = "action"
	KeyAttempt  = "attempt"
	KeySite     = "site"
	KeyShard    = "shard"
	KeyStream   = "stream"
	KeySubject  = "subject"
	KeySequence = "sequence"
	KeyEpoch    = "epoch"
	KeyCommand  = "command"
	KeyReason   = "reason"
	KeyErr      = "err"
	KeyCount    = "count"
	KeyTook     = "took"
	KeyAddress  = "address"
)

// NewLogger writes JSON lines to w at level debug, info, warn or error;
// another level means info.
func NewLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(strings.ToUpper(level))); err != nil {
		l = slog.LevelInfo
	}
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: l}))
}
