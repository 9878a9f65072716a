package cli

import (
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/rs/zerolog"
	"gopkg.in/natefinch/lumberjack.v2"

	"cctask/internal/cli/settings"
	"cctask/internal/ipc"
)

// The owner's log takes at most 30 MiB: the file in use and two older ones.
const (
	logFileSize = 10 // MiB
	logBackups  = 2
)

// ownerLog is the owner.log of an owner in the background. Its stderr leads to
// the file that had this name when it started, which may be gone after some
// rotations: the trace of a crash must still reach the file in use.
type ownerLog struct {
	lumberjack.Logger
	inUse os.FileInfo
}

func newOwnerLog(dir string) *ownerLog {
	l := &ownerLog{Logger: lumberjack.Logger{Filename: filepath.Join(dir, ipc.LogName), MaxSize: logFileSize, MaxBackups: logBackups}}
	l.inUse, _ = os.Stat(l.Filename)
	return l
}

func (l *ownerLog) Write(p []byte) (int, error) {
	n, err := l.Logger.Write(p)
	if now, statErr := os.Stat(l.Filename); statErr == nil && !os.SameFile(now, l.inUse) {
		l.inUse = now
		l.catchCrashes()
	}
	return n, err
}

func (l *ownerLog) catchCrashes() {
	f, err := os.OpenFile(l.Filename, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return // stderr still has the trace
	}
	_ = debug.SetCrashOutput(f, debug.CrashOptions{})
	_ = f.Close()
}

// stderrLog is a log on stderr in the format that the person chose.
func (a *app) stderrLog(s settings.Settings, level string) zerolog.Logger {
	if !s.Console {
		return logger(a.Stderr, level)
	}
	return logger(zerolog.ConsoleWriter{Out: a.Stderr, NoColor: !a.coloured(a.Stderr), TimeFormat: time.TimeOnly}, level)
}

// logger writes JSON lines. Prompts, answers, environments and tokens are never
// logged: only ids, statuses and errors are.
func logger(w io.Writer, level string) zerolog.Logger {
	l, err := zerolog.ParseLevel(level)
	if err != nil {
		l = zerolog.InfoLevel
	}
	zerolog.TimeFieldFormat = time.RFC3339Nano
	return zerolog.New(w).Level(l).With().Timestamp().Logger()
}
