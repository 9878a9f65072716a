package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"cctask/engine"
	"cctask/internal/ipc"
	"cctask/internal/testkit/cctest"
	"cctask/internal/testkit/fakeclaude"
	"cctask/internal/testkit/servicetest"
)

// The suite that the engine passes in its own package passes over the socket
// of an owner that the client has started.
func TestClientIsAService(t *testing.T) {
	servicetest.Run(t, func(t *testing.T, jobs int) engine.Service {
		w := newWorldWith(t, nil, fakeclaude.Binary(t))
		must(t, os.MkdirAll(w.Dir, 0o700))
		c := ipc.New(ipc.Config{
			Dir: w.Dir, Exe: cctest.Binary, AutoStart: true, Settings: ipc.Settings{Jobs: jobs, LogLevel: "info", Config: filepath.Join(w.Home, ".config", "cctask", "config.toml")},
			Warn: func(line string) { t.Log(line) },
		})
		t.Cleanup(c.Close)
		return c
	})
}
